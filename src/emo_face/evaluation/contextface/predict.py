"""What a ContextFace says about records under several conditions, kept in a file so that it is computed once."""

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import BoolArray, FloatArray, ImageArray, IntArray
from emo_face.datasets.annotate.quality import masked
from emo_face.datasets.contexts.tasks import box_of, label_of_side, texts_of
from emo_face.datasets.contexts.tasks import usable as fits
from emo_face.datasets.records import Record, read_image
from emo_face.evaluation.contextface.situations import Told
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.conditions import CONDITIONS as FORMS
from emo_face.expression.contextface.conditions import SERVED, Condition
from emo_face.expression.contextface.picture import GREY
from emo_face.runtime.files import replacing

FORMAT = "emo-face-contextface-predictions-2"
MASKED, HIDDEN = " masked", " face hidden"
PARTS = ("probabilities", "form", "map", "mean", "told")
"""Arrays of :class:`ConditionPredictions`."""
TOGETHER = 8
"""Records that are asked in one pass."""
FLAT = 1e-9
"""Probabilities that differ by less are equal."""


class Asked(NamedTuple):
    """A condition: the form of the question; emotion words blanked; the face painted over (the paper's figure 8)."""

    form: Condition
    masked: bool = False
    hidden: bool = False


CONDITIONS: dict[str, Asked] = {
    **{c.name: Asked(c) for c in (SERVED, *FORMS.values())},
    **{name + MASKED: Asked(FORMS[name], masked=True) for name in ("situation", "quote")},
    **{name + HIDDEN: Asked(FORMS[name], hidden=True) for name in ("image+quote", "image")},
}
"""Conditions by name; what the robot asks by default comes first."""


@dataclass
class Spoken:
    """Free-form answers to the expression question: emotion index or -1, and whether ``<FACE>`` was emitted."""

    guess: IntArray
    emitted: BoolArray


@dataclass
class ConditionPredictions:
    """Answers for n records under one condition.

    Attributes:
        ids: records. probabilities: (n, 7) in the order of :func:`prompts.words`. form: (n,) probability that the
            model answers in the expected form at all. map, mean: (n, 100) faces. told: (n, 100) faces that it gives if
            it is told the right emotion. spoken: of the first of them, or None.
    """

    ids: tuple[str, ...]
    probabilities: FloatArray
    form: FloatArray
    map: FloatArray
    mean: FloatArray
    told: FloatArray
    spoken: Spoken | None = None

    @property
    def guess(self) -> IntArray:
        """(n,) index of the most likely emotion; -1 for a flat answer, which says nothing."""
        flat = np.ptp(self.probabilities, axis=1) < FLAT
        return np.where(flat, -1, self.probabilities.argmax(1)).astype(np.int64)


@dataclass
class Run:
    """All conditions of one model, and which it was.

    Attributes:
        told: who (``This run`` or a baseline) -> form -> what they wrote when they were asked for situations.
    """

    conditions: dict[str, ConditionPredictions] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    told: dict[str, dict[str, Told]] = field(default_factory=dict)


def usable(records: Sequence[Record], condition: str) -> list[Record]:
    """Records that have what a condition needs."""
    form, blank, _ = CONDITIONS[condition]
    return [r for r in records if fits(r, form) and (not blank or any(map(prompts.safe, _texts(r, form, True))))]


