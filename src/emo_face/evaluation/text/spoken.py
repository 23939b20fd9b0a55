"""Speech as people say it: a dialogue test, hand-made lines by kind, and lines in languages that are not known.

The hand-made lines are ``tests/data/spoken_lines.tsv`` (kind, label or labels that are equally right, line) and
``foreign_lines.tsv`` and ``multilingual_lines.tsv`` (language, label, line) of a source checkout.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.core.types import FloatArray, IntArray
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.single_label import accuracy, macro_f1

SPOKEN_FILE, FOREIGN_FILE, MULTILINGUAL_FILE = "spoken_lines.tsv", "foreign_lines.tsv", "multilingual_lines.tsv"
SURE = 0.9
QUIET = 0.3
"""Quality under which a line counts as refused."""


@dataclass(frozen=True, slots=True)
class HandLine:
    """``group``: kind or language. ``labels``: indices into basic7, each as right as the others."""

    group: str
    labels: tuple[int, ...]
    text: str


class Reading(Protocol):
    """What the student says about a line."""

    @property
    def probabilities(self) -> FloatArray: ...

    @property
    def quality(self) -> float: ...


def lines_folder() -> Path | None:
    """``tests/data`` of the checkout that runs; None in an installation without tests."""
    folder = share_dir() / "tests" / "data"
    return folder if (folder / SPOKEN_FILE).is_file() else None


def read_lines(path: Path) -> list[HandLine]:
    """Rows of a hand-made file; ``#`` starts a comment. Raises UserError naming file and line."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 3:
            raise UserError(f"{path}:{number}: expected three tab-separated columns, got {len(fields)}")
        try:
            labels = tuple(basic7().index(name) for name in fields[1].split("|"))
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from None
        found.append(HandLine(fields[0], labels, fields[2]))
    return found


def hand_made(read: Callable[[str], Reading], rows: Sequence[HandLine]) -> dict[str, Any]:
    """Accuracy over all lines and by kind or language, and the counts."""
    right = np.array([int(read(row.text).probabilities.argmax()) in row.labels for row in rows])
    inside = {kind: np.array([row.group == kind for row in rows]) for kind in sorted({row.group for row in rows})}
    return {
        "lines_accuracy": round(float(right.mean()), 4),
        "lines": len(rows),
        "lines_by_kind": {
            kind: [int(right[chosen].sum()), int(chosen.sum()), round(float(right[chosen].mean()), 3)]
            for kind, chosen in inside.items()
        },
    }


def foreign(read: Callable[[str], Reading], rows: Sequence[HandLine]) -> dict[str, Any]:
    """How many lines are read right, and how many are right or refused."""
    said = [read(row.text) for row in rows]
    right = [
        int(r.probabilities.argmax()) in row.labels and r.quality >= QUIET for r, row in zip(said, rows, strict=True)
    ]
    refused = [reading.quality < QUIET for reading in said]
    both = [a or b for a, b in zip(right, refused, strict=True)]
    return {"foreign_lines": len(rows), "foreign_right": sum(right), "foreign_right_or_refused": sum(both)}


def dialogue(truth: IntArray, probabilities: FloatArray) -> dict[str, float]:
    """Figures on a dialogue test with its own shares of the labels."""
    sure = probabilities.max(1) >= SURE
    hit = probabilities.argmax(1) == truth
    return {
        "dialogue_accuracy": round(accuracy(truth, probabilities), 4),
        "dialogue_macro_f1": round(macro_f1(truth, probabilities), 4),
        "dialogue_ece": round(ece(truth, probabilities), 4),
        "dialogue_sure_right": round(float(hit[sure].mean()), 4) if sure.any() else 1.0,
        "dialogue_sure_share": round(float(sure.mean()), 4),
    }


def always(label: str, truth: IntArray) -> dict[str, float]:
    """The dialogue figures of a peer that always says one label."""
    said = np.zeros((len(truth), len(basic7())))
    said[:, basic7().index(label)] = 1.0
    figures: Mapping[str, float] = dialogue(truth, said)
    return {name: figures[name] for name in ("dialogue_accuracy", "dialogue_macro_f1")}
