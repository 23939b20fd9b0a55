"""A world of made-up moments in which words, pictures and listeners have rules, so that the best possible is known.

It proves mechanism only.

* Words tell what happened and how much it counts. Some events fit two emotions, and then the words cannot tell.
* The picture shows the speaker's face, or their back, at home or in a stadium: the face decides if the words do not.
* A friend feels what the speaker feels, a rival keeps a straight face. Half of the moments say who hears it; friends
  meet at home and rivals in the stadium.
* A face is the emotion's direction times the strength, turned a little by the event, plus noise: who knows the emotion
  and not the words cannot make it.

Data are as uneven as real ones (:data:`GROUPS`): about some events there are few faces, about some no quotes.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emo_face.core.types import FloatArray, ImageArray
from emo_face.datasets.contexts import synthetic_pictures as pictures
from emo_face.datasets.contexts.face_targets import FaceTargets
from emo_face.datasets.contexts.tasks import LISTENER
from emo_face.datasets.records import Record
from emo_face.expression.contextface.conditions import Condition
from emo_face.expression.contextface.prompts import LABEL_SET, label_of, words

STRENGTHS = {"hardly": 0.2, "rather": 1.0, "utterly": 2.2}
GROUPS = ("plain", "plain", "plain", "told", "told", "seen")
"""Of the events of each emotion, by their place in :data:`EVENTS`: ``plain`` ones are common knowledge; of ``told``
ones there are descriptions and quotes, and faces seldom; of ``seen`` ones faces and descriptions, and no quotes."""
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
        "my sister moved away",
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
"""Events that two emotions share: the words cannot tell, the face is then always seen."""
ODDS = 0.7
"""Share of an unclear event's moments that have its first emotion."""
UNCLEAR_SHARE, FRIEND, SAID, FACING = 0.25, 0.6, 0.5, 0.5
"""Shares of moments: with an unclear event, heard by a friend, whose words say by whom, and (if the words are clear)
whose speaker faces the camera."""
LOOKS = {
    "Angry": "the teeth are bared",
    "Sad": "the mouth hangs down",
    "Surprise": "the mouth is round",
    "Neutral": "the mouth is straight",
    "Fear": "the mouth is wide open",
    "Happy": "the mouth smiles",
    "Disgust": "the nose is wrinkled",
    "": "nobody looks here",
}
"""How a face looks, in words that name no emotion: what a model may know of pictures before it is trained."""
PLACES = {"friend": "at home", "rival": "in the stadium"}
_NOISE = 0.05


@dataclass(frozen=True)
class Sample:
    """One moment. ``heard``: friend or rival; ``said``: words tell which; ``look``: the face that is seen, or empty."""

    id: str
    word: str
    event: str
    strength: str
    heard: str
    said: bool
    look: str
    group: str
    face: FloatArray
    reaction_face: FloatArray

    @property
    def reaction(self) -> str:
        """What the one who hears it feels."""
        return reaction_of(self.word, self.heard)

    @property
    def quote(self) -> str:
        """What the speaker says."""
        whom = f"my {self.heard}" if self.said else "you"
        return f"Oh, {self.event}, {self.strength} so, {whom}!"

    @property
    def situation(self) -> str:
        """What happened."""
        who = f"A {self.heard}" if self.said else "Somebody"
        return f"It was {self.strength} much when {self.event}. {who} heard of it."

    @property
    def seen(self) -> str:
        """What the picture shows, in words."""
        return f"In the red box {LOOKS[self.look]}, {PLACES[self.heard]}."


def reaction_of(word: str, heard: str) -> str:
    """A friend shares the emotion, a rival shows none."""
    return word if heard == "friend" else "Neutral"