def predict(
    engine: Any,
    records: Sequence[Record],
    root: Path,
    condition: str,
    speak: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> ConditionPredictions:
    """Ask ``engine`` (:class:`emo_face.expression.contextface.engine.Engine`) about each record.

    Args:
        speak: also let it answer the first so many freely.

    Raises:
        UserError: a picture is missing, or no record has the texts of the condition.
    """
    form, blank, covered = CONDITIONS[condition]
    people = usable(records, condition)
    if not people:
        raise UserError(f"condition {condition}: no record has its texts, its picture with a box and its emotion")
    answers, spoken = [], []
    for start in range(0, len(people), TOGETHER):
        questions = []
        for record in people[start : start + TOGETHER]:
            image, box = (read_image(root, record.image), box_of(record)) if form.picture else (None, None)
            image = hidden(image, record) if covered and image is not None else image
            questions.append((*_texts(record, form, blank), image, box))
        answers += engine.answers(questions, form.perspective)
        for quote, situation, image, box in questions[: max(0, speak - start)]:
            picture = engine.eyes.fitted(image, box) if image is not None else None
            spoken.append(_speak(engine, form.question(quote, situation, engine.model.config.style), picture))
        for _ in questions:
            tick()
    expression = engine.model.config.slices()["expression"]

    def of(record: Record) -> int:
        return prompts.words().index(prompts.word_of(label_of_side(record, form.perspective)))

    heard = None
    if spoken:
        guess, emitted = zip(*spoken, strict=True)
        heard = Spoken(np.array(guess, np.int64), np.array(emitted, bool))
    return ConditionPredictions(
        tuple(record.id for record in people),
        np.stack([a.probabilities for a in answers]),
        np.array([a.emission for a in answers]),
        np.stack([a.face("map")[expression] for a in answers]),
        np.stack([a.face("mean")[expression] for a in answers]),
        np.stack([a.faces[of(record)][expression] for a, record in zip(answers, people, strict=True)]),
        heard,
    )


def _texts(record: Record, form: Condition, blank: bool) -> tuple[str, str]:
    """(quote, situation) of a record under a form."""
    quote, situation = texts_of(record, form)
    return (masked(quote), masked(situation)) if blank else (quote, situation)


def hidden(image: ImageArray, record: Record) -> ImageArray:
    """The picture with the person's face painted over: its box with a margin, else the upper half of the body's."""
    box = record.bbox_face or record.bbox_body
    if box is None:
        return image
    height = box.height if record.bbox_face else box.height / 2
    x, y = 0.15 * box.width, 0.15 * height if record.bbox_face else 0.0
    rows = slice(max(0, round(box.y - y)), max(0, round(box.y + height + y)))
    columns = slice(max(0, round(box.x - x)), max(0, round(box.right + x)))
    covered = image.copy()
    covered[rows, columns] = GREY
    return covered


def _speak(engine: Any, question: prompts.Pieces, picture: Any) -> tuple[int, bool]:
    """Index of the emotion in a free answer or -1, and whether ``<FACE>`` is in it."""
    from emo_face.expression.contextface import talk

    answer = "".join(talk.stream(engine.model, engine.builder, engine.eyes, question, picture))
    word = prompts.parse_emotion(answer)
    return (-1 if word is None else prompts.words().index(word)), prompts.FACE in answer


def save(path: Path, run: Run) -> None:
    """Write a run as ``.npz`` without pickles."""
    arrays: dict[str, Any] = {}
    names = {name: f"c{number}" for number, name in enumerate(run.conditions)}
    for name, short in names.items():
        found = run.conditions[name]
        arrays |= {f"{short}_{part}": getattr(found, part) for part in PARTS}
        arrays[f"{short}_ids"] = np.array(found.ids, np.str_)
        if found.spoken is not None:
            arrays |= {f"{short}_guess": found.spoken.guess, f"{short}_emitted": found.spoken.emitted}
    told = {who: {form: asdict(said) for form, said in forms.items()} for who, forms in run.told.items()}
    head = {"format": FORMAT, "model": run.model, "conditions": names, "told": told, "words": list(prompts.words())}
    with replacing(path) as scratch, scratch.open("wb") as out:
        np.savez_compressed(out, meta=np.array(json.dumps(head)), **arrays)


def load(path: Path) -> Run:
    """Read a run. Raises UserError if the file is missing, of another format, or of other emotion words."""
    try:
        with np.load(path, allow_pickle=False) as data:
            head = json.loads(str(data["meta"]))
            if head.get("format") != FORMAT or head.get("words") != list(prompts.words()):
                raise UserError(f"{path}: not predictions of this version; make them again with --save-predictions")
            run = Run(model=dict(head["model"]))
            for who, forms in head.get("told", {}).items():
                run.told[who] = {form: Told(**{k: tuple(v) for k, v in said.items()}) for form, said in forms.items()}
            for name, short in head["conditions"].items():
                heard = None
                if f"{short}_guess" in data.files:
                    heard = Spoken(data[f"{short}_guess"], data[f"{short}_emitted"])
                parts = {part: data[f"{short}_{part}"] for part in PARTS}
                run.conditions[name] = ConditionPredictions(
                    tuple(map(str, data[f"{short}_ids"])), **parts, spoken=heard
                )
            return run
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: no predictions file; make one with --save-predictions") from error
