"""A world of made-up contexts: the emotion and intensity that words carry fix the face, plus noise.

It proves mechanism only.
Every emotion has events and sayings; an adverb tells how strong it is. A face is the emotion's own direction, times the
intensity, plus a turn that depends on the event, plus noise: knowing the emotion is not enough, reading the words is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emo_face.core.types import FloatArray
from emo_face.expression.contextface.prompts import (
    Example,
    FaceTarget,
    Turn,
    expression_answer,
    expression_question,
    label_of,
    situation_answer,
    situation_question,
    vqa_answer,
    vqa_question,
    words,
)

STRENGTHS = {"hardly": 0.4, "rather": 1.0, "utterly": 1.8}
EVENTS = {
    "Angry": ("the neighbour broke the fence", "somebody scratched my car"),
    "Sad": ("the old dog died", "my friend moved away"),
    "Surprise": ("a parrot flew into the kitchen", "an unknown aunt rang the bell"),
    "Neutral": ("the bus came on time", "I put the cups on the shelf"),
    "Fear": ("steps came up the dark stairs", "the brakes failed on the hill"),
    "Happy": ("we won the match", "the baby smiled at me"),
    "Disgust": ("the soup smelled of feet", "there was mould on the bread"),
}
UNCLEAR = {
    "the phone rang at midnight": ("Fear", "Surprise"),
    "he spat on the floor": ("Angry", "Disgust"),
    "we hugged at the school gate": ("Happy", "Sad"),
}
"""Events that two emotions share, half of the time each: nobody can tell from the words."""
_NOISE = 0.05


@dataclass(frozen=True)
class Sample:
    """One moment of the world: what happened, what was said, and the face."""

    id: str
    word: str
    situation: str
    quote: str
    face: FloatArray


def make(count: int, seed: int, noise: float = _NOISE, world: int = 0, unclear: float = 0.0) -> list[Sample]:
    """``count`` samples; ``world`` fixes how emotions look, ``seed`` which moments are drawn.

    ``unclear``: share of moments whose event is of :data:`UNCLEAR`; there the face of least error is a mean of two.
    """
    look = np.random.default_rng([world, 99])
    bases = {word: look.normal(0, 0.5, 100) for word in words()}
    turns = {event: look.normal(0, 0.2, 100) for events in EVENTS.values() for event in events}
    turns |= {event: look.normal(0, 0.2, 100) for event in UNCLEAR}
    rng = np.random.default_rng([world, seed])
    samples = []
    for number in range(count):
        word = words()[number % len(words())]
        event = EVENTS[word][int(rng.integers(2))]
        if unclear and rng.random() < unclear:
            event = tuple(UNCLEAR)[int(rng.integers(len(UNCLEAR)))]
            word = UNCLEAR[event][int(rng.integers(2))]
        strength = tuple(STRENGTHS)[int(rng.integers(3))]
        face = STRENGTHS[strength] * (bases[word] + turns[event]) + rng.normal(0, noise, 100)
        situation = f"It was {strength} much when {event}."
        samples.append(Sample(f"c{seed:02d}-{number:05d}", word, situation, f"Oh, {event}, {strength} so!", face))
    return samples


def tasks(samples: Sequence[Sample]) -> dict[str, list[Example]]:
    """The three tasks of the paper over these samples; questions about counts stand for VQA."""
    result: dict[str, list[Example]] = {"situation": [], "expression": [], "vqa": []}
    for number, s in enumerate(samples):
        label = label_of(s.word)
        turn = Turn(situation_question(s.quote, image=False), situation_answer(s.situation, label))
        result["situation"].append(Example(s.id, "situation", (turn,), label=label))
        from_quote = number // len(words()) % 2
        question = expression_question(quote=s.quote) if from_quote else expression_question(situation=s.situation)
        answer = expression_answer("quote" if from_quote else "situation", label)
        target = FaceTarget(s.face)
        result["expression"].append(Example(s.id, "expression", (Turn(question, answer),), label=label, target=target))
        a, b = number % 4, number // 4 % 4
        sum_ = Turn(
            vqa_question(f"How many are {a} and {b} cups?", image=False), vqa_answer(f"There are {a + b} cups.")
        )
        result["vqa"].append(Example(s.id, "vqa", (sum_,)))
    return result


def texts(unclear: bool = False) -> tuple[str, ...]:
    """All words of the world, for a tokenizer; ``unclear``: also those of :data:`UNCLEAR`."""
    lines = [
        f"It was {how} much when {event}. Oh, {event}, {how} so!"
        for how in STRENGTHS
        for es in (*EVENTS.values(), tuple(UNCLEAR) if unclear else ())
        for event in es
    ]
    return (*lines, "How many are 1 and 2 cups? There are 3 cups.", *(f" {word}" for word in words()))
