"""Stage 1 in words: let the model answer the classification question and measure the labels it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.qa import templates
from emo_face.datasets.records import Record
from emo_face.evaluation.metrics import multilabel
from emo_face.evaluation.multiview.tables import UNNAMED, paper


def steps(
    items: Sequence[str], base: Path | None, images: Path | None, people: Sequence[Record], device: str = "cpu"
) -> dict[str, dict[str, Any]]:
    """Measure each ``[ROW=]DIR`` of Stage 1 on ``people``: row of table 13 (or :data:`UNNAMED`) -> :func:`measure`.

    Raises UserError if a folder is not given or a row is none of the paper's.
    """
    rows = paper()["table13"]["rows"]
    found = {}
    for item in items:
        name, _, folder = item.rpartition("=")
        if name and name not in rows:
            raise UserError(f"--vlm: row of table 13: expected one of {'; '.join(rows)}, got {name!r}")
        found[name or UNNAMED] = evaluate_vlm(Path(folder), base, images, people, device)
    return found


def evaluate_vlm(
    folder: Path, base: Path | None, images: Path | None, people: Sequence[Record], device: str = "cpu"
) -> dict[str, Any]:
    """Load Stage 1 and measure it on ``people``, with captions where it was tuned with them.

    Raises UserError if a folder is not given.
    """
    from emo_face.datasets.views import MultiViewCollator, Pictures
    from emo_face.perception.multiview import ask, checkpoint

    if base is None or images is None:
        raise UserError("--vlm needs --base (InstructBLIP checkpoint) and --images (folder of the pictures)")
    tasks = checkpoint.read_card(folder).get("tasks", ["caption"])
    if "caption" not in tasks:
        people = [replace(record, caption="") for record in people]
    asker = ask.load(base, folder, device)
    pictures = Pictures.of(images, asker.vlm.config, people)
    return measure(asker.vlm, MultiViewCollator(pictures, asker.tokenizer, asker.qformer_tokenizer), people, device)


def measure(vlm: Any, collate: Any, people: Sequence[Record], device: str = "cpu", batch: int = 8) -> dict[str, Any]:
    """Macro precision, recall, F1 and Hamming loss in percent of the labels named in greedy answers.

    An answer that names no label counts as naming none (all its labels are missed); ``unparseable`` is their share.
    Accuracy of a single-label set: the right label and no other is named.
    """
    name = people[0].label_set
    multi, options = label_set(name).multi, templates.options_of(name)
    predicted = np.zeros((len(people), len(label_set(name))), bool)
    truth = np.array([record.one_hot() for record in people], bool)
    unparsed = 0
    for rows in _same_question(people, batch):
        question = templates.classification_question(options, people[rows[0]].caption, multi)
        prompt = collate.prompts([people[i] for i in rows], question).to(device)
        answers = collate.tokenizer.batch_decode(
            vlm.generate(prompt, collate.tokenizer, max_new_tokens=96, do_sample=False), skip_special_tokens=True
        )
        for i, answer in zip(rows, answers, strict=True):
            labels = templates.parse_answer(answer, name)
            unparsed += labels is None
            for label in labels or ():
                predicted[i, label_set(name).index(label)] = True
    precision, recall, f1 = multilabel.precision_recall_f1(predicted, truth)
    return {
        "n": len(people),
        "precision": 100 * float(precision.mean()),
        "recall": 100 * float(recall.mean()),
        "f1": 100 * float(f1.mean()),
        "hamming": 100 * multilabel.hamming_loss(predicted, truth),
        "accuracy": None if multi else 100 * float((predicted == truth).all(1).mean()),
        "unparseable": 100 * unparsed / len(people),
    }


def _same_question(people: Sequence[Record], batch: int) -> list[list[int]]:
    """Rows grouped by caption, so that a batch needs no padding."""
    groups: dict[str, list[int]] = {}
    for i, record in enumerate(people):
        groups.setdefault(record.caption, []).append(i)
    return [rows[k : k + batch] for rows in groups.values() for k in range(0, len(rows), batch)]
