"""Learn how to pool the nano students: temperatures, joint weights, miss rates, thresholds. No torch.

There is no corpus with a face and an utterance for the same moment and this licence, so scenes are made: a picture that
the FER student has not seen (leave-people-out folds) and a validation utterance, drawn independently. In a part of the
scenes both show one emotion; in the others the face is still or the words are ordinary while the other source, and the
truth, is not: people speak of their fear with a still face, and smile while they say ordinary things. How many scenes
are of which kind (:data:`SCENES`) is an assumption and is written into the file; how often a feeling then does not show
in the face, or in the words, is fitted, for each source by itself.
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
from emo_face.perception.fusion import FusionParameters, SourceParameters, pool_log, speech_reliability
from emo_face.perception.nano.face import TRUSTED

SCENES = {"agree": 0.4, "still_face": 0.3, "ordinary_words": 0.3}
"""Kind -> share of the scenes of an emotion. Neutral has one kind: a still face and ordinary words."""
PAIRS_PER_CLASS = 150
STRONG, CLEAR = 0.9, 0.7
"""Confidence from which words count as strong, and a smile as plain; from which words are clear."""
LATER, TIME_TO_LIVE = 3.0, 8.0
"""Seconds after which words must still be the answer, and for which they count (``speech.ttl`` of the nodes)."""
FALSE_ALARMS = 0.02
"""Share of scenes with a still face and neutral words in which an emotion may be active; thresholds rise until then."""
FOLDS = 5
LEAST_ROWS, LEAST_JUDGED = 10, 3  # of a class, to take part in fitted and in judged scenes
MISS_RATES = (0.0, 0.95)  # silence is never worth nothing
WEIGHTS = (0.5, 2.0)  # from one half on, two sources that agree are never less certain together than alone
RIDGE = 0.1  # pull of the weights towards 1: beside a source that says little they are hardly determined by data


@dataclass(frozen=True, slots=True)
class Source:
    """Unseen predictions of one student.

    Attributes:
        truth: (n,). probabilities: (n, 7). group: (n,) that must not be split.
        plain: (n,) rows that may stand in a scene; None: all. Faces that hardly show what they are labelled (CMU's
            posed ones: nets agree with their labels in under half) only count for the thresholds.
    """

    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    group: NDArray[np.int64]
    plain: NDArray[np.bool_] | None = None

    def take(self, rows: NDArray[Any]) -> Source:
        """Some rows."""
        plain = None if self.plain is None else self.plain[rows]
        return Source(self.truth[rows], self.probabilities[rows], self.group[rows], plain)

    def of(self, label: int) -> NDArray[np.int64]:
        """Rows of one label that may stand in a scene."""
        found = self.truth == label
        return np.flatnonzero(found if self.plain is None else found & self.plain)


@dataclass(frozen=True, slots=True)
class FusionPairs:
    """Scenes: truth (n,), the distributions of face and words (n, 7), and the kind (n,) by name."""

    truth: NDArray[np.int64]
    face: NDArray[np.float64]
    speech: NDArray[np.float64]
    kind: NDArray[np.str_]


def make_pairs(
    face: Source, speech: Source, rng: np.random.Generator, per_class: int = PAIRS_PER_CLASS, least: int = LEAST_ROWS
) -> FusionPairs:
    """Draw scenes, each kind as often as :data:`SCENES` says, from the emotions whose faces and utterances allow it.

    Half of all scenes are neutral, as in conversation: what is fitted on balanced ones alarms too often.
    """
    neutral = basic7().index("Neutral")
    rows = {name: {c: s.of(c) for c in range(len(basic7()))} for name, s in (("face", face), ("speech", speech))}
    emotions = [c for c in range(len(basic7())) if c != neutral and len(rows["speech"][c]) >= least]
    shown = {
        **{("agree", c): (c, c) for c in emotions},
        **{("still_face", c): (neutral, c) for c in emotions},
        **{("ordinary_words", c): (c, neutral) for c in emotions},
        ("agree", neutral): (neutral, neutral),
    }
    possible = {
        key: pair
        for key, pair in shown.items()
        if min(len(rows["face"][pair[0]]), len(rows["speech"][pair[1]])) >= least
    }
    drawn: list[tuple[int, int, int]] = []
    kinds: list[str] = []
    for (kind, truth), (by_face, by_words) in possible.items():
        alike = sum(other == kind and c != neutral for other, c in possible)
        share = 1.0 if truth == neutral else SCENES[kind] / alike
        for _ in range(round(share * per_class * len(emotions))):
            drawn.append((truth, int(rng.choice(rows["face"][by_face])), int(rng.choice(rows["speech"][by_words]))))
            kinds.append(kind)
    table = np.array(drawn, dtype=np.int64).reshape(-1, 3)
    return FusionPairs(table[:, 0], face.probabilities[table[:, 1]], speech.probabilities[table[:, 2]], np.array(kinds))


def pool(pairs: FusionPairs, parameters: FusionParameters) -> FloatArray:
    """(n, 7) what the runtime's pool says about each pair."""
    return np.exp(pool_log({"face": pairs.face, "speech": pairs.speech}, {"face": 1.0, "speech": 1.0}, parameters))


