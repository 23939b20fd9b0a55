"""Quality control of made-up contexts: do they give the label away, do they talk about the picture, are they short?"""

import re
from collections.abc import Iterable
from functools import cache

from emo_face.datasets.annotate.schema import Context, Listening, table
from emo_face.expression.contextface.prompts import word_of, words

LEAKS = ("label_word", "synonym")
FLAGS = (*LEAKS, "other_label", "task_word", "too_long", "same_text")
"""Of a context; a listener's situation has all but ``same_text`` (with its own reaction as the label)."""


@cache
def _pattern(terms: tuple[str, ...]) -> re.Pattern[str]:
    parts = (re.escape(term).replace(r"\*", r"\w*") for term in terms)
    return re.compile(rf"\b(?:{'|'.join(parts)})\b", re.IGNORECASE)


def _found(text: str, terms: Iterable[str]) -> list[str]:
    return _pattern(tuple(terms)).findall(text)


def leaks(text: str, label: str) -> dict[str, list[str]]:
    """Words of ``text`` that are the label (``label_word``) or mean it (``synonym``); only kinds that occur.

    ``label``: any spelling that :func:`word_of` knows.
    """
    word, lists = word_of(label), table()["quality"]
    found = {"label_word": _found(text, lists["label"][word]), "synonym": _found(text, lists["synonyms"][word])}
    return {kind: hits for kind, hits in found.items() if hits}


def masked(text: str, blank: str = "…") -> str:
    """``text`` without any word of any label or its synonyms: what a label-masked evaluation reads."""
    lists = table()["quality"]
    terms = [term for word in words() for kind in ("label", "synonyms") for term in lists[kind][word]]
    return _pattern(tuple(terms)).sub(blank, text)


def named_labels(text: str) -> set[str]:
    """Words of the labels that a text names, by themselves or a synonym: the cheapest reader there is."""
    return {word for word in words() if leaks(text, word)}


def flags(context: Context, label: str) -> dict[str, list[str]]:
    """Flag -> what caused it; empty for a clean context. Flags: :data:`FLAGS`."""
    found = _flags((context.situation, context.quote), label)
    if context.situation.casefold().strip(" .!?") == context.quote.casefold().strip(" .!?"):
        found["same_text"] = [context.quote]
    return found


def listener_flags(listening: Listening) -> dict[str, list[str]]:
    """As :func:`flags`, of a listener's situation, whose label is the reaction."""
    return _flags((listening.situation,), listening.reaction)


def _flags(texts: tuple[str, ...], label: str) -> dict[str, list[str]]:
    whole, limits = " ".join(texts), table()["quality"]
    found = leaks(whole, label)
    others = [w for w in words() if w != word_of(label) and _found(whole, limits["label"][w])]
    if others:
        found["other_label"] = others
    if said := _found(whole, limits["task"]):
        found["task_word"] = said
    for text in texts:
        sentences = len(re.findall(r"[.!?…]+(?=\s|$|[\"”’'])", text)) or 1
        if len(text) > limits["max_characters"] or sentences > limits["max_sentences"]:
            found.setdefault("too_long", []).append(f"{len(text)} characters, {sentences} sentences")
    return found
