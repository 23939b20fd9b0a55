"""Boxes and crops: letterbox, overlap, clipping, padded crops. NumPy only."""

import math
from dataclasses import dataclass

import numpy as np

from emo_face.core.types import Array, Box, FloatArray, ImageArray, Person

BODY_HEADS = 7.5
"""Standing height in head heights (Loomis, Figure Drawing, 1943): compares a body box with a face box."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an image is fitted into a network input: scaled by ``scale``, then padded on all sides.

    Attributes:
        width, height: network input, pixels. inner_width, inner_height: the scaled image inside it.
        left, top: padding before the image, pixels.
    """

    scale: float
    width: int
    height: int
    inner_width: int
    inner_height: int
    left: int
    top: int

    @staticmethod
    def fit(image_width: int, image_height: int, size: int, stride: int = 32, square: bool = False) -> "Letterbox":
        """Fit an image so that its longer side becomes ``size``.

        Args:
            size: longer side of the network input, pixels; rounded up to a multiple of ``stride``.
            square: pad to size x size; otherwise to the smallest rectangle whose sides are multiples of
                ``stride``, which costs less for the same detections.

        Raises:
            ValueError: the image has no pixels.
        """
        if image_width < 1 or image_height < 1:
            raise ValueError(f"image of {image_width} x {image_height} pixels has no content")
        size = math.ceil(size / stride) * stride
        scale = size / max(image_width, image_height)
        inner_w = max(1, round(image_width * scale))
        inner_h = max(1, round(image_height * scale))
        width = size if square else math.ceil(inner_w / stride) * stride
        height = size if square else math.ceil(inner_h / stride) * stride
        return Letterbox(scale, width, height, inner_w, inner_h, (width - inner_w) // 2, (height - inner_h) // 2)

    @staticmethod
    def into(image_width: int, image_height: int, size: tuple[int, int]) -> "Letterbox":
        """Fit an image into a network input of a fixed (height, width). Raises ValueError as :meth:`fit`."""
        if image_width < 1 or image_height < 1:
            raise ValueError(f"image of {image_width} x {image_height} pixels has no content")
        height, width = size
        scale = min(width / image_width, height / image_height)
        inner_w = min(width, max(1, round(image_width * scale)))
        inner_h = min(height, max(1, round(image_height * scale)))
        return Letterbox(scale, width, height, inner_w, inner_h, (width - inner_w) // 2, (height - inner_h) // 2)

    def to_image(self, boxes: FloatArray) -> Array:
        """Map (n, 4) centre-x, centre-y, width, height of the input to left, top, width, height of the image."""
        out = np.asarray(boxes, dtype=np.float64).copy()
        out[:, 0] = (out[:, 0] - out[:, 2] / 2 - self.left) / self.scale
        out[:, 1] = (out[:, 1] - out[:, 3] / 2 - self.top) / self.scale
        out[:, 2:] /= self.scale
        return out


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    shared = intersection(a, b)
    union = a.area + b.area - shared
    return shared / union if union > 0 else 0.0


def intersection(a: Box, b: Box) -> float:
    """Area that two boxes share, square pixels."""
    width = min(a.right, b.right) - max(a.x, b.x)
    height = min(a.bottom, b.bottom) - max(a.y, b.y)
    return max(0.0, width) * max(0.0, height)


def has_center(box: Box, other: Box) -> bool:
    """Whether the centre of ``other`` lies in ``box``, edges included."""
    x, y = other.center
    return box.x <= x <= box.right and box.y <= y <= box.bottom


def clip(box: Box, width: int, height: int) -> Box:
    """The part of ``box`` inside a ``width`` x ``height`` image; an empty box if they do not meet."""
    x0, y0 = min(max(box.x, 0.0), width), min(max(box.y, 0.0), height)
    x1, y1 = min(max(box.right, 0.0), width), min(max(box.bottom, 0.0), height)
    return Box(x0, y0, max(0.0, x1 - x0), max(0.0, y1 - y0))


def expand(box: Box, factor: float) -> Box:
    """Grow ``box`` about its centre; 1.2 adds ten per cent on every side."""
    width, height = box.width * factor, box.height * factor
    return Box(box.x - (width - box.width) / 2, box.y - (height - box.height) / 2, width, height)


def squared(box: Box) -> Box:
    """The smallest square about the same centre that holds ``box``."""
    side = max(box.width, box.height)
    cx, cy = box.center
    return Box(cx - side / 2, cy - side / 2, side, side)


def crop(image: ImageArray, box: Box, pad: bool = True) -> ImageArray:
    """Cut ``box`` out of ``image``.

    Args:
        image: H x W x C or H x W.
        pad: fill what lies outside the image with black, so that the shape is that of the box; otherwise
            the box is clipped first, and the result is a view.

    Returns:
        At least 1 x 1 pixel if padded; possibly empty if not.
    """
    height, width = image.shape[:2]
    inside = clip(box, width, height)
    x0, y0 = math.floor(inside.x), math.floor(inside.y)
    x1, y1 = min(width, math.ceil(inside.right)), min(height, math.ceil(inside.bottom))
    view = image[y0:y1, x0:x1]
    if not pad:
        return view
    left, top = math.floor(box.x), math.floor(box.y)
    full_w = max(1, math.ceil(box.right) - left)
    full_h = max(1, math.ceil(box.bottom) - top)
    if view.shape[:2] == (full_h, full_w):
        return view
    out = np.zeros((full_h, full_w, *image.shape[2:]), dtype=image.dtype)
    if view.size:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = view
    return out


def apparent_size(person: Person) -> float:
    """Height of the head in pixels, from the face or, failing that, the body: grows as the person comes nearer."""
    if person.face is not None:
        return max(0.0, person.face.box.height)
    if person.body is not None:
        return max(0.0, person.body.height) / BODY_HEADS
    return 0.0


def apparent_area(person: Person) -> float:
    """Area in square pixels of the body or, failing that, the face."""
    box = person.body or (person.face.box if person.face else None)
    return box.area if box else 0.0
