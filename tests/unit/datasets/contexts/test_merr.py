"""MERR in the layout that Emotion-LLaMA publishes (docs/dataset/configuration.md): labels, peak frames, transcripts."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.datasets.contexts import merr
from emo_face.datasets.records import read_jsonl

LINES = (
    "sample_00000007 12 happy 2.1",  # name, frames, emotion, valence
    "sample_00000047 12 worried -1.0",
    "samplenew_00001073 surprise",  # name, emotion
    "sample_00000669 12 sad -2.0",
    "sample_00000338 12 angry -1.174107",
)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "video").mkdir()
    (tmp_path / "MERR_fine_grained.txt").write_text("\n".join(LINES) + "\n\n")
    names = [line.split()[0] for line in LINES]
    peaks = {name: {"AU_list": ["AU12_r"], "peak_index": "99" if name.endswith("669") else "5"} for name in names}
    (tmp_path / "MERR_fine_grained.json").write_text(json.dumps(peaks))
    (tmp_path / "transcription_en_all.csv").write_text("name,sentence\nsample_00000007,We won!\n", encoding="utf-8-sig")
    for name in names[:-1]:
        film = cv2.VideoWriter(str(tmp_path / "video" / f"{name}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (96, 64))
        for number in range(12):
            film.write(np.full((64, 96, 3), 20 * number, np.uint8))
        film.release()
    return tmp_path


def test_clips_become_records_with_their_peak_frame(root, capsys):
    assert main(["data", "convert", "--set", "merr", "--root", str(root), "--to", str(root / "merr.jsonl")]) == 0
    happy, surprise = read_jsonl(root / "merr.jsonl")
    assert (happy.labels, happy.quote, happy.split) == (("Happy",), "We won!", "test")
    assert (surprise.labels, surprise.quote) == (("Surprise",), "")
    frame = cv2.imread(str(root / happy.image))
    assert abs(float(frame.mean()) - 5 * 20) < 4, "frame 5, from 0"
    said = capsys.readouterr().err
    for reason in ("worried: none of the seven", "peak frame cannot be read", "clip is missing"):
        assert f"merr: 1 x {reason}" in said


def test_what_is_missing_is_named(root):
    skipped = Counter()
    assert len(merr.read(root, skipped)) == 2
    (root / "transcription_en_all.csv").write_text("id,text\n")
    with pytest.raises(UserError, match="name and sentence"):
        merr.read(root)
    (root / "transcription_en_all.csv").unlink()
    assert not any(record.quote for record in merr.read(root)), "a transcript may be missing"
    (root / "MERR_fine_grained.json").write_text('{"a": {}}')
    with pytest.raises(UserError, match="peak_index"):
        merr.read(root)
    (root / "MERR_fine_grained.json").unlink()
    with pytest.raises(UserError, match=r"MERR_fine_grained\.json"):
        merr.read(root)
    (root / "MERR_fine_grained.txt").write_text("alone\n")
    (root / "MERR_fine_grained.json").write_text("{}")
    with pytest.raises(UserError, match=":1: expected name and emotion"):
        merr.read(root)
    (root / "MERR_fine_grained.txt").unlink()
    with pytest.raises(UserError, match="MERR_coarse_grained"):
        merr.read(root)
