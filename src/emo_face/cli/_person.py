"""The person that a command line names."""

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import Box


def box(text: str, option: str) -> Box:
    """``x,y,width,height`` in pixels. Raises UserError naming ``option``."""
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{option}: expected x,y,width,height in pixels, got {text!r}") from None
    if not (np.isfinite([x, y, width, height]).all() and width > 0 and height > 0):
        raise UserError(f"{option}: expected finite numbers with a positive width and height, got {text!r}")
    return Box(x, y, width, height)
