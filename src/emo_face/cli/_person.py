"""The person and the picture that a command line names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import Box, ImageArray


def box(text: str, option: str) -> Box:
    """``x,y,width,height`` in pixels. Raises UserError naming ``option``."""
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{option}: expected x,y,width,height in pixels, got {text!r}") from None
    if not (np.isfinite([x, y, width, height]).all() and width > 0 and height > 0):
        raise UserError(f"{option}: expected finite numbers with a positive width and height, got {text!r}")
    return Box(x, y, width, height)


def picture(path: Path) -> ImageArray:
    """The pixels of a file, BGR. Raises UserError where there are none."""
    import cv2

    data = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise UserError(f"{path}: missing or not a picture (JPEG, PNG, ...)")
    return np.asarray(pixels, np.uint8)
