"""Synthetic moments of everyday life from a grammar: what happened, what was said about it, and who hears it.

The emotion follows from how an event is appraised, and a listener's reaction from their part in it, by the rules in
``data/context_grammar.yaml`` (CC0). Nobody felt any of it: such moments teach a form and plain cases, and what is
measured on them says nothing about people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.paths import data_table
from emo_face.datasets.records import Record
from emo_face.expression.contextface.prompts import LABEL_SET

SOURCE = "synthetic-appraisal-1"
PATIENCE = 1000
"""Moments in a row that were there already, after which the grammar has no more."""
HELD = {"val": -2, "test": -1}
"""Of the events of each emotion, the last is for tests and the one before for validation: no event is in two splits."""


@dataclass(frozen=True)
class Event:
    """Something that happens. ``label``: the emotion that its appraisal leads to. ``split``: where it is used."""

    number: int
    appraisal: frozenset[str]
    clause: str
    quotes: tuple[str, ...]
    label: str
    split: str


def grammar() -> Mapping[str, Any]:
    """The packaged grammar."""
    return data_table("context_grammar.yaml")


def label_of(appraisal: frozenset[str], rules: Sequence[Any]) -> str:
    """The emotion of an appraisal: the first rule whose conditions it meets."""
    return next(str(label) for label, needed in rules if appraisal.issuperset(needed))


@cache
def events() -> tuple[Event, ...]:
    """All events with their emotions and splits."""
    table = grammar()
    rows = [(frozenset(a), clause, tuple(quotes)) for a, clause, quotes in table["events"]]
    labels = [label_of(appraisal, table["rules"]) for appraisal, _, _ in rows]
    places: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        places.setdefault(label, []).append(number)
    split = {numbers[at]: name for numbers in places.values() for name, at in HELD.items()}
    return tuple(
        Event(number, *row, label, split.get(number, "train"))
        for number, (row, label) in enumerate(zip(rows, labels, strict=True))
    )


def reaction_of(event: Event, part: str) -> str:
    """What somebody shows who hears of an event and had this part in it."""
    rule = grammar()["parts"][part]
    found = str(rule["reactions"].get(event.label, rule["default"]))
    return event.label if found == "same" else found


def parts_of(event: Event) -> list[str]:
    """The parts that somebody can have in an event."""
    parts: Mapping[str, Any] = grammar()["parts"]
    return [name for name, rule in parts.items() if "only" not in rule or event.appraisal.intersection(rule["only"])]


def moments(count: int, seed: int = 0) -> list[Record]:
    """``count`` different moments, the same for a seed. Emotions come equally often.

    Raises:
        UserError: the grammar does not have so many different ones.
    """
    by_label: dict[str, list[Event]] = {}
    for event in events():
        by_label.setdefault(event.label, []).append(event)
    rng, labels = np.random.default_rng([seed, 1988]), sorted(by_label)
    found: dict[tuple[str, str, str], Record] = {}
    misses = 0
    while len(found) < count:
        if misses > PATIENCE:
            raise UserError(f"contexts: the grammar gives no {count} different moments, {len(found)} were found")
        before = len(found)
        choice = by_label[labels[len(found) % len(labels)]]
        record = _moment(choice[int(rng.integers(len(choice)))], rng, len(found))
        found.setdefault((record.situation, record.quote, record.listener_situation), record)
        misses = 0 if len(found) > before else misses + 1
    return list(found.values())


def _moment(event: Event, rng: np.random.Generator, number: int) -> Record:
    table = grammar()

    def one(choices: Sequence[Any]) -> Any:
        return choices[int(rng.integers(len(choices)))]

    pronoun = one(("she", "he"))
    name = one(table["names"][pronoun])
    other = one([n for names in table["names"].values() for n in names if n != name])
    words = {"she": ("she", "her", "her"), "he": ("he", "his", "him")}[pronoun]
    clause = event.clause.format(they=words[0], their=words[1], them=words[2])
    strength = table["strengths"][one(tuple(table["strengths"]))]
    where = f"{one(table['places'])}, {one(table['times'])}"
    before, said, after = one(strength["before"]), one(event.quotes), one(strength["after"])
    part = one(parts_of(event))
    role = table["parts"][part]["text"].format(name=name)
    quote = before + (said if before and not before.endswith((": ", ". ")) else said[0].upper() + said[1:]) + after
    return Record(
        f"{SOURCE}/{number:05d}",
        "",
        LABEL_SET,
        (event.label,),
        event.split,
        SOURCE,
        group_id=f"{SOURCE}/event{event.number:03d}",
        situation=f"{where}, {name} {strength['tells']} {clause}.",
        quote=quote,
        rationale=f"appraised as {', '.join(sorted(event.appraisal)) or 'of no importance'}",
        listener_situation=f"{where}, {other}, {role}, hears from {name} that {clause}.",
        reaction=reaction_of(event, part),
    )