def fit(face: Source, speech: Source, start: FusionParameters, rng: np.random.Generator) -> FusionParameters:
    """Temperatures of each source alone, then weights of both together, by negative log-likelihood."""
    # Both students are calibrated on strangers: rows of the fit may cool one, never make it surer.
    sources = {
        name: start.source(name).model_copy(update={"temperature": max(1.0, round(_temperature(source), 4))})
        for name, source in (("face", face), ("speech", speech))
    }
    pairs = make_pairs(face, speech, rng)

    def with_weights(x: NDArray[np.float64]) -> FusionParameters:
        chosen = {
            name: source.model_copy(update={"weight": round(float(x[k]), 3), "miss_rate": round(float(x[k + 2]), 3)})
            for k, (name, source) in enumerate(sources.items())
        }
        if shapes := start.sources.get("blendshapes"):  # the face's own pixels: what does not show there misses both
            chosen["blendshapes"] = shapes.model_copy(update={"miss_rate": chosen["face"].miss_rate})
        return start.model_copy(update={"sources": {**start.sources, **chosen}})

    def clipped(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([np.clip(x[:2], *WEIGHTS), np.clip(x[2:], *MISS_RATES)])

    def loss(x: NDArray[np.float64]) -> float:
        inside = clipped(x)
        return nll(pairs.truth, pool(pairs, with_weights(inside))) + RIDGE * float(((inside[:2] - 1.0) ** 2).sum())

    settings = {"xatol": 0.01, "fatol": 1e-4, "maxiter": 200}
    best = minimize(loss, x0=[1.0, 1.0, 0.5, 0.5], method="Nelder-Mead", options=settings)
    return with_weights(clipped(best.x))


def _temperature(source: Source) -> float:
    rows = slice(None) if source.plain is None else source.plain
    return fit_temperature(source.truth[rows], source.probabilities[rows])


def thresholds(parts: Sequence[tuple[NDArray[np.int64], FloatArray]]) -> dict[str, float]:
    """Per label the probability with the best F1 over all parts, between 0.35 and 0.6; 0.5 for a label without rows."""
    truth = np.concatenate([t for t, _ in parts])
    p = np.concatenate([q for _, q in parts])
    grid = np.round(np.arange(0.35, 0.61, 0.05), 2)
    found = {}
    for index, label in enumerate(basic7().labels):
        real = truth == index
        if not real.any():
            continue
        said = p[:, index] >= grid[:, None]
        scores = 2 * (said & real).sum(1) / np.maximum(said.sum(1) + real.sum(), 1)
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
        pairs = make_pairs(outer[0], outer[1], rng, per_class=60, least=LEAST_JUDGED)
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


def scenarios(
    face: Source, speech: Source, parameters: FusionParameters, seed: int, rows: int = 4000
) -> dict[str, float]:
    """What the pool makes of scenes that matter to a robot, drawn from real predictions.

    Keys: strong words over a still face (share with the words' label active, and as top) and clear ones, at once and
    :data:`LATER`, neutral words over a smile (Happy on top; a smile of 0.5 and one of 0.9 or more), a still face and
    neutral words (share with any emotion active: false).
    """
    labels, rng = basic7(), np.random.default_rng((seed, 3))
    neutral, happy = labels.index("Neutral"), labels.index("Happy")
    cut = parameters.threshold_array()

    def draw(source: Source, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        chosen = chosen if source.plain is None else chosen & source.plain
        found = source.probabilities[chosen]
        return found[rng.integers(0, len(found), rows)] if len(found) else np.full((rows, len(labels)), 1 / len(labels))

    def pooled(shown: NDArray[np.float64], said: NDArray[np.float64], age: float = 0.0) -> FloatArray:
        trust = {"face": 1.0, "speech": speech_reliability(age, 1.0, TIME_TO_LIVE)}
        return np.exp(pool_log({"face": shown, "speech": said}, trust, parameters))

    sure, top = speech.probabilities.max(1), speech.probabilities.argmax(1)
    still, calm = draw(face, face.truth == neutral), draw(speech, speech.truth == neutral)
    found = {}
    for name, words in (("strong", sure >= STRONG), ("clear", (sure >= CLEAR) & (sure < STRONG))):
        said = draw(speech, words & (top != neutral))
        meant = said.argmax(1)
        for when, age in (("", 0.0), ("_later", LATER)):
            over = pooled(still, said, age)
            found[f"{name}_words_still_face_active{when}"] = (over >= cut)[np.arange(rows), meant].mean()
            found[f"{name}_words_still_face_top{when}"] = (over.argmax(1) == meant).mean()
    for name, least in (("", 0.5), ("plain_", STRONG)):
        smile = draw(face, (face.truth == happy) & (face.probabilities[:, happy] >= least))
        found[f"{name}smile_neutral_words_happy"] = (pooled(smile, calm).argmax(1) == happy).mean()
    quiet = pooled(still, calm)
    found["still_face_neutral_words_false"] = (quiet >= cut)[:, np.arange(len(labels)) != neutral].any(1).mean()
    found["still_face_neutral_words_top_false"] = (quiet.argmax(1) != neutral).mean()
    return {name: round(float(share), 4) for name, share in found.items()}


def train(
    face: Source, speech: Source, start: FusionParameters, seed: int, made: Mapping[str, Any]
) -> FusionParameters:
    """Fit on everything; the figures in ``trained`` are those of :func:`cross_validate` and :func:`scenarios`."""
    figures = cross_validate(face, speech, start, seed)
    rng = np.random.default_rng(seed)
    parameters = fit(face, speech, start, rng)
    pairs = make_pairs(face, speech, rng)
    parts = [
        (pairs.truth, pool(pairs, parameters)),
        (face.truth, _alone("face", face.probabilities, parameters)),
        (speech.truth, _alone("speech", speech.probabilities, parameters)),
    ]
    parameters = parameters.model_copy(update={"thresholds": thresholds(parts)})
    found = scenarios(face, speech, parameters, seed)
    while found["still_face_neutral_words_false"] > FALSE_ALARMS and (higher := _raised(parameters)) != parameters:
        parameters, found = higher, scenarios(face, speech, higher, seed)
    trained = {**made, "seed": seed, "scenes": dict(SCENES), "held_out": figures, "scenarios": found}
    return parameters.model_copy(update={"trained": trained})


def _raised(parameters: FusionParameters) -> FusionParameters:
    """The thresholds of the emotions one step higher, at most 0.6."""
    higher = {
        label: cut if label == "Neutral" else min(0.6, round(cut + 0.05, 2))
        for label, cut in parameters.thresholds.items()
    }
    return parameters.model_copy(update={"thresholds": higher})


def _alone(name: str, probabilities: FloatArray, parameters: FusionParameters) -> FloatArray:
    return np.exp(pool_log({name: probabilities}, {name: 1.0}, parameters))


def untrained(label_set: str = "basic7") -> FusionParameters:
    """Where training starts: every source as it is; a face counts in full from the quality its student trusts."""
    sources = {
        "face": SourceParameters(trusted=TRUSTED),
        "speech": SourceParameters(),
        # Not learned: no data has it beside the others. Half a voice, since it looks at the FER student's own pixels.
        "blendshapes": SourceParameters(weight=0.5, temperature=1.5, trusted=TRUSTED),
    }
    return FusionParameters(label_set=label_set, sources=sources)
