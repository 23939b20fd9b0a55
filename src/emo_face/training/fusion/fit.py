"""Learn how to pool the nano students: temperatures, weights in company, thresholds. Needs no torch.

There is no corpus with a face and an utterance for the same moment and this licence, so pairs are made: a picture that
the FER student has not seen (leave-people-out folds) and a validation utterance, drawn independently for one emotion.
People also show what they do not say and say what they do not show: in a share of the pairs one of the two is neutral
while the other, and the truth, is not. That share is an assumption, not a measurement, and is written into the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.scaling import fit_temperature
from emo_face.evaluation.metrics.single_label import accuracy, nll
from emo_face.perception.fusion import FusionParameters, SourceParameters, pool_log

SILENT_SHARE = 0.1  # of the pairs, for each of the two sources
PAIRS_PER_CLASS = 150
FOLDS = 5
LEAST_ROWS = 10  # of a class, to take part in pairs
WEIGHTS = (0.5, 2.0)  # from one half on, two sources that agree are never less certain together than alone
RIDGE = 0.02  # pull towards 1: the weight of a source beside one that says little is hardly determined by data


@dataclass(frozen=True, slots=True)
class Source:
    """Unseen predictions of one student: truth (n,), probabilities (n, 7), group (n,) that must not be split."""

    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    group: NDArray[np.int64]

    def take(self, rows: NDArray[Any]) -> Source:
        """Some rows."""
        return Source(self.truth[rows], self.probabilities[rows], self.group[rows])


@dataclass(frozen=True, slots=True)
class FusionPairs:
    """A face and an utterance of one emotion: truth (n,), and the two distributions (n, 7)."""

    truth: NDArray[np.int64]
    face: NDArray[np.float64]
    speech: NDArray[np.float64]


def make_pairs(face: Source, speech: Source, rng: np.random.Generator, per_class: int = PAIRS_PER_CLASS) -> FusionPairs:
    """Draw balanced pairs over the classes that both sources have; see the module for the neutral share."""
    neutral = basic7().index("Neutral")
    rows = {
        name: {c: np.flatnonzero(s.truth == c) for c in range(len(basic7()))}
        for name, s in (("face", face), ("speech", speech))
    }
    both = [c for c in rows["face"] if min(len(rows["face"][c]), len(rows["speech"][c])) >= LEAST_ROWS]
    drawn: list[tuple[int, int, int]] = []
    for truth in both:
        for k in range(per_class):
            share = k / per_class
            silent = truth != neutral and neutral in both
            shown = neutral if silent and share < SILENT_SHARE else truth
            said = neutral if silent and SILENT_SHARE <= share < 2 * SILENT_SHARE else truth
            drawn.append((truth, int(rng.choice(rows["face"][shown])), int(rng.choice(rows["speech"][said]))))
    table = np.array(drawn, dtype=np.int64).reshape(-1, 3)
    return FusionPairs(table[:, 0], face.probabilities[table[:, 1]], speech.probabilities[table[:, 2]])


def pool(pairs: FusionPairs, parameters: FusionParameters) -> FloatArray:
    """(n, 7) what the runtime's pool says about each pair."""
    said = {"face": pairs.face, "speech": pairs.speech}
    return np.exp(pool_log(said, {"face": 1.0, "speech": 1.0}, parameters))


def fit(face: Source, speech: Source, start: FusionParameters, rng: np.random.Generator) -> FusionParameters:
    """Temperatures of each source alone, then weights of both together, by negative log-likelihood."""
    sources = {
        name: start.source(name).model_copy(update={"temperature": round(fit_temperature(s.truth, s.probabilities), 4)})
        for name, s in (("face", face), ("speech", speech))
    }
    pairs = make_pairs(face, speech, rng)

    def with_weights(weights: Sequence[float]) -> FusionParameters:
        chosen = {
            name: source.model_copy(update={"weight": float(w)})
            for (name, source), w in zip(sources.items(), weights, strict=True)
        }
        return start.model_copy(update={"sources": {**start.sources, **chosen}})

    def loss(weights: Sequence[float]) -> float:
        w = np.clip(weights, *WEIGHTS)
        return nll(pairs.truth, pool(pairs, with_weights(w.tolist()))) + RIDGE * float(((w - 1.0) ** 2).sum())

    best = minimize(loss, x0=[1.0, 1.0], method="Nelder-Mead", options={"xatol": 0.02, "fatol": 1e-3, "maxiter": 60})
    return with_weights([round(float(w), 3) for w in np.clip(best.x, *WEIGHTS)])


