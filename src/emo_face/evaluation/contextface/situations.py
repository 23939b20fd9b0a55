"""Situation Generation as the paper's table 1 measures it: a model writes freely, and the emotion that it names counts.

The trained model is asked through its own engine, any untuned image-text model by the same words through a provider of
``emo-face annotate`` (a folder or a chat endpoint), whose answers are on the disk before they are used.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import IntArray
from emo_face.datasets.annotate.cache import ReplyCache
from emo_face.datasets.annotate.collect import Collector, Job, Settings
from emo_face.datasets.annotate.http import HttpProvider
from emo_face.datasets.annotate.local import LocalProvider
from emo_face.datasets.annotate.prompts import about_picture
from emo_face.datasets.annotate.provider import Provider, Reply, Request
from emo_face.datasets.contexts.tasks import box_of, usable
from emo_face.datasets.records import Record, read_image, to_row
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.conditions import CONDITIONS
from emo_face.runtime.store import digest

FORMS = ("image+situation", "image+quote")
"""Inputs of the upper and the lower half of tables 1 (paper) and 4 (supplement); the second is a training task."""
OF_SITUATION = (
    "<image>\n{situation} Think about the person in the red box - what emotion would they be feeling? "
    "Choose from: {options}."
)
"""Ours: the paper prints no question about a picture and a situation."""
OURS = "This run"
"""Who told, where it is the model that is evaluated."""
LONGEST = 128
"""Tokens of an answer."""
LOST = ("unusable", "unreachable", "not cached", "not asked")
"""Outcomes without any answer; a refusal or an answer of a wrong form is one, and wrong."""


@dataclass(frozen=True)
class Told:
    """What a model wrote about records. ``guess``: (n,) index of the emotion in :func:`prompts.words`, -1 for none."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def guess(self) -> IntArray:
        found = (prompts.parse_emotion(text) for text in self.texts)
        return np.array([-1 if word is None else prompts.words().index(word) for word in found], np.int64)


def question(record: Record, form: str) -> prompts.Pieces:
    """What is asked about a record. ``form``: of :data:`FORMS`."""
    if form == "image+quote":
        return prompts.situation_question(record.quote)
    options = (prompts.Piece("text", ", ".join(prompts.words())),)
    return prompts.fill(OF_SITUATION, situation=record.situation, options=options)


def asked(records: Sequence[Record], form: str) -> list[Record]:
    """Records that have what a form needs. Raises UserError for an unknown form."""
    if form not in FORMS:
        raise UserError(f"--situations: {form!r}, expected some of {', '.join(FORMS)}")
    return [record for record in records if usable(record, CONDITIONS[form])]


def by_engine(
    engine: Any,
    records: Sequence[Record],
    root: Path,
    form: str,
    tick: Callable[[], None] = lambda: None,
    cache: Path | None = None,
) -> Told:
    """What a trained ContextFace writes, greedily; answers kept in ``cache``, if it is given, are not written anew.

    Raises:
        UserError: a missing picture.
    """
    from emo_face.expression.contextface import talk

    def tell(record: Record, kept: ReplyCache | None) -> str:
        pixels = read_image(root, record.image)
        key = digest([json.dumps([sorted(engine.hashes.items()), form, to_row(record)]), pixels.tobytes()])
        said = None if kept is None else kept.get(key)
        if said is None:
            picture = engine.eyes.fitted(pixels, box_of(record))
            pieces = talk.stream(engine.model, engine.builder, engine.eyes, question(record, form), picture, LONGEST)
            said = Reply("".join(pieces))
            if kept is not None:
                kept.put(key, said)
        tick()
        return said.text

    with ReplyCache(cache) if cache else nullcontext() as kept:
        texts = [tell(record, kept) for record in asked(records, form)]
    return Told(tuple(record.id for record in asked(records, form)), tuple(texts))


@dataclass(frozen=True)
class Baseline:
    """An untuned model. ``address``: of a chat endpoint, or empty; ``model``: its name there, or a folder."""

    name: str
    address: str
    model: str

    def provider(self, device: str, key: str) -> Provider:
        """Who answers for it; a folder's model is loaded now. Raises UserError if it cannot be."""
        return HttpProvider(self.address, key) if self.address else LocalProvider(Path(self.model), device)


def baseline(value: str) -> Baseline:
    """``NAME=DIR`` or ``NAME=https://host/v1#MODEL``. Raises UserError for another form or a folder without a model."""
    name, _, where = value.partition("=")
    if not (name and where) or name == OURS:
        raise UserError(f"--baseline: expected NAME=DIR or NAME=https://host/v1#MODEL, got {value!r}")
    if not where.startswith(("http://", "https://")):
        if not (Path(where) / "config.json").is_file():
            raise UserError(f"--baseline {value}: no config.json in {where}; expected a saved image-text model")
        return Baseline(name, "", where)
    address, _, model = where.partition("#")
    if not model:
        raise UserError(f"--baseline {value}: expected the model's name at the endpoint behind a #")
    return Baseline(name, address, model)


def by_baseline(
    other: Baseline,
    device: str,
    key: str,
    cache: Path,
    records: Sequence[Record],
    root: Path,
    form: str,
    tick: Callable[[], None] = lambda: None,
) -> Told:
    """What an untuned model writes, by the same words and the same picture, without sampling.

    Raises:
        UserError: a question got no answer at all; the others are kept in ``cache`` and not asked again.
    """
    provider = other.provider(device, key)
    people = asked(records, form)
    with ReplyCache(cache) as answers:
        collector = Collector[str](provider, answers, Settings(tries=1), lambda outcome: tick())
        outcomes = collector.run([_job(record, root, form, other.model) for record in people])
    if lost := [outcome for outcome in outcomes if outcome.status in LOST]:
        first = f"the first {lost[0].id}: {lost[0].detail}"
        raise UserError(f"{provider.name}: {len(lost)} questions without an answer, {first}")
    return Told(tuple(r.id for r in people), tuple(o.reply.text if o.reply else "" for o in outcomes))


def _job(record: Record, root: Path, form: str, model: str) -> Job[str]:
    words = "".join(piece.text for piece in question(record, form) if piece.kind != "image")

    def ask(attempt: int) -> Request:
        request = Request(model, "", words.strip(), max_tokens=LONGEST, temperature=0.0, attempt=attempt)
        return about_picture(record, root, request)

    return Job(f"{record.id}/{form}", ask, str)
