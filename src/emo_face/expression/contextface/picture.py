"""A picture for the language model: fitted without cutting, the person asked about in a red box that survives.

The box is drawn after scaling, so it keeps its width at any picture size; nothing is cropped, so a person at the border
stays (a centre crop, CLIP's default, can lose the person who is asked about).
"""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import Box, ImageArray

RED = (0, 0, 255)
"""BGR."""
GREY = 114


def fitted(image: ImageArray, size: int, box: Box | None = None) -> ImageArray:
    """The whole picture in a ``size`` x ``size`` square, RGB, padded grey, with the box in red.

    Args:
        image: H x W x 3, BGR uint8. box: pixels of ``image``; parts outside are drawn at the border.

    Raises:
        UserError: the picture has no pixels or is not colour.
    """
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(f"image: expected H x W x 3 pixels, got shape {image.shape}")
    height, width = image.shape[:2]
    scale = size / max(width, height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.full((size, size, 3), GREY, np.uint8)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=method)
    if box is not None and np.isfinite([box.x, box.y, box.width, box.height]).all():
        _draw(canvas, (box.x * scale + left, box.y * scale + top, box.right * scale + left, box.bottom * scale + top))
    return np.ascontiguousarray(canvas[:, :, ::-1])


def _draw(canvas: ImageArray, corners: tuple[float, float, float, float]) -> None:
    size = len(canvas)
    thick = max(2, round(size / 150))
    x1, y1, x2, y2 = (int(np.clip(round(value), 0, size - 1)) for value in corners)
    x2, y2 = min(max(x2, x1 + 2 * thick), size - 1), min(max(y2, y1 + 2 * thick), size - 1)
    x1, y1 = max(0, min(x1, x2 - 2 * thick)), max(0, min(y1, y2 - 2 * thick))
    for cut in np.s_[y1 : y1 + thick, x1 : x2 + 1], np.s_[y2 - thick + 1 : y2 + 1, x1 : x2 + 1]:
        canvas[cut] = RED
    for cut in np.s_[y1 : y2 + 1, x1 : x1 + thick], np.s_[y1 : y2 + 1, x2 - thick + 1 : x2 + 1]:
        canvas[cut] = RED


def fingerprint(picture: ImageArray) -> str:
    """A hash of the pixels: equal pictures need not be encoded twice."""
    return hashlib.blake2b(picture.tobytes(), digest_size=16).hexdigest()
