"""Records asked in shards, by many processes or machines: the same answers, whoever gave them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_face.datasets.records import Record, to_row
from emo_face.evaluation.contextface.predict import PARTS, ConditionPredictions, predict
from emo_face.runtime.shards import Job, Row
from emo_face.runtime.store import sha256_of
from emo_face.runtime.weights import model_folder


@dataclass(frozen=True)
class AskJob(Job[Record]):
    """What a trained ContextFace answers to records under one condition."""

    model: Path
    backbone: str
    root: Path
    condition: str
    device: str = "cpu"
    quantisation: str = "none"

    @property
    def key(self) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        card = sha256_of(model_folder(self.model) / "contextface.json")  # it names the hashes of the others
        return json.dumps(["contextface", 2, card, self.backbone, self.condition, self.quantisation])

    def item_key(self, item: Record) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        return json.dumps(to_row(item))

    def worker(self) -> Callable[[Sequence[Record]], Sequence[Row]]:
        """Load the model."""
        from emo_face.datasets.encode import own_device
        from emo_face.expression.contextface.engine import EngineSettings, load_engine

        settings = EngineSettings(self.model, self.backbone, own_device(self.device), quantisation=self.quantisation)
        engine = load_engine(settings)

        def ask(items: Sequence[Record]) -> list[Row]:
            found = predict(engine, items, self.root, self.condition)
            values = [np.asarray(getattr(found, part), np.float64).tolist() for part in PARTS]
            return [dict(zip(("id", *PARTS), row, strict=True)) for row in zip(found.ids, *values, strict=True)]

        return ask


def joined(rows: Sequence[Row]) -> ConditionPredictions:
    """The predictions of a condition from the rows of its shards."""
    probabilities, form, most, mean, told = (np.array([row[part] for row in rows], np.float64) for part in PARTS)
    return ConditionPredictions(tuple(str(row["id"]) for row in rows), probabilities, form, most, mean, told)
