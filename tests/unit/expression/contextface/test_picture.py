"""The red box survives every way a picture takes to the model: fitted, and through each family's image processor."""

from __future__ import annotations

import numpy as np
import pytest

from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.expression.contextface.picture import fingerprint, fitted

SHAPES = [(480, 640), (640, 480), (90, 1600), (1600, 90), (20, 20), (3000, 4000)]


def red(picture):
    """(row, column) of clearly red pixels of an RGB picture."""
    values = picture.astype(int)
    return np.argwhere((values[..., 0] > 180) & (values[..., 1] < 90) & (values[..., 2] < 90))


def grey(height, width):
    return np.full((height, width, 3), 120, np.uint8)


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("where", ["middle", "left border", "right border", "outside"])
def test_the_box_is_seen_on_all_four_sides(height, width, where):
    boxes = {
        "middle": Box(0.3 * width, 0.3 * height, 0.4 * width, 0.4 * height),
        "left border": Box(0, 0, 0.2 * width, height),
        "right border": Box(0.8 * width, 0, 0.2 * width, height),
        "outside": Box(-0.2 * width, -0.2 * height, 1.4 * width, 1.4 * height),
    }
    box, size = boxes[where], 336
    picture = fitted(grey(height, width), size, box)
    assert picture.shape == (size, size, 3)
    found = red(picture)
    scale = size / max(height, width)
    left, top = (size - round(width * scale)) // 2, (size - round(height * scale)) // 2
    wanted = np.clip(
        [box.y * scale + top, box.x * scale + left, box.bottom * scale + top, box.right * scale + left], 0, size - 1
    )
    got = np.concatenate([found.min(0), found.max(0)])
    assert np.abs(got - wanted).max() <= 8  # a thin box is widened so that it can be seen at all
    assert len(found) >= 30


def test_nothing_is_cut_off():
    image = grey(100, 300)
    image[:, :10] = image[:, -10:] = (0, 255, 0)  # a centre crop would lose both
    picture = fitted(image, 336).astype(int)
    green = np.argwhere((picture[..., 1] > 200) & (picture[..., 0] < 60))
    assert green[:, 1].min() <= 2
    assert green[:, 1].max() >= 333


def test_colours_are_rgb_and_odd_pictures_are_refused():
    blue = np.zeros((10, 10, 3), np.uint8)
    blue[..., 0] = 255  # BGR
    assert fitted(blue, 10)[5, 5].tolist() == [0, 0, 255]
    for bad in (np.zeros((10, 10), np.uint8), np.zeros((0, 10, 3), np.uint8), np.zeros((10, 10, 4), np.uint8)):
        with pytest.raises(UserError, match="expected H x W x 3"):
            fitted(bad, 10)


def test_a_box_that_is_not_finite_is_not_drawn_and_a_speck_is():
    assert len(red(fitted(grey(50, 50), 100, Box(float("nan"), 0, 10, 10)))) == 0
    assert len(red(fitted(grey(50, 50), 100, Box(25, 25, 0, 0)))) > 0


def test_fingerprint_tells_pictures_apart():
    a = fitted(grey(50, 50), 56)
    b = a.copy()
    b[0, 0, 0] ^= 1
    assert fingerprint(a) == fingerprint(a.copy()) != fingerprint(b)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
def test_the_box_survives_the_image_processor(family):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from emo_face.expression.contextface.vision import Eyes
    from fixtures import tiny_contextface as tiny

    tokenizer = tiny.tiny_tokenizer(family)
    eyes = Eyes(tiny.tiny_base(family, tokenizer), tiny.tiny_image_processor(family), 56)
    plain = eyes.tensors([eyes.fitted(grey(90, 160))])["pixel_values"]
    boxed = eyes.tensors([eyes.fitted(grey(90, 160), Box(0, 0, 20, 90))])["pixel_values"]
    changed = (plain != boxed).float()
    assert plain.shape == boxed.shape
    assert 0.01 < float(changed.mean()) < 0.5
    if family != "qwen2_5_vl":  # pixels are still in rows and columns there
        columns = changed.reshape(-1, *changed.shape[-2:]).amax((0, 1))
        assert bool(columns[:2].any())  # the very left: a centre crop of the wide picture would have lost it
        assert not bool(columns[columns.shape[0] // 2 :].any())
    assert torch.isfinite(boxed).all()
