"""A world of made-up contexts: the emotion and intensity that words carry fix the face, plus noise.

It proves mechanism only.
Every emotion has events; an adverb tells how strong it is. A face is the emotion's own direction, times the intensity,
plus a turn that depends on the event, plus noise: knowing the emotion is not enough, reading the words is.

Data are as uneven as real ones. Half of the events (``plain``) are common knowledge and come in every form. The others
(``rare``) are seldom where faces were measured, and with descriptions only; what people say about them comes in the
situation data alone. To read an emotion from such words and show it, both tasks' data help.
"""

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

STRENGTHS = {"hardly": 0.2, "rather": 1.0, "utterly": 2.2}
GROUPS = ("plain", "plain", "plain", "rare", "rare", "rare")
"""Of the events of each emotion, by their place in :data:`EVENTS`."""
EVENTS = {
    "Angry": (
        "somebody scratched my car",
        "the neighbour broke the fence",
        "they lied to us",
        "he stole the bike",
        "she read my diary",
        "my boss shouted again",
    ),
    "Sad": (
        "the old dog died",
        "my friend moved away",
        "the letter never came",
        "we lost the house",
        "grandma fell ill",
        "nobody remembered my birthday",
    ),
    "Surprise": (
        "a parrot flew into the kitchen",
        "an unknown aunt rang the bell",
        "the wall was painted pink",
        "ten guests stood outside",
        "it snowed in July",
        "a coin lay inside the egg",
    ),
    "Neutral": (
        "the bus came on time",
        "I put the cups on the shelf",
        "she closed the window",
        "the shop opens at nine",
        "we parked behind the school",
        "the train leaves from platform two",
    ),
    "Fear": (
        "steps came up the dark stairs",
        "the brakes failed on the hill",
        "a wolf howled near the tent",
        "the lift stopped and fell",
        "someone followed me home",
        "smoke crept under the door",
    ),
    "Happy": (
        "we won the match",
        "the baby smiled at me",
        "the sun came out again",
        "I got the job",
        "our cousins are visiting",
        "the cake turned out well",
    ),
    "Disgust": (
        "the soup smelled of feet",
        "there was mould on the bread",
        "a rat sat in the sink",
        "the milk had turned sour",
        "worms crawled over the meat",
        "hair clogged the drain",
    ),
}
UNCLEAR = {
    "the phone rang at midnight": ("Fear", "Surprise"),
    "the lights went out": ("Surprise", "Fear"),
    "he spat on the floor": ("Angry", "Disgust"),
    "the cook sneezed into the pot": ("Disgust", "Angry"),
    "we hugged at the school gate": ("Happy", "Sad"),
    "the old film ended": ("Sad", "Happy"),
}
"""Events that two emotions share: nobody can tell from the words. They come in every form."""
ODDS = 0.7
"""Share of an unclear event's moments that have its first emotion. Pairs mirror each other, so that always taking the
likelier emotion gives each as often as it occurs."""
_NOISE = 0.05


@dataclass(frozen=True)
class Sample:
    """One moment of the world: what happened, what was said, and the face. ``group``: of :data:`GROUPS`, or unclear."""

    id: str
    word: str
    situation: str
    quote: str
    face: FloatArray
    group: str = "plain"


def make(
    count: int, seed: int, noise: float = _NOISE, world: int = 0, unclear: float = 0.0, rare: float = 0.5
) -> list[Sample]:
    """``count`` samples; ``world`` fixes how emotions look, ``seed`` which moments are drawn.

    ``unclear``: share of moments whose event is of :data:`UNCLEAR`; there the face of least error is a mean of two.
    ``rare``: share of rare events among the others.
    """
    look = np.random.default_rng([world, 99])
    bases = {word: look.normal(0, 0.5, 100) for word in words()}
    turns = {event: look.normal(0, 0.1, 100) for events in (*EVENTS.values(), UNCLEAR) for event in events}
    rng = np.random.default_rng([world, seed])
    samples = []
    for number in range(count):
        word = words()[number % len(words())]
        group = "rare" if rng.random() < rare else "plain"
        choice = [event for event, of in zip(EVENTS[word], GROUPS, strict=True) if of == group]
        event = choice[int(rng.integers(len(choice)))]
        if unclear and rng.random() < unclear:
            event, group = tuple(UNCLEAR)[int(rng.integers(len(UNCLEAR)))], "unclear"
            word = UNCLEAR[event][int(rng.random() > ODDS)]
        strength = tuple(STRENGTHS)[int(rng.integers(3))]
        face = STRENGTHS[strength] * (bases[word] + turns[event]) + rng.normal(0, noise, 100)
        situation = f"It was {strength} much when {event}."
        quote = f"Oh, {event}, {strength} so!"
        samples.append(Sample(f"c{seed:02d}-{number:05d}", word, situation, quote, face, group))
    return samples


def tasks(samples: Sequence[Sample]) -> dict[str, list[Example]]:
    """The three tasks of the paper over these samples; questions about counts stand for VQA.

    Situation Generation asks about quotes; Expression Generation about descriptions and, where an event is not rare,
    as often about quotes.
    """
    result: dict[str, list[Example]] = {"situation": [], "expression": [], "vqa": []}
    for number, s in enumerate(samples):
        label = label_of(s.word)
        turn = Turn(situation_question(s.quote, image=False), situation_answer(s.situation, label))
        result["situation"].append(Example(s.id, "situation", (turn,), label=label))
        from_quote = s.group != "rare" and number // len(words()) % 2
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
    return (
        *lines,
        "How many are 1 and 2 cups? There are 3 cups.",
        *(f" {word}" for word in words()),
        "USER: Therefore, quote, situation ASSISTANT:",
    )
