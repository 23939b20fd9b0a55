"""Metrics of multi-label and single-label emotion recognition, NumPy only: AP, P/R/F1, Hamming, accuracy, intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import UserError

Array = NDArray[np.floating[Any]]
APMode = Literal["sklearn", "voc11", "voc_all"]
AP_MODES: tuple[APMode, ...] = ("sklearn", "voc11", "voc_all")


@dataclass(frozen=True)
class MeanAP:
    """Mean average precision.

    Attributes:
        value: unweighted mean over the classes that have positives, in [0, 1].
        per_class: (c,) AP in [0, 1], NaN for a class without positives.
        excluded: positions of the classes without positives; report them.
    """

    value: float
    per_class: Array
    excluded: tuple[int, ...]


def _check(scores: Array, truth: NDArray[Any]) -> tuple[Array, NDArray[np.bool_]]:
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth).astype(bool)
    if scores.shape != truth.shape or scores.ndim != 2:
        raise ValueError(f"expected scores and truth of one shape (n, classes), got {scores.shape} and {truth.shape}")
    if not len(scores):
        raise UserError("evaluation: no samples; the split is empty")
    if not np.isfinite(scores).all():
        raise ValueError("scores: expected finite numbers, got NaN or infinity")
    return scores, truth


def average_precision(
    scores: Array, truth: NDArray[Any], mode: APMode = "sklearn", weights: Array | None = None
) -> float:
    """AP of one class in [0, 1]; NaN without positives.

    Args:
        scores, truth: (n,).
        mode: ``sklearn`` sums precision over recall steps, ties taken together; ``voc11`` is the 11-point mean of the
            interpolated curve (PASCAL VOC 2007); ``voc_all`` the area under it (VOC 2010).
        weights: (n,) non-negative sample weights, for the bootstrap.
    """
    order = np.argsort(-scores, kind="stable")
    weight = np.ones(len(order)) if weights is None else np.asarray(weights, np.float64)[order]
    hits = np.cumsum(weight * np.asarray(truth, bool)[order])
    if not len(hits) or hits[-1] <= 0:
        return float("nan")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    drawn = np.cumsum(weight)[ends]
    precision = np.divide(hits[ends], drawn, out=np.zeros(len(ends)), where=drawn > 0)
    recall = hits[ends] / hits[-1]
    if mode == "sklearn":
        return float(np.sum(np.diff(recall, prepend=0.0) * precision))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if mode == "voc_all":
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    if mode != "voc11":
        raise ValueError(f"mode: expected one of {', '.join(AP_MODES)}, got {mode!r}")
    points = np.linspace(0, 1, 11)
    at = np.searchsorted(recall, points - 1e-12)
    return float(np.mean([envelope[i] if i < len(envelope) else 0.0 for i in at]))


def mean_average_precision(
    scores: Array, truth: NDArray[Any], mode: APMode = "sklearn", weights: Array | None = None
) -> MeanAP:
    """mAP of (n, classes) scores against 0/1 truth. Raises UserError for no samples, ValueError for bad shapes."""
    scores, truth = _check(scores, truth)
    per_class = np.array([average_precision(scores[:, c], truth[:, c], mode, weights) for c in range(scores.shape[1])])
    excluded = tuple(int(c) for c in np.flatnonzero(np.isnan(per_class)))
    value = float(np.nanmean(per_class)) if len(excluded) < len(per_class) else float("nan")
    return MeanAP(value, per_class, excluded)


def precision_recall_f1(predicted: NDArray[Any], truth: NDArray[Any]) -> tuple[Array, Array, Array]:
    """Per-class precision, recall and F1 of (n, classes) 0/1 arrays; 0 where undefined."""
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    hits = (predicted & truth).sum(0).astype(np.float64)
    precision = np.divide(hits, predicted.sum(0), out=np.zeros_like(hits), where=predicted.sum(0) > 0)
    recall = np.divide(hits, truth.sum(0), out=np.zeros_like(hits), where=truth.sum(0) > 0)
    both = precision + recall
    return precision, recall, np.divide(2 * precision * recall, both, out=np.zeros_like(hits), where=both > 0)


def hamming_loss(predicted: NDArray[Any], truth: NDArray[Any]) -> float:
    """Share of wrong label decisions in [0, 1]."""
    return float(np.mean(np.asarray(predicted, bool) != np.asarray(truth, bool)))


def accuracy(scores: Array, truth: NDArray[Any]) -> float:
    """Top-1 accuracy of (n, classes) scores against one-hot truth."""
    scores, truth = _check(scores, truth)
    return float(np.mean(truth[np.arange(len(scores)), scores.argmax(1)]))


def decide(scores: Array, thresholds: Array, multi: bool) -> NDArray[np.bool_]:
    """(n, classes) decisions: over the class's threshold, or the best class alone for a single-label set."""
    scores = np.asarray(scores)
    if multi:
        return np.asarray(scores >= np.asarray(thresholds)[None, :])
    chosen = np.zeros(scores.shape, bool)
    chosen[np.arange(len(scores)), scores.argmax(1)] = True
    return chosen


