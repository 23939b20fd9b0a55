"""Records asked in shards, by many processes or machines: the same answers, whoever gave them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.datasets.records import Record, to_row
from emo_face.evaluation.contextface.predict import PARTS, ConditionPredictions, predict
from emo_face.runtime.shards import Job, Row
from emo_face.runtime.store import sha256_of
from emo_face.runtime.weights import model_folder


@dataclass(frozen=True)
class AskJob(Job[Record]):
    """What a trained ContextFace answers to records under one condition. ``engine``: the model, if it is loaded."""

    model: Path
    backbone: str
    root: Path
    condition: str
    device: str = "cpu"
    quantisation: str = "none"
    engine: Any = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        card = sha256_of(model_folder(self.model) / "contextface.json")  # it names the hashes of the others
        return json.dumps(["contextface", 2, card, self.backbone, self.condition, self.quantisation])

    def item_key(self, item: Record) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        picture = self.root / item.image if item.image else None
        stat = picture.stat() if picture and picture.is_file() else None
        return json.dumps([to_row(item), [stat.st_size, stat.st_mtime_ns] if stat else None])

    def worker(self) -> Callable[[Sequence[Record]], Sequence[Row]]:
        """Load the model."""
        from emo_face.datasets.encode import own_device
        from emo_face.expression.contextface.engine import EngineSettings, load_engine

        device = own_device(self.device)
        engine = self.engine or load_engine(
            EngineSettings(self.model, self.backbone, device, quantisation=self.quantisation)
        )

        def ask(items: Sequence[Record]) -> list[Row]:
            found = predict(engine, items, self.root, self.condition)
            values = [np.asarray(getattr(found, part), np.float64).tolist() for part in PARTS]
            return [dict(zip(("id", *PARTS), row, strict=True)) for row in zip(found.ids, *values, strict=True)]

        return ask


def joined(rows: Sequence[Row]) -> ConditionPredictions:
    """The predictions of a condition from the rows of its shards."""
    probabilities, form, most, mean, told = (np.array([row[part] for row in rows], np.float64) for part in PARTS)
    return ConditionPredictions(tuple(str(row["id"]) for row in rows), probabilities, form, most, mean, told)
