"""Boxes and crops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_face.core.geometry import Letterbox, clip, crop, expand, intersection, iou, squared
from emo_face.core.types import Box

number = st.floats(-500, 1500)
size = st.floats(0, 800)
boxes = st.builds(Box, number, number, size, size)


@given(boxes, boxes)
def test_iou_is_symmetric_and_bounded(a: Box, b: Box) -> None:
    assert iou(a, b) == pytest.approx(iou(b, a))
    assert 0.0 <= iou(a, b) <= 1.0 + 1e-9
    assert intersection(a, b) <= min(a.area, b.area) + 1e-6


@given(boxes, st.integers(1, 900), st.integers(1, 900))
def test_clip_stays_inside(box: Box, width: int, height: int) -> None:
    inside = clip(box, width, height)
    assert 0 <= inside.x <= inside.right <= width + 1e-6
    assert 0 <= inside.y <= inside.bottom <= height + 1e-6


@given(st.integers(1, 4000), st.integers(1, 4000), st.booleans())
def test_letterbox_maps_back(width: int, height: int, square: bool) -> None:
    fit = Letterbox.fit(width, height, 320, 32, square)
    assert fit.width % 32 == fit.height % 32 == 0
    assert max(fit.width, fit.height) == 320
    assert fit.inner_width <= fit.width
    assert fit.inner_height <= fit.height
    whole = np.array([[width / 2, height / 2, width, height]]) * fit.scale
    whole[:, 0] += fit.left
    whole[:, 1] += fit.top
    assert fit.to_image(whole)[0] == pytest.approx([0, 0, width, height], abs=1e-6)


def test_letterbox_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no content"):
        Letterbox.fit(0, 10, 320)


def test_crop_pads_with_black_and_keeps_the_shape() -> None:
    image = np.full((10, 10, 3), 9, dtype=np.uint8)
    cut = crop(image, Box(-2, 8, 5, 4))
    assert cut.shape == (4, 5, 3)
    assert cut[:2, 2:].min() == 9
    assert cut[2:].max() == 0
    assert cut[:, :2].max() == 0
    assert crop(image, Box(50, 50, 3, 3)).max() == 0
    assert crop(image, Box(50, 50, 3, 3), pad=False).size == 0
    assert crop(image, Box(2, 2, 3, 3), pad=False).base is image


def test_expand_and_square() -> None:
    assert expand(Box(10, 10, 10, 20), 2) == Box(5, 0, 20, 40)
    assert squared(Box(10, 10, 10, 20)) == Box(5, 10, 20, 20)
