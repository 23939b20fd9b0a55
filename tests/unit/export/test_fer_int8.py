"""The face student in int8: the same emotions on faces kept aside, or refused."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.errors import UserError
from emo_face.export import fer_int8
from emo_face.perception.nano.model import build_nano
from emo_face.runtime.store import open_store

pytest.importorskip("onnx")


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, assets: Path) -> Path:
    monkeypatch.setattr(fer_int8, "user_cache", lambda: tmp_path)
    monkeypatch.setattr(fer_int8, "register", lambda entry: registered.append(entry))
    monkeypatch.setattr(fer_int8, "open_store", lambda: open_store([assets]))
    registered.clear()
    return tmp_path


registered: list[object] = []


def test_int8_reads_the_same_emotions_and_is_a_fraction_of_the_size(assets: Path, cache: Path, capsys) -> None:
    (made,) = fer_int8.run(argparse.Namespace(pictures=assets / "images" / "london"))
    source = open_store([assets]).resolve("nano_face").path
    assert made.stat().st_size < 0.7 * source.stat().st_size  # which is in half precision
    assert "same emotion of" in capsys.readouterr().out
    (entry,) = registered
    assert entry.name == "nano_face_int8"  # type: ignore[attr-defined]


def blank(crops: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """No faces: ranges that fit none."""
    yield {"crops": np.zeros((1, 1, 48, 48), np.float32)}


def test_a_copy_that_reads_other_emotions_is_not_kept(assets: Path, cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(fer_int8, "feeds", blank)
    with pytest.raises(UserError, match=r"int8 reads other emotions than nano_face .* not kept; give more pictures"):
        fer_int8.run(argparse.Namespace(pictures=assets / "images" / "london"))
    assert not registered
    assert not list(cache.glob("*.onnx"))


def test_too_few_faces_are_said(assets: Path) -> None:
    frames = [cv2.imread(str(assets / "images" / "london" / "001_neutral.jpg"))] * 3
    with pytest.raises(UserError, match="3 faces in 3 pictures, expected 30 or more"):
        fer_int8.read_crops(open_store([assets]), frames)


def test_the_node_takes_the_student_that_is_named(assets: Path) -> None:
    assert any("no other" in text for text in build_nano(open_store([assets]), face="other").warnings)
