"""Metrics of multi-label and single-label emotion recognition, by scikit-learn: AP, P/R/F1, Hamming, accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import UserError
from emo_face.evaluation.metrics.intervals import Interval, Rows, Seed, bootstrap
from emo_face.evaluation.metrics.single_label import sklearn_metrics

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


def average_precision(scores: Array, truth: NDArray[Any], mode: APMode = "sklearn") -> float:
    """AP of one class in [0, 1]; NaN without positives.

    Args:
        scores, truth: (n,).
        mode: ``sklearn`` sums precision over recall steps, ties taken together; ``voc11`` is the 11-point mean of the
            interpolated curve (PASCAL VOC 2007); ``voc_all`` the area under it (VOC 2010).
    """
    if mode not in AP_MODES:
        raise ValueError(f"mode: expected one of {', '.join(AP_MODES)}, got {mode!r}")
    truth = np.asarray(truth, bool)
    if not truth.any():
        return float("nan")
    if mode == "sklearn":
        return float(sklearn_metrics().average_precision_score(truth, scores))
    precision, recall, _ = sklearn_metrics().precision_recall_curve(truth, scores)
    precision, recall = precision[:-1][::-1], recall[:-1][::-1]  # from the highest threshold on, without (1, 0)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if mode == "voc_all":
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    at = np.searchsorted(recall, np.linspace(0, 1, 11) - 1e-12)
    return float(np.mean([envelope[i] if i < len(envelope) else 0.0 for i in at]))


def mean_average_precision(scores: Array, truth: NDArray[Any], mode: APMode = "sklearn") -> MeanAP:
    """mAP of (n, classes) scores against 0/1 truth. Raises UserError for no samples, ValueError for bad shapes."""
    scores, truth = _check(scores, truth)
    per_class = np.array([average_precision(scores[:, c], truth[:, c], mode) for c in range(scores.shape[1])])
    excluded = tuple(int(c) for c in np.flatnonzero(np.isnan(per_class)))
    value = float(np.nanmean(per_class)) if len(excluded) < len(per_class) else float("nan")
    return MeanAP(value, per_class, excluded)


def precision_recall_f1(predicted: NDArray[Any], truth: NDArray[Any]) -> tuple[Array, Array, Array]:
    """Per-class precision, recall and F1 of (n, classes) 0/1 arrays; 0 where undefined."""
    predicted, truth = np.asarray(predicted, int), np.asarray(truth, int)
    scores = sklearn_metrics().precision_recall_fscore_support
    precision, recall, f1, _ = scores(truth, predicted, average=None, zero_division=0)
    return precision, recall, f1


def hamming_loss(predicted: NDArray[Any], truth: NDArray[Any]) -> float:
    """Share of wrong label decisions in [0, 1]."""
    return float(sklearn_metrics().hamming_loss(np.asarray(truth, int), np.asarray(predicted, int)))


def accuracy(scores: Array, truth: NDArray[Any]) -> float:
    """Top-1 accuracy of (n, classes) scores against one-hot truth."""
    scores, truth = _check(scores, truth)
    return float(np.mean(truth[np.arange(len(scores)), scores.argmax(1)]))


def decide(scores: Array, thresholds: Array, multi: bool) -> NDArray[np.bool_]:
    """(n, classes) decisions: over the class's threshold, or the best class alone for a single-label set."""
    scores = np.asarray(scores)
    if multi:
        return np.asarray(scores >= np.asarray(thresholds)[None, :])
    return np.asarray(np.arange(scores.shape[1]) == scores.argmax(1)[:, None])


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

    ``ranking``: what AP ranks by if that is finer than ``scores``: logits do not saturate as probabilities do.
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


def map_interval(
    scores: Array, truth: NDArray[Any], seed: Seed, rounds: int = 200, mode: APMode = "sklearn"
) -> Interval:
    """mAP with its 95 % bootstrap interval, in [0, 1]; ``scores`` are what the printed mAP ranks by."""
    scores, truth = _check(scores, truth)
    return bootstrap(lambda r: mean_average_precision(scores[r], truth[r], mode).value, len(scores), seed, rounds)


def intervals(predicted: NDArray[Any], truth: NDArray[Any], seed: Seed, rounds: int = 200) -> dict[str, Interval]:
    """Macro ``f1``, ``hamming`` and ``accuracy`` (all labels right) with 95 % bootstrap intervals, in [0, 1]."""
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    wrong, right = (predicted != truth).mean(1), (predicted == truth).all(1)
    found: dict[str, Callable[[Rows], float]] = {
        "f1": lambda rows: float(precision_recall_f1(predicted[rows], truth[rows])[2].mean()),
        "hamming": lambda rows: float(wrong[rows].mean()),
        "accuracy": lambda rows: float(right[rows].mean()),
    }
    return {name: bootstrap(statistic, len(truth), seed, rounds) for name, statistic in found.items()}


def frequencies(truth: NDArray[Any], labels: Sequence[str]) -> dict[str, int]:
    """Positives of each label, for the report."""
    return dict(zip(labels, np.asarray(truth).sum(0).astype(int).tolist(), strict=True))
