"""What is said of one face in ROS4HRI's terms; the messages are stand-ins with hri_msgs' fields."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from emo_face.core.types import Box, Emotion, Face
from emo_face.face.expressions.facs import default_facs
from emo_face.nodes.hri import faces


class Messages:
    """``hri_msgs.msg``: any name makes a message of its keywords."""

    def __getattr__(self, name: str) -> Any:
        return lambda **fields: SimpleNamespace(**{"x": 0.0, "y": 0.0, "c": 0.0, **fields})


@pytest.mark.parametrize("name", ["Happy", "Sad", "Surprise", "Anger", "Fear", "Disgust"])
def test_action_units_of_a_face_are_found_again(name: str) -> None:
    facs = default_facs()
    wanted = {int(unit.strip("LR")): value for unit, value in facs.units_of(name).items()}
    found = faces.facs(Messages(), facs.arkit({name: 1.0}), 0.8, None)
    assert (len(found.intensity), len(found.confidence)) == (99, 99)
    for unit, value in wanted.items():
        if unit not in (25, 26):  # lips and jaw: 16 and 27 open them too and explain the same
            assert found.intensity[unit] > 0.3 * value, unit
    again = facs.arkit_of_units({str(k): float(found.intensity[k]) for k in range(99) if found.intensity[k] > 1e-3})
    np.testing.assert_allclose(again, facs.arkit({name: 1.0}), atol=0.08)
    assert found.intensity.max() <= 1 + 1e-6
    assert not found.confidence[[0, 51, 61, 98]].any()  # not measured


def test_pictures_are_squares_with_the_face_whole_and_upright() -> None:
    frame = np.zeros((200, 300, 3), np.uint8)
    frame[60:140, 100:140] = (10, 200, 30)
    crop = faces.cropped(frame, Box(100, 60, 40, 80))
    assert crop is not None
    assert crop.shape == (128, 128, 3)
    assert crop[:, 32:96].mean() > 70
    assert crop[:, :30].max() == 0
    assert faces.cropped(frame, Box(-50, -50, 20, 20)) is None
    assert faces.cropped(frame, Box(-5, -5, 20, 20)) is not None
    tilted = np.array([[100.0, 60], [140, 100], [105, 105], [70, 90], [110, 130]])  # a head on its side by 45 degrees
    for x, y in tilted[:2]:
        frame[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] = (0, 0, 255)
    upright = faces.aligned(frame, Face(Box(70, 40, 90, 100), 0.9, tilted))
    assert upright is not None
    red = np.argwhere((upright[..., 2] > 150) & (upright[..., 1] < 60))
    left, right = red[red[:, 1] < 64], red[red[:, 1] >= 64]
    assert abs(left[:, 0].mean() - right[:, 0].mean()) < 4  # the eyes are level
    assert left[:, 0].mean() < 64  # and above the middle
    assert faces.aligned(frame, Face(Box(0, 0, 9, 9), 0.9)) is None


def test_without_evidence_there_is_no_expression() -> None:
    sure = np.eye(7)[3]
    seen = Emotion("basic7", sure, sure > 0.5, 0.8, 0.5, {}, 0.9)
    assert faces.expression(Messages(), seen, None).expression == "happy"
    assert faces.expression(Messages(), Emotion("basic7", sure, sure > 0.5, 0.8, 0.5, {}, 0.0), None) is None
    flat = np.full(7, 1 / 7)
    assert faces.expression(Messages(), Emotion("basic7", flat, flat > 0.5, 0.0, 0.0, {}, 0.9), None) is None