def fit_thresholds(scores: Array, truth: NDArray[Any], rule: Literal["max_f1", "p_equals_r"] = "max_f1") -> Array:
    """One threshold a class from a validation split (never from test).

    ``max_f1`` takes the best F1; ``p_equals_r`` the smallest |precision - recall| (EMOTIC's original rule, which the
    community's code looks for by float equality and so mostly misses). 0.5 for a class without positives.
    """
    scores, truth = _check(scores, truth)
    found = np.full(scores.shape[1], 0.5)
    for c in range(scores.shape[1]):
        if not truth[:, c].any():
            continue
        order = np.argsort(-scores[:, c], kind="stable")
        ranked = scores[order, c]
        hits = np.cumsum(truth[order, c])
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        precision, recall = hits[ends] / (ends + 1), hits[ends] / hits[-1]
        if rule == "max_f1":
            best = ends[np.argmax(2 * precision * recall / np.maximum(precision + recall, 1e-12))]
        else:
            gap = np.where(hits[ends] > 0, np.abs(precision - recall), np.inf)
            best = ends[np.argmin(gap)]
        below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best] - 1e-6
        found[c] = (ranked[best] + below) / 2  # half way to the next score, so that rounding does not flip decisions
    return found


def summary(
    scores: Array,
    truth: NDArray[Any],
    thresholds: Array,
    multi: bool,
    mode: APMode = "sklearn",
    ranking: Array | None = None,
) -> dict[str, Any]:
    """The paper's numbers in percent: mAP, macro precision, recall, F1, Hamming loss, accuracy (single-label sets).

    ``ranking``: what AP ranks by where that is finer than ``scores``: logits do not saturate as probabilities do.
    """
    ap = mean_average_precision(scores if ranking is None else ranking, truth, mode)
    predicted = decide(scores, thresholds, multi)
    precision, recall, f1 = precision_recall_f1(predicted, truth)
    out: dict[str, Any] = {
        "n": len(scores),
        "ap_mode": mode,
        "mAP": 100 * ap.value,
        "AP": (100 * ap.per_class).tolist(),
        "classes_without_positives": list(ap.excluded),
        "precision": 100 * float(precision.mean()),
        "recall": 100 * float(recall.mean()),
        "f1": 100 * float(f1.mean()),
        "hamming": 100 * hamming_loss(predicted, truth),
    }
    if not multi:
        out["accuracy"] = 100 * accuracy(scores, truth)
    return out


def bootstrap(
    statistic: Callable[[Array], float], n: int, rng: np.random.Generator, rounds: int = 200, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of ``statistic(weights)`` under resampling of ``n`` samples with replacement.

    ``statistic`` takes (n,) multiplicities instead of copied rows; rounds that give NaN are left out.
    """
    draws = [statistic(rng.multinomial(n, np.full(n, 1 / n)).astype(np.float64)) for _ in range(rounds)]
    finite = [value for value in draws if np.isfinite(value)]
    if not finite:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def map_interval(
    scores: Array, truth: NDArray[Any], rng: np.random.Generator, rounds: int = 200
) -> tuple[float, float]:
    """95 % bootstrap interval of mAP (sklearn mode), in [0, 1]."""
    scores, truth = _check(scores, truth)
    return bootstrap(lambda w: mean_average_precision(scores, truth, "sklearn", w).value, len(scores), rng, rounds)


def intervals(
    predicted: NDArray[Any], truth: NDArray[Any], rng: np.random.Generator, rounds: int = 200
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of macro ``f1``, ``hamming`` and ``accuracy`` (all labels right), in [0, 1]."""
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    wrong, right = (predicted != truth).mean(1), (predicted == truth).all(1).astype(np.float64)

    def f1(weights: Array) -> float:
        hits, total = weights @ (predicted & truth), weights @ predicted + weights @ truth
        return float(np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0).mean())

    found: dict[str, Callable[[Array], float]] = {
        "f1": f1,
        "hamming": lambda w: float(w @ wrong / w.sum()),
        "accuracy": lambda w: float(w @ right / w.sum()),
    }
    return {name: bootstrap(statistic, len(truth), rng, rounds) for name, statistic in found.items()}


def frequencies(truth: NDArray[Any], labels: Sequence[str]) -> dict[str, int]:
    """Positives of each label, for the report."""
    return dict(zip(labels, np.asarray(truth).sum(0).astype(int).tolist(), strict=True))
