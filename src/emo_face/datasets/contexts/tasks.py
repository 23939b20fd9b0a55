"""Training examples out of neutral records: the paper's tasks in every form that a backend asks (section 3.2)."""

import math
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import overload

from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.contexts.face_targets import FaceTargets
from emo_face.datasets.records import Record
from emo_face.expression.contextface.conditions import CONDITIONS, Condition, known
from emo_face.expression.contextface.prompts import (
    Example,
    FaceTarget,
    Perspective,
    Style,
    Turn,
    expression_answer,
    safe,
    situation_answer,
    situation_question,
    word_of,
)

LISTENER = "/listener"
"""What follows a record's id in the ids of targets: the face of who hears the quote."""


class Made(Sequence[Example]):
    """Examples that are built when they are asked for: a data set in every form would fill the memory.

    Args:
        make: builds the example of a record, with a face of ``targets`` if it has one.
    """

    def __init__(
        self, records: Sequence[Record], make: Callable[[Record], Example], targets: FaceTargets | None = None
    ) -> None:
        self.records, self._make, self.targets = records, make, targets

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        chosen = self.records[index]
        return self._make(chosen) if isinstance(chosen, Record) else Made(chosen, self._make, self.targets)


@dataclass
class Tasks:
    """Examples by task (``situation/image+quote``, ``expression/listener/quote``), and what was left out, by reason."""

    by_name: dict[str, Sequence[Example]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    def of(self, kind: str) -> list[Example]:
        """All examples of ``situation`` or of ``expression``."""
        return [example for name, made in self.by_name.items() if kind_of(name) == kind for example in made]

    def spread(self) -> list[Example]:
        """Each record about once per kind, its form by turns: every form is in it, and it is not as large as all."""
        kinds = Counter(kind_of(name) for name in self.by_name)
        place = Counter[str]()
        found: list[Example] = []
        for name, made in self.by_name.items():
            kind = kind_of(name)
            found += made[place[kind] % len(made) :: kinds[kind]]
            place[kind] += 1
        return found


def kind_of(task: str) -> str:
    """The paper's task that a task's name belongs to (``expression/quote`` -> ``expression``)."""
    return task.partition("/")[0]


def build(
    records: Sequence[Record],
    root: Path,
    targets: FaceTargets | None,
    conditions: Sequence[str] = tuple(CONDITIONS),
    style: Style = "paper",
) -> Tasks:
    """Situation and expression examples, one per record and form. Deterministic; the mixture does the shuffling.

    The situation task has the picture, as in the paper, and asks without it too if a form does. A record whose person
    has no box is left out if a form has pictures, as the paper leaves out pictures without a person.

    Args:
        root: folder that picture paths are relative to. targets: None leaves the expression task empty.
        conditions: names of :data:`~emo_face.expression.contextface.conditions.CONDITIONS`. style: wording.

    Raises:
        UserError: no picture has a box, or no record has a face in ``targets``, whose ids are of another source.
    """
    forms, tasks = known(conditions), Tasks()
    if targets is not None:
        _same_ids(records, targets)
    people = labelled(records, tasks.dropped)
    if any(form.picture for form in forms):
        people = boxed(people, tasks.dropped)
    for picture in (True, False) if any(not form.picture for form in forms) else (True,):
        told = [r for r in people if safe(r.situation) and safe(r.quote)]
        chosen = [r for r in told if not picture or (r.image and box_of(r) is not None)]
        name = f"situation/{'image+' * picture}quote"
        tasks.dropped[f"{name}: no situation, no quote or no picture"] += len(people) - len(chosen)
        tasks.by_name[name] = Made(chosen, partial(_situation, root=root, picture=picture))
    if targets is not None:
        faces = Faces(people, targets)
        for form in forms:
            chosen = [r for r in people if usable(r, form) and faces.of(r, form.perspective) is not None]
            tasks.dropped[f"expression/{form.name}: no text, no reaction or no face"] += len(people) - len(chosen)
            make = partial(_expression, root=root, form=form, faces=faces, style=style)
            tasks.by_name[f"expression/{form.name}"] = Made(chosen, make, targets)
    tasks.by_name = {name: made for name, made in tasks.by_name.items() if len(made)}
    tasks.dropped = +tasks.dropped
    return tasks


class Faces:
    """The face to learn for each side of a record.

    The listener is not in the picture: without a target of their own (``<id>/listener``) they lend the face of another
    record with their emotion, always the same one, so that the mean over many is the emotion's own.
    """

    def __init__(self, people: Sequence[Record], targets: FaceTargets) -> None:
        self._targets = targets
        self._by_word: dict[str, list[str]] = {}
        for record in people:
            if targets.get(record.id) is not None:
                self._by_word.setdefault(word_of(record.labels[0]), []).append(record.id)

    def of(self, record: Record, perspective: Perspective) -> FaceTarget | None:
        """The face of a side, or None if nobody has one for it."""
        if perspective == "speaker":
            return self._targets.get(record.id)
        own = self._targets.get(record.id + LISTENER)
        if own is not None or not record.reaction:
            return own
        lenders = self._by_word.get(word_of(record.reaction), ())
        return self._targets.get(lenders[zlib.crc32(record.id.encode()) % len(lenders)]) if lenders else None


def texts_of(record: Record, form: Condition) -> tuple[str, str]:
    """(quote, situation) of a form; a listener's situation is described from their side if somebody wrote that down."""
    situation = record.situation
    if form.perspective == "listener":
        situation = record.listener_situation or situation
    return form.texts(record.quote, situation)


def label_of_side(record: Record, perspective: Perspective) -> str:
    """The label of a side, or empty."""
    if perspective == "listener":
        return record.reaction
    return record.labels[0] if len(record.labels) == 1 else ""


def usable(record: Record, form: Condition) -> bool:
    """Whether a record has what a form needs: its texts, its picture with a box, and that side's emotion."""
    quote, situation = texts_of(record, form)
    said = form.words not in ("quote", "both") or bool(safe(quote))
    told = form.words not in ("situation", "both") or bool(safe(situation))
    seen = not form.picture or (bool(record.image) and box_of(record) is not None)
    return said and told and seen and bool(label_of_side(record, form.perspective))


def box_of(record: Record) -> Box | None:
    """The box that marks the person: the body's, else the face's; None if neither has an area."""
    boxes = (box for box in (record.bbox_body, record.bbox_face) if box is not None)
    return next((box for box in boxes if box.area > 0 and math.isfinite(box.x + box.y + box.area)), None)


def boxed(records: Sequence[Record], dropped: Counter[str]) -> list[Record]:
    """Records without the pictures that show no person in a box; how many is counted.

    Raises:
        UserError: there are pictures and none has a box.
    """
    pictured = [r for r in records if r.image]
    bare = [r for r in pictured if box_of(r) is None]
    if pictured and len(bare) == len(pictured):
        raise UserError(
            f"records: none of {len(bare)} pictures has a box, and the questions are about the person in the red box; "
            "find them: emo-face data boxes --records FILE --images DIR --to FILE"
        )
    dropped["no person in a box"] += len(bare)
    return [r for r in records if not r.image or box_of(r) is not None]


def there(records: Sequence[Record], root: Path, dropped: Counter[str]) -> list[Record]:
    """Records without those whose picture is not below ``root``; how many is counted.

    Raises:
        UserError: there are pictures and none is.
    """
    gone = {r.image for r in records if r.image and not (root / r.image).is_file()}
    found = [r for r in records if r.image not in gone]
    dropped["picture is missing"] += len(records) - len(found)
    if gone and not any(r.image for r in found):
        raise UserError(
            f"records: none of {len(gone)} pictures is below {root}, for example {min(gone)}: another folder?"
        )
    return found


def labelled(records: Sequence[Record], dropped: Counter[str]) -> list[Record]:
    """Records with one label of the seven; the others are counted."""
    found = []
    for record in records:
        if len(record.labels) != 1:
            dropped["not one label"] += 1
            continue
        try:
            word_of(record.labels[0])
        except ValueError:
            dropped["label is none of the seven"] += 1
            continue
        found.append(record)
    return found


def _same_ids(records: Sequence[Record], targets: FaceTargets) -> None:
    if not records or any(targets.get(record.id) for record in records):
        return
    theirs, mine = targets.ids[0], records[0].id
    if theirs.partition("/")[0] != mine.partition("/")[0]:
        raise UserError(
            f"targets: none of {len(records)} records has a face; their ids are like {mine!r}, not {theirs!r}. "
            "Make targets and training from one records file: emo-face data convert, then emo-face data targets"
        )


def _situation(record: Record, root: Path, picture: bool) -> Example:
    label = word_of(record.labels[0])
    turn = Turn(situation_question(record.quote, picture), situation_answer(record.situation, label))
    image = root / record.image if picture else None
    name = f"{record.id}/ask" if picture else f"{record.id}/ask/quote"
    return Example(name, "situation", (turn,), image, box_of(record) if picture else None, label)


def _expression(record: Record, root: Path, form: Condition, faces: Faces, style: Style) -> Example:
    quote, situation = texts_of(record, form)
    label = word_of(label_of_side(record, form.perspective))
    answer = expression_answer(form.source, label, style)
    image, box = (root / record.image, box_of(record)) if form.picture else (None, None)
    turn, face = Turn(form.question(quote, situation, style), answer), faces.of(record, form.perspective)
    name, group = f"{record.id}/{form.name}", record.group_id
    return Example(name, "expression", (turn,), image, box, label, face, form.name, group)
