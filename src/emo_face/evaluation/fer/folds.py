"""What the leave-people-out folds of the FER student said about each picture: one JSON file beside the model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.core.numeric import softmax
from emo_face.core.types import FloatArray
from emo_face.evaluation.fer.figures import Judged

FILE = "nano_face_folds.json"


@dataclass(frozen=True)
class FoldPrediction:
    """One picture judged by a model that never saw the person.

    Attributes:
        source, name, person, label, pose: as :class:`emo_face.datasets.faces.faces.FacePicture`; label is empty if
            unknown.
        fold: number of the model. logits: 7, before temperature. face: the model's belief that it is a face.
    """

    source: str
    name: str
    person: str
    label: str
    pose: str
    fold: int
    logits: tuple[float, ...]
    face: float

    def probabilities(self, temperature: float) -> FloatArray:
        """(7,) as the runtime gives them: tempered, pulled to flat by the face score."""
        p = softmax(np.array(self.logits) / temperature)
        return np.asarray(self.face * p + (1 - self.face) / len(p))


@dataclass(frozen=True)
class Folds:
    """The content of the file."""

    predictions: tuple[FoldPrediction, ...]
    temperature: float
    made: Mapping[str, Any]

    def judged(self) -> list[Judged]:
        """What was said of each picture by a net that had not seen its person."""
        return [
            Judged(f.source, f.name, f.person, f.label, f.probabilities(self.temperature)) for f in self.predictions
        ]


def write_folds(path: Path, found: Sequence[FoldPrediction], temperature: float, made: Mapping[str, Any]) -> None:
    """Write; numbers keep four digits, which is what a 32-bit sum is good for."""
    rows = [{**asdict(f), "logits": [round(v, 4) for v in f.logits], "face": round(f.face, 4)} for f in found]
    body = {"labels": list(basic7().labels), "temperature": round(temperature, 4), "made": dict(made)}
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    head = json.dumps(body, indent=1)[:-2]
    path.write_text(f'{head},\n "predictions": [\n{lines}\n ]\n}}\n', encoding="utf-8")


def read_folds(path: Path) -> Folds:
    """Read the file. Raises UserError naming it and the field."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if tuple(body["labels"]) != basic7().labels:
            raise UserError(f"{path}: field labels: unknown class set {body['labels']}, expected {basic7().labels}")
        found = tuple(FoldPrediction(**{**row, "logits": tuple(row["logits"])}) for row in body["predictions"])
        return Folds(found, float(body["temperature"]), body["made"])
    except FileNotFoundError:
        raise UserError(f"{path} not found; make it by `emo-face train fer`") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not a fold file of the FER student: {error!r}; make it by `emo-face train fer`"
        ) from None
