"""Ablations of the multi-view model beside the paper's: heads trained anew, and runs of another Stage 1.

Every head is trained with the settings of the head that is evaluated (``training`` of its card), changed in one place.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emo_face.core.configs import from_dict
from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.records import of_split, read_jsonl
from emo_face.evaluation.metrics import multilabel
from emo_face.evaluation.multiview.tables import paper
from emo_face.perception.multiview import head_file
from emo_face.runtime.shards import Job, Row
from emo_face.runtime.store import sha256_of
from emo_face.training.multiview.config import Stage2Config

Rows = dict[str, list[float | None]]
"""Row of a table -> values in the order of its columns."""
RunJob = Callable[[Job[Any], Sequence[Any], str], Sequence[Row]]
"""Rows of a job's items, by the runner that the user chose; the name is that of a folder."""

OF_HEAD: dict[str, dict[str, dict[str, Any]]] = {
    "table6": {
        "scene": {"views": ("scene",)},
        "scene+body": {"views": ("scene", "body")},
        "scene+body+face": {"views": ("scene", "body", "face")},
    },
    "table11": {"no attention": {"attention": False}, "attention": {"attention": True}},
    "table12": {"bce": {"loss": "bce"}, "asymmetric": {"loss": "asymmetric"}},
}
"""Ablations that need no other Stage 1: table -> row -> what changes."""
OF_STAGE1 = ("table7", "table8")
"""Ablations of the corpus: their features come from ``--also``. Table 9 is table 8's runs, label by label."""


def pairs(items: Sequence[str], tables: Mapping[str, Any]) -> list[tuple[str, str, Path]]:
    """``TABLE/ROW=DIR`` arguments as (table, row, folder). Raises UserError naming what the paper has instead."""
    found = []
    for item in items:
        where, _, folder = item.partition("=")
        table, _, row = where.partition("/")
        if not folder or not row:
            raise UserError(f"--also: expected TABLE/ROW=DIR, got {item!r}")
        if table not in OF_STAGE1:
            raise UserError(f"--also: table: expected one of {', '.join(OF_STAGE1)}, got {table!r}")
        if row not in tables[table]["rows"]:
            raise UserError(f"--also: row of {table}: expected one of {', '.join(tables[table]['rows'])}, got {row!r}")
        found.append((table, row, Path(folder)))
    return found


@dataclass(frozen=True)
class Ablation:
    """One head to train: a row of a table, on the features of ``cache``, with ``change``."""

    table: str
    row: str
    cache: Path
    change: Mapping[str, Any]


@dataclass(frozen=True)
class AblationJob(Job[Ablation]):
    """Train heads as the one in ``model`` was, each changed in one place, and judge them on ``split``."""

    model: Path
    records: Path
    split: str
    mode: multilabel.APMode

    @property
    def key(self) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        files = [sha256_of(path) for path in (self.model / head_file.CARD, self.records)]
        return json.dumps(["ablation", 1, *files, self.split, self.mode])

    def item_key(self, item: Ablation) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        from emo_face.datasets.features import INDEX

        index = item.cache / INDEX
        return json.dumps([item.table, item.row, dict(item.change), sha256_of(index) if index.is_file() else ""])

    def worker(self) -> Callable[[Sequence[Ablation]], Sequence[Row]]:
        """Read card and records."""
        card, records = head_file.read_card(self.model)[0], list(read_jsonl(self.records))

        def train(items: Sequence[Ablation]) -> list[Row]:
            rows = []
            for item in items:
                value, ap = _retrain(card, records, item.cache, self.split, self.mode, item.change)
                rows.append({"table": item.table, "row": item.row, "value": value, "AP": ap})
            return rows

        return train


def ablations(job: AblationJob, cache: Path, heads: bool, also: Sequence[str], run: RunJob) -> dict[str, Rows]:
    """Tables of the paper's ablations with this run's values, in percent.

    Args:
        cache: features of the evaluated head. heads: train :data:`OF_HEAD`. also: see :func:`pairs`. run: who trains.

    Raises:
        UserError: an argument names no table or row of the paper, or a folder holds no features of these records.
    """
    tables = paper()
    wanted = [Ablation(table, row, folder, {}) for table, row, folder in pairs(also, tables)]
    if heads:
        changes = [(table, row, change) for table, rows in OF_HEAD.items() for row, change in rows.items()]
        wanted[:0] = [Ablation(table, row, cache, change) for table, row, change in changes]
    found: dict[str, Rows] = {}
    labels: dict[str, list[float]] = {}
    for made in run(job, wanted, "ablations"):
        found.setdefault(made["table"], {})[made["row"]] = [made["value"]]
        if made["table"] in OF_STAGE1:
            labels[made["row"]] = made["AP"]
    if {"without balancing", "with balancing"} <= set(labels):
        names = label_set(head_file.read_card(job.model)[0].fusion.label_set)
        rare = [label for label in tables["table9"]["rows"] if label in names.labels]
        rows = ("without balancing", "with balancing")
        found["table9"] = {label: [labels[row][names.index(label)] for row in rows] for label in rare}
    return found


def of_run(args: argparse.Namespace, run: RunJob) -> dict[str, Rows]:
    """:func:`ablations` as the flags of ``emo-face evaluate multiview`` ask."""
    job = AblationJob(args.model, args.records, args.split, args.ap_mode)
    return ablations(job, args.cache, args.ablations, args.also, run)


def _retrain(
    card: Any, records: Sequence[Any], cache: Path, split: str, mode: multilabel.APMode, change: Mapping[str, Any]
) -> tuple[float, list[float]]:
    """mAP (accuracy for single-label sets) and AP of each label of a head trained on ``cache`` with ``change``."""
    from emo_face.datasets.features import FeatureCache
    from emo_face.datasets.labelled import labelled, predict, with_views
    from emo_face.training.multiview import stage2

    reading = FeatureCache.reading(cache)
    features, meta = reading.load(), reading.meta()
    change = dict(change)
    # a card of before they were kept has the default settings
    settings = from_dict(Stage2Config, dict(card.training), "head.json: training")
    loss = change.pop("loss", None)
    multi = label_set(card.fusion.label_set).multi
    if loss is not None and multi:  # the losses of table 12 are for multi-label sets
        settings = replace(settings, loss=loss)
    there = tuple(meta["views"])
    views = tuple(view for view in change.pop("views", there) if view in there)
    fusion = replace(card.fusion, views=views, in_features=int(meta["size"]), **change)
    parts = [labelled(features, of_split(records, name), fusion.label_set) for name in ("train", "val", split)]
    train, validation, test = (with_views(part, views, there) for part in parts)
    trained = stage2.train(train, validation, fusion, settings)
    logits, _ = predict(trained.head, test.features)
    ap = multilabel.mean_average_precision(logits, test.truth, mode)
    value = 100 * (ap.value if multi else multilabel.accuracy(logits, test.truth))
    return value, (100 * ap.per_class).tolist()
