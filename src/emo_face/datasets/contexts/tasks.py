"""Training examples of the three tasks out of neutral records (paper, section 3.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.contexts.flame_targets import FlameTargets
from emo_face.datasets.records import Record
from emo_face.expression.contextface.prompts import (
    Example,
    Turn,
    expression_answer,
    expression_question,
    safe,
    situation_answer,
    situation_question,
    word_of,
)

Context = Literal["situation", "quote"]
CONTEXTS: tuple[Context, ...] = ("situation", "quote")


@dataclass
class Tasks:
    """Examples by task and what was left out, by reason."""

    situation: list[Example] = field(default_factory=list)
    expression: list[Example] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def build(
    records: Sequence[Record],
    root: Path,
    targets: FlameTargets | None,
    contexts: Sequence[Context] = CONTEXTS,
    expression_image: bool = False,
) -> Tasks:
    """Situation and expression examples of records with a situation and a quote.

    A record gives one situation example (picture and quote in, situation and emotion out) and one expression example
    for each of ``contexts`` (text in, emotion and face out). Deterministic; the mixture does the shuffling.

    Args:
        root: folder that picture paths are relative to. targets: None leaves the expression task empty.
        expression_image: give the expression task the picture too (the paper's inputs are text alone).

    Raises:
        UserError: not one record has a face in ``targets``, whose ids are of another source.
    """
    tasks = Tasks()
    if targets is not None and records and not any(targets.get(record.id) for record in records):
        theirs, mine = targets.ids[0], records[0].id
        if theirs.partition("/")[0] != mine.partition("/")[0]:
            raise UserError(
                f"targets: none of {len(records)} records has a face; their ids are like {mine!r}, not {theirs!r}. "
                "Make targets and training from one records file: emo-face data convert, then emo-face data targets"
            )
    for record in records:
        if len(record.labels) != 1:
            tasks.dropped["not one label"] += 1
            continue
        try:
            label = word_of(record.labels[0])
        except ValueError:
            tasks.dropped["label is none of the seven"] += 1
            continue
        tasks.situation += _situation(record, root, label, tasks.dropped)
        target = targets.get(record.id) if targets is not None else None
        if target is None:
            tasks.dropped["expression: no face target"] += targets is not None
            continue
        for context in contexts:
            text = getattr(record, context)
            if not safe(text):
                tasks.dropped[f"expression: no {context}"] += 1
                continue
            question = expression_question(image=expression_image, **{context: text})
            turn = Turn(question, expression_answer(context, label))
            image = root / record.image if expression_image else None
            tasks.expression.append(
                Example(f"{record.id}/{context}", "expression", (turn,), image, box_of(record), label, target)
            )
    return tasks


def _situation(record: Record, root: Path, label: str, dropped: Counter[str]) -> list[Example]:
    if not safe(record.situation) or not safe(record.quote):
        dropped["situation: no situation or no quote"] += 1
        return []
    turn = Turn(situation_question(record.quote), situation_answer(record.situation, label))
    example = Example(f"{record.id}/ask", "situation", (turn,), root / record.image, box_of(record), label)
    return [example]


def box_of(record: Record) -> Box | None:
    """The box that marks the person: the body's, else the face's, else None."""
    return record.bbox_body or record.bbox_face
