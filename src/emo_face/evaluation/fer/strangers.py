"""The face student on people of the London set who were used in no step of its training and were not selected.

``images/london_unpicked`` holds a neutral and a smiling picture of each person, and ``people.csv`` their age, gender
and group. Intervals are Wilson's ("Probable inference, the law of succession, and statistical inference", JASA 22,
1927): with six people in a group a share alone says little.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.datasets.faces import faces as readers
from emo_face.datasets.faces.faces import FacePicture
from emo_face.evaluation.fer.figures import Judged
from emo_face.perception.nano.face import FaceStudent
from emo_face.perception.nano.facecrop import cut

FOLDER = "london_unpicked"
PEOPLE = "people.csv"


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's score interval of a share, [0, 1]; the whole range if there is nothing to count."""
    if total == 0:
        return 0.0, 1.0
    found = stats.binomtest(right, total).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def read_strangers(data: Path) -> list[FacePicture]:
    """The pictures; empty if the folder is not there."""
    folder = data / "images" / FOLDER
    return list(readers.read_london(folder, readers.detector_of(data))) if folder.is_dir() else []


def load_student() -> FaceStudent:
    """The shipped student. Raises ModelError."""
    return FaceStudent(share_dir() / "models" / "nano_face.onnx")


def judge(student: FaceStudent, pictures: Sequence[FacePicture]) -> list[Judged]:
    """What the shipped student says about each picture."""
    if not pictures:
        return []
    said = student.classify(np.stack([cut(p.picture, p.face) for p in pictures]))[0]
    return [Judged(p.source, p.name, p.person, p.label or "", q) for p, q in zip(pictures, said, strict=True)]


def groups_of(data: Path) -> dict[str, str]:
    """Person number -> group, from people.csv; empty if it is not there."""
    path = data / "images" / FOLDER / PEOPLE
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["person"]: row["group"] for row in csv.DictReader(file)}


def figures(said: Sequence[Judged], groups: Mapping[str, str]) -> dict[str, Any]:
    """Recall of both expressions over all people and by group, each with right, total and Wilson's interval."""
    out: dict[str, Any] = {}
    for key, label in (("smiling", "Happy"), ("neutral", "Neutral")):
        rows = [j for j in said if j.label == label]
        out[f"strangers_{key}"] = _share(rows, label)
        named = sorted({groups.get(_number(j), "") for j in rows} - {""})
        out[f"strangers_{key}_by_group"] = {
            group: _share([j for j in rows if groups.get(_number(j)) == group], label) for group in named
        }
    return out


def _share(rows: Sequence[Judged], label: str) -> dict[str, Any]:
    right = sum(int(j.probabilities.argmax()) == basic7().index(label) for j in rows)
    low, high = wilson(right, len(rows))
    share = round(right / len(rows), 4) if rows else None
    return {"right": right, "total": len(rows), "share": share, "wilson95": [round(low, 4), round(high, 4)]}


def _number(judged: Judged) -> str:
    """``london:003`` or ``003_smiling.jpg`` -> ``003``."""
    return judged.name.split("_")[0]
