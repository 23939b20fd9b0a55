"""ContextFace: from a picture, a situation or a quote to a facial expression in one forward pass.

Importing this needs no torch; :func:`build` does.
"""

from __future__ import annotations