def make(
    count: int, seed: int, unclear: float = UNCLEAR_SHARE, groups: Sequence[str] = GROUPS, world: int = 0
) -> list[Sample]:
    """``count`` moments. ``world``: how emotions look. ``seed``: what is drawn. ``groups``: of which events."""
    look = np.random.default_rng([world, 99])
    bases = {word: look.normal(0, 0.5, 100) for word in words()}
    turns = {event: look.normal(0, 0.1, 100) for events in (*EVENTS.values(), UNCLEAR) for event in events}
    rng = np.random.default_rng([world, seed])
    samples = []
    for number in range(count):
        word = words()[number % len(words())]
        choice = [pair for pair in zip(EVENTS[word], GROUPS, strict=True) if pair[1] in groups]
        event, group = choice[int(rng.integers(len(choice)))]
        if rng.random() < unclear:
            event, group = tuple(UNCLEAR)[int(rng.integers(len(UNCLEAR)))], "unclear"
            word = UNCLEAR[event][int(rng.random() > ODDS)]
        strength = tuple(STRENGTHS)[int(rng.integers(3))]
        heard = "friend" if rng.random() < FRIEND else "rival"
        said, facing = bool(rng.random() < SAID), group == "unclear" or rng.random() < FACING
        own, other = (
            STRENGTHS[strength] * (bases[w] + turns[event]) + rng.normal(0, _NOISE, 100)
            for w in (word, reaction_of(word, heard))
        )
        name = f"w{seed}-{number:05d}"
        samples.append(Sample(name, word, event, strength, heard, said, word if facing else "", group, own, other))
    return samples


def best(form: Condition, unclear: float = UNCLEAR_SHARE) -> float:
    """The best UAR in percent that anybody asked in ``form`` can reach in expectation: by counting the world out.

    What can be told apart is what the form shows; for each the emotion is chosen with the largest share of its class.
    """
    table: dict[tuple[str, ...], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for chance, word, event, heard, said, facing in _worlds(unclear):
        words_show = (event, heard if said else "") if form.words != "none" else ()
        picture_shows = (word if facing else "", heard) if form.picture else ()
        answer = word if form.perspective == "speaker" else reaction_of(word, heard)
        table[(*words_show, "|", *picture_shows)][answer] += chance
    total: dict[str, float] = defaultdict(float)
    for shares in table.values():
        for answer, chance in shares.items():
            total[answer] += chance
    recall = sum(max(chance / total[answer] for answer, chance in shares.items()) for shares in table.values())
    return 100 * recall / len(total)


def _worlds(unclear: float) -> Iterator[tuple[float, str, str, str, bool, bool]]:
    """Every moment's chance, emotion, event, listener, and whether it is said who listens and the face is seen."""
    for heard, said in itertools.product(PLACES, (True, False)):
        who = (FRIEND if heard == "friend" else 1 - FRIEND) * (SAID if said else 1 - SAID)
        for word, events in EVENTS.items():
            for event, facing in itertools.product(events, (True, False)):
                share = who * (1 - unclear) / len(EVENTS) / len(events) * (FACING if facing else 1 - FACING)
                yield share, word, event, heard, said, facing
        for event, pair in UNCLEAR.items():
            for word, odds in zip(pair, (ODDS, 1 - ODDS), strict=True):
                yield who * unclear / len(UNCLEAR) * odds, word, event, heard, said, True


def record(sample: Sample, split: str, situation: bool = True, quote: bool = True, reaction: bool = True) -> Record:
    """The neutral record of a moment; what is not said leaves its field empty."""
    return Record(
        sample.id,
        f"{sample.id}.png",
        LABEL_SET,
        (label_of(sample.word),),
        split,
        "made-up world",
        bbox_body=pictures.box(sample.id),
        group_id=sample.id,
        situation=sample.situation if situation else "",
        quote=sample.quote if quote else "",
        reaction=label_of(sample.reaction) if reaction else "",
    )


def targets(samples: Sequence[Sample]) -> FaceTargets:
    """Faces of both sides, said to be of ``flame2020``."""
    ids = tuple(s.id + end for s in samples for end in ("", LISTENER))
    faces = np.array([face for s in samples for face in (s.face, s.reaction_face)], np.float32)
    unknown = np.full((len(ids), 3), np.nan, np.float32)
    return FaceTargets("flame2020", "made-up world", ids, faces, unknown, unknown[:, :2])


def draw(sample: Sample) -> ImageArray:
    """The picture of a moment, BGR."""
    return pictures.draw(sample.id, sample.look, sample.heard == "friend")


def texts() -> tuple[str, ...]:
    """All words of the world, for a tokenizer."""
    lines = [
        f"It was {how} much when {event}. Oh, {event}, {how} so, you!"
        for how in STRENGTHS
        for events in (*EVENTS.values(), tuple(UNCLEAR))
        for event in events
    ]
    seen = [f"In the red box {look}, {place}." for look in LOOKS.values() for place in PLACES.values()]
    heard = [f"my {who}! A {who} heard of it. Somebody heard of it." for who in PLACES]
    return (*lines, *seen, *heard, *(f" {word}" for word in words()), "USER: Therefore, quote, situation ASSISTANT:")
