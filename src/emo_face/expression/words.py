"""A face for what was said: 28 emotions of an utterance to a blend of expressions, strong as the words are, in time."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emo_face.core.labels import basic7, label_set
from emo_face.core.types import ExpressionTarget, FloatArray, Keyframe, Speech
from emo_face.expression.policy import Perspective
from emo_face.expression.shown import shown_of
from emo_face.face.expressions.basis import Basis
from emo_face.face.expressions.facs import Facs

FINE = "goemotions28"
BASIC_OF = {
    name: basic
    for basic, names in {
        "Anger": "anger annoyance disapproval",
        "Disgust": "disgust",
        "Fear": "fear nervousness",
        "Happy": "joy amusement approval excitement gratitude love optimism relief pride admiration desire caring",
        "Sad": "sadness disappointment embarrassment grief remorse",
        "Surprise": "surprise realization confusion curiosity",
    }.items()
    for name in names.split()
}
"""Fine emotion -> basic one: the Ekman grouping of GoEmotions (Demszky et al. 2020, appendix)."""
LEAST = 0.1
"""Probability from which a fine emotion is in the face; a weaker one is not there."""
BESIDE = 0.25
"""Share of the strongest from which a second emotion shows beside it."""
USABLE_QUALITY = 0.3
CALM = 0.5
"""P(Neutral) from which nothing moves, whatever the fine emotions say."""
GRAVE_LEAST = 0.15
"""P(any grave emotion) from which bad news said with a smile is answered as bad news. Of validation lines it takes 62 %
of XED's sad and fearful ones, 14 % of its neutral and 5 % of its happy ones, and 2 % of commands for bad news."""
HEDGES = re.compile(
    r"\b(a (bit|little)|slightly|kind of|kinda|sort of|somewhat|rather|not very|mildly)\b", re.IGNORECASE
)
BOOSTERS = re.compile(
    r"\b(so|very|really|absolutely|extremely|incredibly|totally|completely|utterly|terribly|furious|terrified|ecstatic|"
    r"devastated|thrilled|horrified|heartbroken|enraged|overjoyed|livid|amazing|hate|adore)\b",
    re.IGNORECASE,
)
PLAIN, HEDGED, BOOSTED, MARKED = 0.75, 0.55, 1.25, 1.1
"""Strength of words without any sign of it, and factors for hedges, boosters and an exclamation mark."""
AROUSAL_GAIN = 1.0
LOWEST, HIGHEST = 0.25, 1.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds to the apex, at it, and from it to what stays: ``rest`` [0, 1] of the apex."""

    onset: float
    apex: float
    decay: float
    rest: float = 0.25

    @property
    def moments(self) -> tuple[tuple[float, float], ...]:
        """Seconds and share of the apex: from rest to it, a while there, and to what stays of it."""
        gone = self.onset + self.apex
        return (0.0, 0.0), (self.onset, 1.0), (gone, 1.0), (gone + self.decay, self.rest)


def felt(facs: Facs, emotions: FloatArray, probabilities: FloatArray) -> dict[str, float]:
    """Expression -> share of what an utterance feels like; shares sum to 1, empty if it is neutral.

    Args:
        emotions: (28,) independent probabilities in the order of ``goemotions28``.
        probabilities: (7,) in the order of basic7; they decide whether the words are calm, and speak if no fine emotion
            is sure enough.
    """
    basics, fine = basic7().labels, label_set(FINE).labels
    said = np.nan_to_num(np.asarray(probabilities, dtype=np.float64))
    if said[basics.index("Neutral")] >= CALM:
        return {}
    p = np.nan_to_num(np.asarray(emotions, dtype=np.float64)).copy()
    p[fine.index("neutral")] = 0.0
    if p.max() >= LEAST:
        return _blend(facs, p)
    top = basic7().top(said)
    return {top: 1.0} if top not in ("", "Neutral") else {}


def grave_news(facs: Facs, emotions: FloatArray, grave: Collection[str]) -> dict[str, float]:
    """Expression -> share of the grave ones in what words say; empty unless the words are rather grave than glad.

    Args:
        emotions: (28,) as in :func:`felt`. grave: expressions of bad news (``perspectives.yaml``).
    """
    p = np.nan_to_num(np.asarray(emotions, dtype=np.float64))
    labels = label_set(FINE).labels
    bad = np.array([bool(grave) and set(facs.mixture_of_label(name)) <= set(grave) for name in labels])
    glad = np.array([BASIC_OF.get(name) == "Happy" for name in labels])
    any_bad, any_glad = (1.0 - np.prod(1.0 - np.clip(p[which], 0.0, 1.0)) for which in (bad, glad))
    return _blend(facs, np.where(bad, p, 0.0)) if any_bad >= GRAVE_LEAST and any_bad > any_glad else {}


def _blend(facs: Facs, p: FloatArray) -> dict[str, float]:
    """Expression -> share, of the strongest of (28,) probabilities and those that show beside it."""
    shares: dict[str, float] = {}
    for index in np.flatnonzero(p >= BESIDE * p.max()):
        if p[index] >= min(LEAST, p.max()):
            for name, share in facs.mixture_of_label(label_set(FINE).labels[index]).items():
                shares[name] = shares.get(name, 0.0) + share * float(p[index])
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()} if total > 0 else {}


def strength_of(text: str, arousal: float) -> float:
    """How strong the words are, in [0.25, 1]: by hedges, boosters, an exclamation mark and their arousal."""
    strength = PLAIN * (1.0 + AROUSAL_GAIN * (arousal if np.isfinite(arousal) else 0.0))
    if HEDGES.search(text):
        strength *= HEDGED
    elif BOOSTERS.search(text):
        strength *= BOOSTED
    if "!" in text:
        strength *= MARKED
    return float(np.clip(strength, LOWEST, HIGHEST))


def timing_of(mixture: Mapping[str, float]) -> Timing:
    """Excited expressions come fast and go soon, calm ones slowly: onsets of 0.2 to 0.7 s (ours)."""
    known = label_set("expressions")
    arousal = sum(share * known.arousal[known.index(name)] for name, share in mixture.items() if name in known.labels)
    quick = float(np.clip((arousal + 0.3) / 1.0, 0.0, 1.0))
    return Timing(onset=0.7 - 0.5 * quick, apex=1.6 - 0.6 * quick, decay=1.8 - 0.6 * quick)


def keyframes(basis: Basis, apex: FloatArray, timing: Timing) -> tuple[Keyframe, ...]:
    """From rest to the apex (52 ARKit activations), a while there, and to what stays of it."""
    codes = [(offset, basis.encode(share * apex)) for offset, share in timing.moments]
    return tuple(Keyframe(offset, code.coefficients, code.jaw_pose, code.eyelids) for offset, code in codes)


class Said(Protocol):
    """What the speech student read from the words."""

    @property
    def probabilities(self) -> FloatArray: ...

    @property
    def emotions(self) -> FloatArray: ...

    @property
    def quality(self) -> float: ...

    @property
    def arousal(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Manner:
    """How words are answered.

    Attributes:
        perspective: its name; ``answers`` are its rows: ``mirror`` is the speaker's own face, ``listener`` the answer.
        intensity: in (0, 1] as asked for; 0 takes it from the words. scale: in [0, 1], on every expression.
        valid_for: seconds.
    """

    perspective: str
    answers: Perspective
    intensity: float = 0.0
    scale: float = 1.0
    valid_for: float = 4.0


def face_for(text: str, said: Said, manner: Manner, facs: Facs, basis: Basis, now: float) -> ExpressionTarget:
    """The timed face for words; neutral words, and words that were not read, leave it at rest (a listener attends).

    Args:
        now: seconds, stamp of the target.
    """
    mixture = felt(facs, said.emotions, said.probabilities) if said.quality > 0 else {}
    strength = manner.intensity or strength_of(text, said.arousal) * min(1.0, said.quality / USABLE_QUALITY)
    answer = manner.answers.answer({name: strength * share for name, share in mixture.items()}, not mixture)
    timing = timing_of(mixture)
    apex = facs.arkit(answer, manner.scale)
    return ExpressionTarget(
        stamp=now,
        person_id="",
        perspective=manner.perspective,
        feels=None,
        shown=shown_of(answer, manner.scale),
        keyframes=keyframes(basis, apex, timing),
        basis=basis.name,
        gaze=np.zeros(2),
        confidence=float(np.max(said.probabilities)) * said.quality,
        valid_for=max(manner.valid_for, timing.moments[-1][0]),
        source="prototypes",
        words=Speech(text, now),
    )
