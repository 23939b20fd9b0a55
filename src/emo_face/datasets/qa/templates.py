"""Prompts of the multi-view paper (listings 1-6, appendix A.2) as functions; text in ``data/qa_prompts.yaml``."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from emo_face.core.labels import label_set
from emo_face.core.paths import data_table


def prompts() -> dict[str, Any]:
    """The whole prompt file."""
    return data_table("qa_prompts.yaml")


def options_of(set_name: str, minor_only: bool = False) -> tuple[str, ...]:
    """Candidate answers in the order of the prompt: rarest first if the paper prints it, else the set's order."""
    entry = prompts()["balance"].get(set_name)
    if entry is None:
        if minor_only:
            raise ValueError(f"label set {set_name!r} has no minor labels: its classes are balanced")
        return label_set(set_name).labels
    return tuple(entry["minor" if minor_only else "options"])


def classification_question(options: Sequence[str], caption: str = "", multi: bool = True) -> str:
    """Ask for labels out of ``options``; with a caption, the caption-guided form (A.2.1, A.2.3, A.3)."""
    if not options:
        raise ValueError("options: expected at least one label")
    text = prompts()["classification"]
    name = ("multi" if multi else "single") + ("_with_description" if caption else "")
    question = str(text[name]).format(options=", ".join(options))
    return f"{text['description'].format(caption=caption)}\n{question}" if caption else question


def instruction(name: str) -> str:
    """The question that a corpus of label set ``name`` asks about labels; frozen features are taken with it too."""
    return classification_question(options_of(name), multi=label_set(name).multi)


def classification_answer(labels: Sequence[str], options: Sequence[str]) -> str:
    """The labels that are among ``options``, in their order. Raises ValueError if none is."""
    chosen = [option for option in options if option in set(labels)]
    if not chosen:
        raise ValueError(f"none of the labels {list(labels)} is among the options {list(options)}")
    return ", ".join(chosen)


def parse_answer(text: str, set_name: str) -> tuple[str, ...] | None:
    """Labels named in a generated answer, in the set's order; None if it names none (count these as wrong)."""
    found = text.lower()
    names = label_set(set_name).labels
    # Longest first, and each hit is removed, so that "Disquietment" is not also read as a shorter label.
    chosen = set()
    for name in sorted(names, key=len, reverse=True):
        if name.lower() in found:
            chosen.add(name)
            found = found.replace(name.lower(), " ")
    return tuple(name for name in names if name in chosen) or None


def annotation_prompt(task: str) -> str:
    """What an annotator model is asked about the boxed person: ``caption`` (ours, in Osprey's place), ``pose``
    (listing 1), ``situation`` (listing 3: background and situation)."""
    return str(prompts()[task]["generate"])


def rationale_question(labels: Sequence[str]) -> str:
    """The fixed question of listing 5 for the candidate ``labels``."""
    return str(prompts()["rationale"]["question"]).format(labels=", ".join(labels))


def rationale_prompt(labels: Sequence[str], ground_truth: Sequence[str]) -> str:
    """Listing 5 with both slots filled (the paper prints a broken template). Raises ValueError for an empty slot."""
    if not labels or not ground_truth:
        raise ValueError("labels and ground_truth: expected at least one label each")
    text = str(prompts()["rationale"]["generate"])
    return text.format(question=rationale_question(labels), ground_truth=", ".join(ground_truth))


def ask(task: str, rng: np.random.Generator) -> str:
    """One question of the pool of ``task``: pose (listing 2), situation (4) or rationale (6)."""
    pool: list[str] = prompts()[task]["ask"]
    return pool[int(rng.integers(len(pool)))]
