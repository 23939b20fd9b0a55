"""Rows of the instruction-tuning corpus out of neutral records."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.qa import quality, templates
from emo_face.datasets.qa.balance import Reading, down_sample, minor_labels
from emo_face.datasets.records import Record, from_row, to_row
from emo_face.runtime.files import numbered_lines, write_json_lines

TASKS = ("classification", "caption", "pose", "situation", "rationale")


@dataclass(frozen=True, slots=True)
class QARow:
    """One question about one person. ``task`` is one of :data:`TASKS` or ``minor`` (the extra minor-label question)."""

    id: str
    task: str
    question: str
    answer: str
    record: Record


@dataclass(frozen=True)
class Corpus:
    """Rows and what was left out, by reason."""

    rows: list[QARow]
    dropped: Counter[str]


def build(
    records: Sequence[Record],
    *,
    seed: int = 0,
    tasks: Sequence[str] = TASKS,
    reading: Reading = "drop",
    balance: bool = True,
    other_share: float = 1.0,
) -> Corpus:
    """Make the corpus: deterministic for a seed, and only the training split is balanced.

    Args:
        tasks: which of :data:`TASKS`; ``caption`` turns a question caption-guided if the record has a caption.
        balance: minor-label questions and down-sampling (the ablation of table 8 sets it False).
        other_share: pose, situation and rationale rows at most this many times the classification rows (A.4.2
            limits them without a number).
    """
    unknown = sorted(set(tasks) - set(TASKS))
    if unknown:
        raise UserError(f"tasks: unknown {', '.join(unknown)}; expected some of {', '.join(TASKS)}")
    rng = np.random.default_rng(seed)
    dropped: Counter[str] = Counter()
    kept = _balanced(records, rng, reading, dropped) if balance else list(records)
    classification: list[QARow] = []
    other: list[QARow] = []
    for record in kept:
        if not record.labels:
            dropped["no label"] += 1
            continue
        if "classification" in tasks:
            classification.extend(
                _classification(record, "caption" in tasks, balance and record.split in ("train", ""))
            )
        other.extend(_descriptions(record, tasks, rng, dropped))
    limit = round(other_share * len(classification)) if classification else len(other)
    if len(other) > limit:
        dropped["over the share of other tasks"] += len(other) - limit
        other = [other[i] for i in sorted(rng.permutation(len(other))[:limit])]
    return Corpus(classification + other, dropped)


def _balanced(
    records: Sequence[Record], rng: np.random.Generator, reading: Reading, dropped: Counter[str]
) -> list[Record]:
    train = [record for record in records if record.split in ("train", "")]
    rest = [record for record in records if record.split not in ("train", "")]
    kept = down_sample(train, rng, reading)
    dropped["major labels only"] += len(train) - len(kept)
    return kept + rest


def _classification(record: Record, with_caption: bool, with_minor: bool) -> Iterator[QARow]:
    caption = record.caption if with_caption else ""
    multi = label_set(record.label_set).multi
    options = templates.options_of(record.label_set)
    question = templates.classification_question(options, caption, multi)
    task = "caption" if caption else "classification"
    yield QARow(f"{record.id}/{task}", task, question, templates.classification_answer(record.labels, options), record)
    minor = minor_labels(record) if with_minor else ()
    if minor:
        options = templates.options_of(record.label_set, minor_only=True)
        question = templates.classification_question(options, caption, multi)
        yield QARow(f"{record.id}/minor", "minor", question, ", ".join(minor), record)


def _descriptions(
    record: Record, tasks: Sequence[str], rng: np.random.Generator, dropped: Counter[str]
) -> Iterator[QARow]:
    texts = {"pose": record.pose, "situation": record.situation, "rationale": record.rationale}
    for task, text in texts.items():
        if task not in tasks or not text:
            continue
        if quality.fault(task, text, record.labels, record.label_set):
            dropped[f"{task}: quality gate"] += 1
            continue
        yield QARow(f"{record.id}/{task}", task, templates.ask(task, rng), text, record)


def _to_row(row: QARow) -> dict[str, Any]:
    line = {"id": row.id, "task": row.task, "question": row.question, "answer": row.answer}
    return {**line, "record": to_row(row.record)}


def write_corpus(path: Path, corpus: Corpus) -> dict[str, Any]:
    """Write the rows as JSONL, whole or not at all; return counts by task and of what was dropped."""
    write_json_lines(path, map(_to_row, corpus.rows))
    return {"rows": dict(Counter(row.task for row in corpus.rows)), "dropped": dict(corpus.dropped)}


def read_corpus(path: Path) -> list[QARow]:
    """Rows of a corpus file. Raises UserError naming file, line and field."""
    if not path.is_file():
        raise UserError(f"{path}: no such corpus; make one with: emo-face data qa --records ... --to {path}")
    rows = []
    for number, line in numbered_lines(path):
        try:
            raw = json.loads(line)
            texts = {key: raw[key] for key in ("id", "task", "question", "answer")}
            wrong = [key for key, value in texts.items() if not isinstance(value, str) or not value]
            if wrong:
                raise ValueError(f"field {wrong[0]!r}: expected a text, got {texts[wrong[0]]!r}")
            rows.append(QARow(**texts, record=from_row(raw["record"])))
        except KeyError as error:
            raise UserError(f"{path}:{number}: field {error} is missing") from None
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}:{number}: {error}") from None
    if not rows:
        raise UserError(f"{path}: the corpus is empty")
    return rows