def thresholds(parts: Sequence[tuple[NDArray[np.int64], FloatArray]]) -> dict[str, float]:
    """Per label the probability with the best F1 over all parts, between 0.25 and 0.6; 0.5 for a label without rows."""
    truth = np.concatenate([t for t, _ in parts])
    p = np.concatenate([q for _, q in parts])
    grid = np.round(np.arange(0.25, 0.61, 0.05), 2)
    found = {}
    for index, label in enumerate(basic7().labels):
        real = truth == index
        if not real.any():
            continue
        scores = []
        for cut in grid:
            said = p[:, index] >= cut
            scores.append(2 * (said & real).sum() / max(said.sum() + real.sum(), 1))
        found[label] = float(grid[int(np.argmax(scores))])
    return found


def cross_validate(face: Source, speech: Source, start: FusionParameters, seed: int) -> dict[str, Any]:
    """Held-out figures: nobody's face and no utterance is in both the fitted and the judged part."""
    truths, said = [], {name: [] for name in ("face", "speech", "both")}  # type: ignore[var-annotated]
    for fold in range(FOLDS):
        rng = np.random.default_rng((seed, fold))
        inner = [s.take(s.group % FOLDS != fold) for s in (face, speech)]
        outer = [s.take(s.group % FOLDS == fold) for s in (face, speech)]
        parameters = fit(inner[0], inner[1], start, rng)
        pairs = make_pairs(outer[0], outer[1], rng, per_class=60)
        truths.append(pairs.truth)
        said["both"].append(pool(pairs, parameters))
        said["face"].append(_alone("face", pairs.face, parameters))
        said["speech"].append(_alone("speech", pairs.speech, parameters))
    truth = np.concatenate(truths)
    return {
        name: {
            "accuracy": round(accuracy(truth, np.concatenate(p)), 4),
            "nll": round(nll(truth, np.concatenate(p)), 4),
            "ece": round(ece(truth, np.concatenate(p)), 4),
        }
        for name, p in said.items()
    }


def train(
    face: Source, speech: Source, start: FusionParameters, seed: int, made: Mapping[str, Any]
) -> FusionParameters:
    """Fit on everything; the figures in ``trained`` are those of :func:`cross_validate`."""
    figures = cross_validate(face, speech, start, seed)
    rng = np.random.default_rng(seed)
    parameters = fit(face, speech, start, rng)
    pairs = make_pairs(face, speech, rng)
    parts = [(pairs.truth, pool(pairs, parameters))]
    for name, source in (("face", face), ("speech", speech)):
        parts.append((source.truth, _alone(name, source.probabilities, parameters)))
    trained = {**made, "seed": seed, "silent_share": SILENT_SHARE, "held_out": figures}
    return parameters.model_copy(update={"thresholds": thresholds(parts), "trained": trained})


def _alone(name: str, probabilities: FloatArray, parameters: FusionParameters) -> FloatArray:
    return np.exp(pool_log({name: probabilities}, {name: 1.0}, parameters))


def untrained(label_set: str = "basic7") -> FusionParameters:
    """Where training starts: every source as it is; a face counts in full from the quality its student trusts."""
    from emo_face.perception.nano.face import TRUSTED

    sources = {
        "face": SourceParameters(trusted=TRUSTED),
        "speech": SourceParameters(),
        # Not learned: no data has it beside the others. Half a voice, since it looks at the FER student's own pixels.
        "blendshapes": SourceParameters(weight=0.5, temperature=1.5, trusted=TRUSTED),
    }
    return FusionParameters(label_set=label_set, sources=sources)
