"""The two exports that make a person detector: what they accept, check, compare and register."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.errors import ModelError, UserError
from emo_face.core.types import Box
from emo_face.export import yolo, yolo_int8
from emo_face.perception.detect_yolo import Body
from emo_face.runtime.bundle import install
from emo_face.runtime.store import open_store


def test_exported_file_is_registered_and_found(assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = assets / "yolo" / "yolo11n_dequant.onnx"
    yolo.check(network)
    install(network, "yolo11n", "AGPL-3.0", "people")
    found = open_store(extra=[]).resolve("yolo11n")
    assert found.path == tmp_path / "emo_face" / "yolo11n.onnx"


def test_other_networks_are_refused(assets: Path) -> None:
    with pytest.raises(ModelError, match="not a YOLO detector"):
        yolo.check(assets / "fer" / "fer_mini_xception.onnx")


def test_without_ultralytics_or_weights_it_says_what_to_do(tmp_path: Path) -> None:
    if importlib.util.find_spec("ultralytics") is None:
        with pytest.raises(UserError, match="ultralytics is not installed: "):
            yolo.export("yolo11n.pt", tmp_path)
    else:
        with pytest.raises(UserError, match="no such file"):
            yolo.export(str(tmp_path / "mine.pt"), tmp_path)


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="1 readable pictures, expected 20"):
        yolo_int8.read_pictures(tmp_path)


def test_a_clear_person_must_be_seen_by_both() -> None:
    covered = yolo_int8._covered
    clear, faint = Body(Box(0, 0, 50, 90), 0.8), Body(Box(200, 0, 50, 90), 0.55)
    assert covered([clear, faint], [Body(Box(3, 2, 50, 90), 0.6)], 0.5)
    assert not covered([clear], [faint], 0.5)


def test_int8_sees_the_same_people(assets: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    frames = [cv2.imread(str(p)) for p in sorted((assets / "images" / "london").glob("*.jpg"))[:8]]
    frames += [cv2.imread(str(p)) for p in sorted((assets / "images" / "people").glob("*.jpg"))]
    source, target = assets / "yolo" / "yolo11n_dequant.onnx", tmp_path / "int8.onnx"
    yolo_int8.quantise(source, target, frames, 320)
    same, overlap = yolo_int8.compare(source, target, frames, 320)
    assert same == 1.0
    assert overlap > 0.9
    assert target.stat().st_size < 0.4 * source.stat().st_size
