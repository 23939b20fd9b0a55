"""How good faces and emotion words are: named L2 conventions, Frechet distance with its floor, baselines.

Shapes everywhere: faces (n, d) FLAME expression coefficients, labels (n,) indices.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import FloatArray
from emo_face.evaluation.metrics import single_label as metrics
from emo_face.evaluation.metrics.intervals import Interval, Rows, Seed, bootstrap
from emo_face.evaluation.metrics.single_label import Labels

Convention = Literal["per_dim_mse", "sum_sq", "euclidean"]
CONVENTIONS: tuple[Convention, ...] = ("per_dim_mse", "sum_sq", "euclidean")
"""Mean square over dimensions (what the paper's "L2" is, see docs), its sum (equation 4), and the distance."""
PCA = 20
"""Dimensions of the low-rank Frechet distance: 100 are too many for a few hundred faces."""


def check(predicted: FloatArray, truth: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both as float64. Raises UserError for other shapes, no rows, or numbers that are not finite."""
    p, t = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if p.ndim != 2 or p.shape != t.shape or not len(t):
        raise UserError(f"faces: expected two arrays (n, d) of one shape, got {p.shape} and {t.shape}")
    if not (np.isfinite(p).all() and np.isfinite(t).all()):
        raise UserError("faces: hold numbers that are not finite")
    return p, t


def per_sample(predicted: FloatArray, truth: FloatArray, convention: Convention = "per_dim_mse") -> FloatArray:
    """(n,) error of each face. Raises ValueError for an unknown convention."""
    p, t = check(predicted, truth)
    squares = ((p - t) ** 2).sum(1)
    found = {"per_dim_mse": squares / t.shape[1], "sum_sq": squares, "euclidean": np.sqrt(squares)}
    if convention not in found:
        raise ValueError(f"convention {convention!r}: expected one of {', '.join(CONVENTIONS)}")
    return np.asarray(found[convention])


def frechet(a: FloatArray, b: FloatArray) -> float:
    """Frechet distance of the Gaussians of two sets (n, d), (m, d): |mu1-mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2).

    By symmetric eigen-decomposition: never complex, also for singular covariances (Dowson & Landau 1982).
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise UserError(f"frechet: expected two sets of at least two faces, got {x.shape} and {y.shape}")
    first, second = np.cov(x, rowvar=False).reshape(x.shape[1], -1), np.cov(y, rowvar=False).reshape(x.shape[1], -1)
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    cross = np.linalg.eigvalsh(root @ second @ root)
    shift = float(((x.mean(0) - y.mean(0)) ** 2).sum())
    return max(0.0, float(shift + np.trace(first) + np.trace(second) - 2 * np.sqrt(np.maximum(cross, 0)).sum()))


def projection(truth: FloatArray, size: int = PCA) -> Callable[[FloatArray], FloatArray]:
    """A function onto the ``size`` main directions of ``truth``."""
    centre = truth.mean(0)
    _, _, directions = np.linalg.svd(truth - centre, full_matrices=False)
    kept = directions[:size].T
    return lambda faces: np.asarray((faces - centre) @ kept)


def floor(truth: FloatArray, rng: np.random.Generator, rounds: int = 50) -> Interval:
    """Frechet distance of a perfect model: of two draws of n faces from one Gaussian, that of ``truth``."""
    t = np.asarray(truth, np.float64)
    values, vectors = np.linalg.eigh(np.cov(t, rowvar=False))
    root = vectors * np.sqrt(np.maximum(values, 0))

    def draw() -> FloatArray:
        return np.asarray(rng.standard_normal(t.shape) @ root.T)

    found = [frechet(draw(), draw()) for _ in range(rounds)]
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(float(np.mean(found)), float(low), float(high))


def intervals(predicted: FloatArray, truth: FloatArray, seed: Seed, rounds: int = 200) -> dict[str, Interval]:
    """``per_dim_mse``, ``sum_sq``, ``euclidean``, ``FD`` and ``FD_pca`` with 95 % bootstrap intervals over faces."""
    p, t = check(predicted, truth)
    small = projection(t)
    errors = {name: per_sample(p, t, name) for name in CONVENTIONS}

    def mean_of(error: FloatArray) -> Callable[[Rows], float]:
        return lambda rows: float(error[rows].mean())

    found = {name: bootstrap(mean_of(error), len(t), seed, rounds) for name, error in errors.items()}
    return found | {
        "FD": _frechet_interval(p, t, seed, rounds),
        "FD_pca": _frechet_interval(small(p), small(t), seed, rounds),
    }


def _frechet_interval(p: FloatArray, t: FloatArray, seed: Seed, rounds: int) -> Interval:
    """Resampled sets repeat faces, which lifts a Frechet distance; its interval is moved back by that bias."""
    value = frechet(p, t)
    draws = []

    def distance(rows: Rows) -> float:
        draws.append(frechet(p[rows], t[rows]))
        return draws[-1]

    found = bootstrap(distance, len(t), seed, rounds)
    bias = float(np.mean(draws[1:])) - value
    return Interval(value, max(0.0, found.low - bias), found.high - bias)


def baseline_faces(
    truth: FloatArray, labels: Labels, rng: np.random.Generator, reference: tuple[FloatArray, Labels] | None = None
) -> dict[str, FloatArray]:
    """Faces that need no model: ``Random``, ``Mean``, ``Per-emotion mean``.

    ``reference``: training faces and labels. Without, other faces of the same set stand in (each face left out of its
    own mean). Random is another face of the set; Per-emotion mean is told the true label, as the paper's contexts were.
    """
    t, y = np.asarray(truth, np.float64), np.asarray(labels)
    n = len(t)
    if n < 2:
        raise UserError(f"baselines: need at least two faces, got {n}")
    other = (np.arange(n) + rng.integers(1, n, n)) % n
    if reference is None:
        mean = (t.sum(0) - t) / (n - 1)
        per = mean.copy()
        for label in np.unique(y):
            rows = np.flatnonzero(y == label)
            if len(rows) > 1:
                per[rows] = (t[rows].sum(0) - t[rows]) / (len(rows) - 1)
    else:
        faces, known = np.asarray(reference[0], np.float64), np.asarray(reference[1])
        mean = np.repeat(faces.mean(0)[None], n, 0)
        per = emotion_faces(faces, known, int(y.max()) + 1)[y]
    return {"Random": t[other], "Mean": mean, "Per-emotion mean": per}


def emotion_faces(faces: FloatArray, labels: Labels, classes: int) -> FloatArray:
    """(classes, d) mean of (n, d) faces by emotion; that of all if there is none."""
    return np.stack([(faces[labels == label] if label in labels else faces).mean(0) for label in range(classes)])


def emotion_scores(truth: Labels, guess: Labels, classes: int) -> dict[str, Any]:
    """F1 of each class, UAR, WAR (percent) and the share of answers without one (guess -1), which count wrong."""
    t, g = np.asarray(truth), np.asarray(guess)
    hot = np.zeros((len(t), classes + 1))
    hot[np.arange(len(t)), np.where(g < 0, classes, g)] = 1
    metrics.check(t, hot)
    recall = metrics.recall_per_class(t, hot)[:classes]
    return {
        "n": len(t),
        "F1": [100 * float(f) for f in metrics.f1_per_class(t, hot)[:classes]],
        "recall": [100 * float(r) for r in recall],
        "UAR": 100 * float(np.nanmean(recall)),
        "WAR": 100 * float((t == g).mean()),
        "unparsed": 100 * float((g < 0).mean()),
    }


def emotion_intervals(
    truth: Labels, guess: Labels, classes: int, seed: Seed, rounds: int = 200
) -> dict[str, list[float]]:
    """95 % bootstrap intervals of UAR and WAR, percent."""
    t, g = np.asarray(truth), np.asarray(guess)

    def score(name: str) -> Callable[[Rows], float]:
        return lambda rows: float(emotion_scores(t[rows], g[rows], classes)[name])

    return {name: bootstrap(score(name), len(t), seed, rounds).times(1.0) for name in ("UAR", "WAR")}


def paired_uar(truth: Labels, low: Labels, high: Labels, seed: Seed, rounds: int = 200) -> Interval:
    """How much more UAR (percent) ``high`` has than ``low`` on the same rows, with its 95 % bootstrap interval."""
    t, a, b = np.asarray(truth), np.asarray(low), np.asarray(high)

    def uar(guess: Labels, rows: Rows) -> float:
        return float(np.mean([(guess[rows] == t[rows])[t[rows] == label].mean() for label in np.unique(t[rows])]))

    return bootstrap(lambda rows: 100 * (uar(b, rows) - uar(a, rows)), len(t), seed, rounds)


def emotion_baselines(
    truth: Labels, classes: int, prior: Sequence[float] | None = None
) -> Mapping[str, dict[str, float]]:
    """UAR and WAR (percent) of always saying the commonest emotion, and of drawing one by its frequency.

    ``prior``: frequencies of the training set; without, the set's own.
    """
    counts = np.bincount(np.asarray(truth), minlength=classes).astype(float)
    own = counts / counts.sum()
    known = own if prior is None else np.asarray(prior, float) / np.sum(prior)
    there = counts > 0
    return {
        "majority": {"UAR": 100 * float(there[known.argmax()]) / there.sum(), "WAR": 100 * float(own[known.argmax()])},
        "prior": {"UAR": 100 * float(known[there].mean()), "WAR": 100 * float(own @ known)},
    }
