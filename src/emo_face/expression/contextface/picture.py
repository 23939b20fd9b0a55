"""A picture for the language model: fitted without cutting, the person asked about in a red box that survives.

The box is drawn after scaling, so it keeps its width at any picture size; nothing is cropped, so a person at the border
stays (a centre crop, CLIP's default, can lose the person who is asked about).
"""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import Box, ImageArray
from emo_face.expression.model import Context, SeenPerson

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


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """A picture with the person who is asked about. ``box``: in its pixels."""

    stamp: float
    person_id: str
    image: ImageArray
    box: Box


class HeldPicture:
    """The picture in use: kept for a while, so that its tokens are computed once."""

    def __init__(self) -> None:
        self.held: SeenPicture | None = None

    def of(self, context: Context, period: float) -> SeenPicture | None:
        """The one held while it is younger than ``period`` seconds and shows the same person, else the newest.

        None if ``period`` is negative, or nothing is seen of the person who is followed.
        """
        scene, seen = context.scene, context.followed
        if period < 0 or scene is None or scene.image is None or seen is None:
            self.held = None
            return None
        held, person = self.held, seen.person.person_id
        young = held is not None and 0 <= scene.stamp - held.stamp < period
        if held is None or not young or held.person_id != person:
            box = box_of(seen, scene.image.shape[1] / max(scene.width, 1))
            self.held = None if box is None else SeenPicture(scene.stamp, person, scene.image, box)
        return self.held


def box_of(seen: SeenPerson, scale: float) -> Box | None:
    """The person's box in pixels of a picture that is ``scale`` as wide as the one it was found in."""
    box = seen.person.body or (seen.person.face.box if seen.person.face else None)
    return None if box is None else Box(box.x * scale, box.y * scale, box.width * scale, box.height * scale)
