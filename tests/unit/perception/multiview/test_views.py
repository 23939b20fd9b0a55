"""The views of a frame: the red box survives every resizing, missing views are marked, the scene is made once."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from emo_face.core.types import Box, Face, Person
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.preprocess import view_batch


def frame(h, w):
    return np.full((h, w, 3), 90, np.uint8)


@pytest.mark.parametrize("shape", [(120, 160), (40, 2000), (2160, 3840), (50, 50)])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize(
    "box", [(0.3, 0.2, 0.2, 0.5), (-0.1, -0.1, 0.3, 0.3), (0.9, 0.8, 0.5, 0.5), (0.5, 0.5, 0.001, 0.001)]
)
def test_red_box_survives(shape, resize, box):
    config = EncoderConfig(resize=resize)
    h, w = shape
    person = Person("p", 1.0, Box(box[0] * w, box[1] * h, box[2] * w, box[3] * h))
    plain = view_batch(frame(h, w), [person], dataclasses.replace(config, scene_box="none")).pixels["scene"][0]
    boxed = view_batch(frame(h, w), [person], config).pixels["scene"][0]
    changed = np.abs(boxed - plain).max(0) > 0
    assert changed.sum() >= 8
    red = boxed[:, changed]
    assert (red[0] > red[1] + 1).all()  # pure red after CLIP's normalisation: R high, G and B low
    assert (red[0] > red[2] + 1).all()
    if box[0] == 0.3 and resize == "stretch":
        rows, columns = np.nonzero(changed)
        assert abs(columns.min() - 0.3 * 224) <= 2
        assert abs(rows.max() - 0.7 * 224) <= 2


def test_rows_of_missing_views_and_one_scene():
    people = [
        Person("p1", 0.9, Box(10, 20, 60, 90), Face(Box(25, 25, 20, 20), 0.9)),
        Person("p2", 0.9, Box(80, 10, 50, 100), None),
        Person("p3", 0.9, Box(900, 900, 5, 5), Face(Box(5, 5, 0, 12), 0.9)),
    ]
    batch = view_batch(frame(120, 160), people, EncoderConfig())
    assert batch.rows.tolist() == [[0, 0, 0], [0, 1, -1], [0, -1, -1]]
    assert {view: len(value) for view, value in batch.pixels.items()} == {"scene": 1, "body": 2, "face": 1}
    assert batch.present.sum() == 6
    assert view_batch(frame(20, 20), [], EncoderConfig()).pixels["face"].shape == (0, 3, 224, 224)


def test_others_are_marked_but_not_cut():
    one, two = Person("a", 1, Box(10, 10, 30, 60)), Person("b", 1, Box(90, 10, 30, 60))
    alone = view_batch(frame(120, 160), [one], EncoderConfig())
    beside = view_batch(frame(120, 160), [one], EncoderConfig(), [two])
    assert beside.rows.shape == (1, 3)
    assert len(beside.pixels["body"]) == 1
    assert not np.array_equal(alone.pixels["scene"], beside.pixels["scene"])
    target = dataclasses.replace(EncoderConfig(), scene_box="target")
    assert np.array_equal(view_batch(frame(120, 160), [one], target, [two]).pixels["scene"], alone.pixels["scene"])


def test_importing_the_model_imports_no_torch():
    code = "import sys, emo_face.perception, emo_face.perception.multiview.model, emo_face.perception.multiview.ask\n"
    code += "assert not {'torch', 'transformers', 'rclpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("frame_shape", [(1, 1), (3, 2000), (2000, 3)])
def test_odd_frames(frame_shape):
    batch = view_batch(frame(*frame_shape), [Person("a", 1, Box(-5, -5, 4000, 4000))], EncoderConfig())
    assert np.isfinite(batch.pixels["scene"]).all()
