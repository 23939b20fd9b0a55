"""Boxes of annotations: corners to :class:`Box`, clipping, and what is wrong with one."""

from collections.abc import Sequence

from emo_face.core.types import Box


def from_corners(corners: Sequence[float]) -> Box:
    """A box from (x1, y1, x2, y2). Raises ValueError for anything but four finite numbers."""
    values = [float(value) for value in corners]
    if len(values) != 4 or any(value != value or abs(value) == float("inf") for value in values):
        raise ValueError(f"box: expected four finite numbers x1, y1, x2, y2, got {list(corners)!r}")
    x1, y1, x2, y2 = values
    return Box(x1, y1, x2 - x1, y2 - y1)


def clip(box: Box, size: tuple[int, int]) -> Box | None:
    """The part of ``box`` inside a picture of (width, height), or None if nothing (under a pixel) is left."""
    left, top = max(0.0, box.x), max(0.0, box.y)
    right, bottom = min(float(size[0]), box.right), min(float(size[1]), box.bottom)
    return None if right - left < 1 or bottom - top < 1 else Box(left, top, right - left, bottom - top)


def fault(box: Box, size: tuple[int, int] | None, slack: float = 1.0) -> str:
    """Say what is wrong with ``box`` in a picture of (width, height), or "" if nothing is.

    ``slack`` in pixels: EMOTIC's corners are rounded and may leave the picture by one.
    """
    if box.width <= 0 or box.height <= 0:
        return f"empty box: width {box.width:g}, height {box.height:g}"
    if size is None:
        return ""
    if clip(box, size) is None:
        return f"box wholly outside the {size[0]}x{size[1]} picture"
    if box.x < -slack or box.y < -slack or box.right > size[0] + slack or box.bottom > size[1] + slack:
        return f"box ({box.x:g}, {box.y:g}, {box.right:g}, {box.bottom:g}) leaves the {size[0]}x{size[1]} picture"
    return ""
