"""Steady emotions: a first-order filter on probabilities with a time constant in seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emo_face.core.labels import LabelSet
from emo_face.core.types import Array, Emotion, FloatArray

NOTHING = 0.01
"""Below this quality nothing was seen: what is left of an older reading is no evidence."""


@dataclass(frozen=True, slots=True)
class _State:
    probabilities: Array
    affect: Array
    quality: float
    seen: float


class EmotionSmoother:
    """Filters each person's emotion over time.

    With time constant ``tau`` a change between equally confident expressions takes the top label over after
    ``tau * ln 2`` seconds, whatever the frame rate. A mixture of calibrated probabilities is calibrated, steady input
    comes out as it is, and no single frame, however sure, counts for more than its time. Valence and arousal follow
    from the filtered labels; those of a model that reads them by itself are filtered as they come. If the filtered
    quality is next to nothing, so is what is said: a flat distribution, no valence and arousal, quality 0.
    """

    def __init__(
        self,
        labels: LabelSet,
        tau: float = 0.15,
        memory: float = 2.0,
        thresholds: FloatArray | None = None,
        own_affect: bool = False,
    ) -> None:
        """Start with nobody.

        Args:
            labels: the label set of the emotions to filter.
            tau: time constant, seconds; 0 switches the filter off. 0.15 keeps the onset below 300 ms.
            memory: a person unseen for longer than this, seconds, starts afresh.
            thresholds: (n,) probability from which a label is active; None keeps the unfiltered flags.
            own_affect: the model reads valence and arousal by itself (see ``EmotionModel``); if it gives no finite
                number for a person, the last one stands, and before the first the labels' circumplex.
        """
        if not tau >= 0 or not memory > 0:
            raise ValueError(f"expected tau >= 0 s and memory > 0 s, got {tau} and {memory}")
        self.tau, self.memory, self.thresholds = tau, memory, thresholds
        self._labels, self._own_affect = labels, own_affect
        self._states: dict[str, _State] = {}

    def reset(self) -> None:
        """Forget everybody (a clock that jumped back, a node that was activated again)."""
        self._states.clear()

    def update(self, ids: Sequence[str], emotions: Sequence[Emotion], now: float) -> list[Emotion]:
        """Filter the emotions of one frame.

        Args:
            ids: person ids, one per emotion; an unknown id passes through and starts its filter.
            now: seconds, the frame's stamp.
        """
        self._states = {k: s for k, s in self._states.items() if 0 <= now - s.seen <= self.memory}
        out = []
        for person_id, emotion in zip(ids, emotions, strict=True):
            state = self._step(self._states.get(person_id), emotion, now)
            self._states[person_id] = state
            out.append(self._told(state, emotion))
        return out

    def _told(self, state: _State, emotion: Emotion) -> Emotion:
        if not state.quality >= NOTHING:
            n = len(self._labels)
            flat, none = np.full(n, 1.0 / n), np.zeros(n, dtype=np.bool_)
            nothing = replace(emotion, probabilities=flat, active=none, valence=0.0, arousal=0.0, evidence={})
            return replace(nothing, quality=0.0, fine_label_set="", fine_probabilities=None)
        p = state.probabilities
        valence, arousal = map(float, state.affect) if self._own_affect else self._labels.circumplex(p)
        active = emotion.active if self.thresholds is None else p >= self.thresholds
        return replace(emotion, probabilities=p, active=active, valence=valence, arousal=arousal, quality=state.quality)

    def _step(self, old: _State | None, emotion: Emotion, now: float) -> _State:
        p = self._clean(emotion.probabilities)
        quality = emotion.quality if math.isfinite(emotion.quality) else 0.0
        affect = np.array([emotion.valence, emotion.arousal], dtype=np.float64)
        if not np.isfinite(affect).all():
            affect = np.array(self._labels.circumplex(p)) if old is None else old.affect
        if old is None or self.tau == 0:
            return _State(p, affect, quality, now)
        gain = 1.0 - math.exp(-(now - old.seen) / self.tau)
        return _State(
            old.probabilities + gain * (p - old.probabilities),
            old.affect + gain * (affect - old.affect),
            old.quality + gain * (quality - old.quality),
            now,
        )

    def _clean(self, probabilities: FloatArray) -> Array:
        """What a frame says, as a distribution; flat if it says nothing."""
        p = np.clip(np.nan_to_num(np.asarray(probabilities, dtype=np.float64), nan=0.0), 0.0, 1.0)
        if self._labels.multi:
            return np.asarray(p)
        return np.asarray(p / p.sum() if p.sum() > 0 else np.full(len(p), 1.0 / len(p)))
