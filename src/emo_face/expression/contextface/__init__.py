"""ContextFace: from a picture, a situation or a quote to a facial expression in one forward pass.

Importing this needs no torch; :func:`build` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emo_face.expression.model import ExpressionModel


def build(values: Mapping[str, Any]) -> ExpressionModel:
    """The expression node's ``contextface`` backend from its parameters.

    Raises:
        ModuleNotFoundError: torch, transformers or peft is not installed.
        ConfigError, ModelError: a parameter, the model or its backbone is wrong; names it and the fix.
    """
    from emo_face.expression.contextface.backend import build_backend

    return build_backend(values)
