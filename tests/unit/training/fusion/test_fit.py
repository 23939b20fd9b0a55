"""Learning the pool's weights from made-up students whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest
from tempered import tempered

from emo_face.perception.fusion import FusionParameters
from emo_face.training.fusion.fit import Source, cross_validate, fit, make_pairs, pool, thresholds

START = FusionParameters(label_set="basic7", sources={})


def student(sharpness: float, rng: np.random.Generator, reported: float = 1.0, rows: int = 560) -> Source:
    """Calibrated predictions of a student that knows as much as ``sharpness``, reported with a temperature."""
    truth = np.repeat(np.arange(7), rows // 7)
    logits = rng.normal(0, 1, (len(truth), 7))
    logits[np.arange(len(truth)), truth] += sharpness
    p = tempered(np.exp(logits), 1 / max(sharpness, 1e-3))  # log-likelihood ratio of the unit-variance signal
    return Source(truth, tempered(p, reported), rng.permutation(len(truth)))


def test_overconfident_source_is_cooled() -> None:
    rng = np.random.default_rng(0)
    found = fit(student(1.5, rng), student(1.5, rng, reported=0.4), START, np.random.default_rng(1))
    assert found.source("face").temperature == pytest.approx(1.0, abs=0.15)
    assert found.source("speech").temperature == pytest.approx(2.5, abs=0.5)


def test_worthless_source_loses_its_weight() -> None:
    rng = np.random.default_rng(0)
    good = student(2.0, rng)
    noise = rng.dirichlet(np.ones(7) * 0.3, len(good.truth))
    found = fit(good, Source(good.truth, noise, good.group), START, np.random.default_rng(1))
    says_something = tempered(noise, found.source("speech").temperature).max(1).mean()
    assert found.source("speech").weight < 0.4 or says_something < 0.25


def test_both_together_beat_each_alone_on_held_out_rows() -> None:
    rng = np.random.default_rng(2)
    figures = cross_validate(student(1.5, rng), student(1.5, rng), START, seed=0)
    assert figures["both"]["accuracy"] > max(figures["face"]["accuracy"], figures["speech"]["accuracy"]) + 0.05
    assert figures["both"]["nll"] < min(figures["face"]["nll"], figures["speech"]["nll"])
    assert figures["both"]["ece"] < 0.1


def test_pairs_are_balanced_and_repeatable() -> None:
    rng = np.random.default_rng(2)
    a, b = student(1.0, rng), student(1.0, rng)
    pairs = make_pairs(a, b, np.random.default_rng(5), per_class=20)
    assert np.bincount(pairs.truth).tolist() == [20] * 6 + [120]  # half of a conversation is neutral
    assert {str(kind) for kind in pairs.kind} == {"agree", "still_face", "ordinary_words"}
    again = make_pairs(a, b, np.random.default_rng(5), per_class=20)
    np.testing.assert_array_equal(pool(pairs, START), pool(again, START))


def test_thresholds_stay_in_range_and_skip_unknown_labels() -> None:
    truth = np.array([0, 0, 1, 1])
    p = np.zeros((4, 7))
    p[:, 0] = [0.9, 0.45, 0.3, 0.1]
    p[:, 1] = 1 - p[:, 0]
    found = thresholds([(truth, p)])
    assert set(found) == {"Anger", "Disgust"}
    assert 0.3 < found["Anger"] <= 0.45
