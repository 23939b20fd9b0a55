"""MERR (Cheng et al., NeurIPS 2024): emotions and peak frames of MER2023's film clips (supplement, section 4.1).

As published by Emotion-LLaMA (``docs/dataset/configuration.md``, ``minigpt4/datasets/datasets/first_face.py``), in one
folder: ``MERR_fine_grained.txt`` or ``MERR_coarse_grained.txt`` with lines ``name emotion`` or ``name frames emotion
[valence]``; beside it the ``.json`` of the same name, ``{name: {"peak_index": "23", ...}}``; the columns ``name`` and
``sentence`` in ``transcription_en_all.csv`` (may be missing); clips as ``name.mp4`` or ``.avi`` in ``video/`` or there.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2

from emo_face.core.errors import UserError
from emo_face.datasets.records import Record
from emo_face.expression.contextface.prompts import LABEL_SET, label_of
from emo_face.runtime.files import numbered_lines, read_text, replacing, table_of

ANNOTATIONS = ("MERR_fine_grained.txt", "MERR_coarse_grained.txt")
TRANSCRIPT = "transcription_en_all.csv"
FRAMES = "peak_frames"
"""Folder below the root into which the peak frames go."""


def read(root: Path, skipped: Counter[str] | None = None) -> list[Record]:
    """One record per clip, all of the split ``test``: its peak frame, emotion and, if there is a transcript, words.

    Emotions that are none of the seven (worried, contempt, doubt; the paper leaves out worried) and clips without a
    frame are left out and counted in ``skipped``.

    Raises:
        UserError: a file is missing or has another form; names file and line.
    """
    counted: Counter[str] = Counter() if skipped is None else skipped
    listed = next((root / name for name in ANNOTATIONS if (root / name).is_file()), None)
    if listed is None:
        raise UserError(f"{root}: expected {' or '.join(ANNOTATIONS)} in it")
    peaks, said = _peaks(listed.with_suffix(".json")), _sentences(root / TRANSCRIPT)
    records = []
    for number, line in numbered_lines(listed):
        parts = line.split()
        if len(parts) < 2:
            raise UserError(f"{listed}:{number}: expected name and emotion, or name, frames and emotion; got {line!r}")
        name, emotion = parts[0], parts[1] if len(parts) == 2 else parts[2]
        try:
            label = label_of(emotion)
        except ValueError:
            counted[f"{emotion}: none of the seven"] += 1
            continue
        if fault := _frame(root, name, peaks.get(name)):
            counted[fault] += 1
            continue
        image = f"{FRAMES}/{name}.png"
        records.append(
            Record(f"merr/{name}", image, LABEL_SET, (label,), "test", "merr", group_id=name, quote=said.get(name, ""))
        )
    if not records:
        raise UserError(f"{listed}: no usable clip; left out: {dict(counted)}")
    return records


def _peaks(path: Path) -> dict[str, int]:
    """Clip -> number of its peak frame, from 0."""
    try:
        rows: dict[str, dict[str, Any]] = json.loads(read_text(path))
        return {name: int(row["peak_index"]) for name, row in rows.items()}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; it names the clips' peak frames") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{path}: expected {{name: {{"peak_index": "23"}}}}: {error!r}') from None


def _sentences(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    rows = table_of(path)
    if not {"name", "sentence"} <= set(rows.fieldnames or ()):
        raise UserError(f"{path}: expected the columns name and sentence, got {rows.fieldnames}")
    return {row["name"]: (row["sentence"] or "").strip() for row in rows}


def _frame(root: Path, name: str, peak: int | None) -> str:
    """Write a clip's peak frame, unless it is there; why it cannot be, or an empty text."""
    out = root / FRAMES / f"{name}.png"
    if out.is_file():
        return ""
    if Path(name).name != name:
        return "name is no file name"
    if peak is None:
        return "no peak frame is named"
    places = (root / folder / f"{name}{end}" for folder in ("video", "") for end in (".mp4", ".avi"))
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return "clip is missing"
    film = cv2.VideoCapture(str(path))
    try:
        film.set(cv2.CAP_PROP_POS_FRAMES, peak)
        there, image = film.read()
    finally:
        film.release()
    if not there:
        return "peak frame cannot be read"
    out.parent.mkdir(exist_ok=True)
    done, data = cv2.imencode(".png", image)
    if not done:
        return "peak frame cannot be written"
    with replacing(out) as scratch:
        scratch.write_bytes(data.tobytes())
    return ""
