"""Steady emotions: a first-order filter on log-probabilities with a time constant in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emo_face.core.labels import LabelSet
from emo_face.core.types import Emotion, FloatArray

FLOOR, RARE = 0.01, 1e-4
"""Lowest probability the filter believes, so that one overconfident frame cannot hold it for seconds.

``RARE`` holds for sets of several labels at once: their scores add up to nothing, rare labels lie below 1 % most of the
time, and ``FLOOR`` would lift them all. The price is a tenth of a second: with the default time constant a label that
goes from there to 0.9 crosses 0.5 after 0.25 s instead of 0.17 s.
"""


@dataclass(frozen=True, slots=True)
class _State:
    logits: NDArray[np.float64]
    affect: NDArray[np.float64]
    quality: float
    seen: float


class EmotionSmoother:
    """Filters each person's emotion over time.

    With time constant ``tau`` a change between equally confident expressions takes the top label over after
    ``tau * ln 2`` seconds, whatever the frame rate; one to an expression a third as confident after ``tau * ln 4``.
    Label sets that allow several labels at once are filtered in log-odds, label by label. Valence and arousal follow
    from the filtered labels; those of a model that reads them by itself are filtered as they come.
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
            own_affect: the model reads valence and arousal by itself (see ``EmotionModel``); where it gives no finite
                number for a person, the last one stands, and before the first the labels' circumplex.
        """
        if not tau >= 0 or not memory > 0:
            raise ValueError(f"expected tau >= 0 s and memory > 0 s, got {tau} and {memory}")
        self.tau, self.memory, self.thresholds = tau, memory, thresholds
        self._labels, self._own_affect = labels, own_affect
        self._floor = RARE if labels.multi else FLOOR
        self._states: dict[str, _State] = {}

    def reset(self) -> None:
        """Forget everybody (a clock that jumped back, a node that was activated again)."""
        self._states.clear()

    def update(self, ids: Sequence[str], emotions: Sequence[Emotion], now: float) -> list[Emotion]:
        """Filter the emotions of one frame.

        Args:
            ids: person ids, one an emotion; an unknown id passes through and starts its filter.
            now: seconds, the frame's stamp.
        """
        self._states = {k: s for k, s in self._states.items() if 0 <= now - s.seen <= self.memory}
        out = []
        for person_id, emotion in zip(ids, emotions, strict=True):
            state = self._step(self._states.get(person_id), emotion, now)
            self._states[person_id] = state
            p = self._probabilities(state.logits)
            valence, arousal = map(float, state.affect) if self._own_affect else self._labels.circumplex(p)
            active = emotion.active if self.thresholds is None else p >= self.thresholds
            quality = state.quality
            out.append(
                replace(emotion, probabilities=p, active=active, valence=valence, arousal=arousal, quality=quality)
            )
        return out

    def _step(self, old: _State | None, emotion: Emotion, now: float) -> _State:
        p = np.clip(np.nan_to_num(np.asarray(emotion.probabilities, dtype=np.float64)), self._floor, 1 - self._floor)
        logits = np.log(p) - np.log1p(-p) if self._labels.multi else np.log(p / p.sum())
        affect = np.array([emotion.valence, emotion.arousal], dtype=np.float64)
        if not np.isfinite(affect).all():
            affect = np.array(self._labels.circumplex(p)) if old is None else old.affect
        if old is None or self.tau == 0:
            return _State(logits, affect, emotion.quality, now)
        gain = 1.0 - math.exp(-(now - old.seen) / self.tau)
        return _State(
            old.logits + gain * (logits - old.logits),
            old.affect + gain * (affect - old.affect),
            old.quality + gain * (emotion.quality - old.quality),
            now,
        )

    def _probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._labels.multi:
            return np.asarray(1.0 / (1.0 + np.exp(-logits)))
        p = np.exp(logits - logits.max())
        return np.asarray(p / p.sum())
