"""Stage 1 in words: let the model answer the classification question and measure the labels it names."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.encode import Group, groups
from emo_face.datasets.qa import templates
from emo_face.datasets.records import Record
from emo_face.datasets.views import MultiViewCollator, Pictures, person_of
from emo_face.evaluation.metrics import multilabel
from emo_face.evaluation.multiview.tables import UNNAMED, paper
from emo_face.perception.multiview import ask, checkpoint, fingerprint
from emo_face.runtime.shards import Job, Row

MAX_TOKENS = 96
"""Of an answer: all 26 labels of EMOTIC."""


@dataclass(frozen=True)
class AnswerJob(Job[Group]):
    """Greedy answers of a Stage 1 to the classification question, with captions if it was tuned with them."""

    folder: Path
    base: Path
    images: Path
    device: str = "cpu"
    batch: int = 8

    @property
    def key(self) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        return json.dumps(["answers", 1, sorted(fingerprint.fingerprint(self.folder, self.base).items()), MAX_TOKENS])

    def item_key(self, item: Group) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        return json.dumps([item.keys, [[r.id, r.label_set, r.caption] for r in item.people]])

    def worker(self) -> Callable[[Sequence[Group]], Sequence[Row]]:
        """Load InstructBLIP with its encoder."""
        from emo_face.datasets.encode import own_device

        device = own_device(self.device)
        asker = ask.load(self.base, self.folder, device)

        def answered(items: Sequence[Group]) -> list[Row]:
            people = [record for item in items for record in item.people]
            neighbours = {item.image: [*map(person_of, item.people), *item.others] for item in items}
            pictures = Pictures(self.images, asker.vlm.config, neighbours)
            collate = MultiViewCollator(pictures, asker.tokenizer, asker.qformer_tokenizer)
            texts = answers(asker.vlm, collate, people, device, self.batch)
            return [{"id": record.id, "answer": text} for record, text in zip(people, texts, strict=True)]

        return answered


def steps(
    items: Sequence[str],
    base: Path | None,
    images: Path | None,
    people: Sequence[Record],
    device: str,
    run: Callable[[Job[Any], Sequence[Any], str], Sequence[Row]],
) -> dict[str, dict[str, Any]]:
    """Measure each ``[ROW=]DIR`` of Stage 1 on ``people``: row of table 13 (or :data:`UNNAMED`) -> :func:`measure`.

    Args:
        run: rows of a job's items, by the runner that the user chose.

    Raises:
        UserError: a folder is not given, or a row is none of the paper's.
    """
    rows = paper()["table13"]["rows"]
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        name, _, folder = item.rpartition("=")
        if name and name not in rows:
            raise UserError(f"--vlm: row of table 13: expected one of {'; '.join(rows)}, got {name!r}")
        if base is None or images is None:
            raise UserError("--vlm needs --base (InstructBLIP checkpoint) and --images (folder of the pictures)")
        job = AnswerJob(Path(folder), base, images, device)
        asked = as_tuned(job.folder, people)
        groups_ = groups(asked, Pictures.of(images, checkpoint.config_of_card(job.folder), asked))
        texts = {row["id"]: row["answer"] for row in run(job, groups_, f"answers-{len(found)}")}
        found[name or UNNAMED] = measure([texts[record.id] for record in asked], asked)
    return found


def as_tuned(folder: Path, people: Sequence[Record]) -> Sequence[Record]:
    """The people without captions if Stage 1 never saw one."""
    tasks = checkpoint.read_card(folder).get("tasks", ["caption"])
    return people if "caption" in tasks else [replace(record, caption="") for record in people]


def answers(vlm: Any, collate: Any, people: Sequence[Record], device: str = "cpu", batch: int = 8) -> list[str]:
    """What the model says to the classification question about each person."""
    name = people[0].label_set
    multi, options = label_set(name).multi, templates.options_of(name)
    found = [""] * len(people)
    for rows in _same_question(people, batch):
        question = templates.classification_question(options, people[rows[0]].caption, multi)
        prompt = collate.prompts([people[i] for i in rows], question).to(device)
        said = vlm.generate(prompt, collate.tokenizer, max_new_tokens=MAX_TOKENS, do_sample=False)
        for i, text in zip(rows, collate.tokenizer.batch_decode(said, skip_special_tokens=True), strict=True):
            found[i] = text
    return found


def measure(texts: Sequence[str], people: Sequence[Record]) -> dict[str, Any]:
    """Macro precision, recall, F1 and Hamming loss in percent of the labels named in answers.

    An answer that names no label counts as naming none (all its labels are missed); ``unparseable`` is their share.
    Accuracy of a single-label set: the right label and no other is named.
    """
    name = people[0].label_set
    multi = label_set(name).multi
    said = [templates.parse_answer(text, name) for text in texts]
    predicted = np.array([[label in (labels or ()) for label in label_set(name).labels] for labels in said])
    truth = np.array([record.one_hot() for record in people], bool)
    precision, recall, f1 = multilabel.precision_recall_f1(predicted, truth)
    return {
        "n": len(people),
        "precision": 100 * float(precision.mean()),
        "recall": 100 * float(recall.mean()),
        "f1": 100 * float(f1.mean()),
        "hamming": 100 * multilabel.hamming_loss(predicted, truth),
        "accuracy": None if multi else 100 * float((predicted == truth).all(1).mean()),
        "unparseable": 100 * said.count(None) / len(people),
    }


def _same_question(people: Sequence[Record], batch: int) -> list[list[int]]:
    """Rows grouped by caption, so that a batch needs no padding."""
    groups: dict[str, list[int]] = {}
    for i, record in enumerate(people):
        groups.setdefault(record.caption, []).append(i)
    return [rows[k : k + batch] for rows in groups.values() for k in range(0, len(rows), batch)]
