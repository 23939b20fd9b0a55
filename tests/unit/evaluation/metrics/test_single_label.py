"""Metrics and calibration against hand-worked numbers and, where installed, scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tempered import tempered

from emo_face.core.errors import UserError
from emo_face.evaluation.metrics.calibration import ece, top_label
from emo_face.evaluation.metrics.intervals import bootstrap
from emo_face.evaluation.metrics.scaling import fit_temperature
from emo_face.evaluation.metrics.single_label import (
    accuracy,
    confusion,
    f1_per_class,
    macro_f1,
    nll,
    recall_per_class,
)

RNG = np.random.default_rng(3)
TRUTH = np.array([0, 0, 1, 1, 2, 2])
SAID = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])


def calibrated(n: int, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn from the very probabilities, which are then reported too sharp by ``temperature``."""
    p = RNG.dirichlet(np.ones(7) * 0.6, n)
    truth = np.array([RNG.choice(7, p=row) for row in p])
    return truth, tempered(p, 1 / temperature)


def test_hand_worked() -> None:
    assert confusion(TRUTH, SAID).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert accuracy(TRUTH, SAID) == pytest.approx(4 / 6)
    np.testing.assert_allclose(recall_per_class(TRUTH, SAID), [0.5, 1.0, 0.5])
    np.testing.assert_allclose(f1_per_class(TRUTH, SAID), [0.5, 0.8, 2 / 3])
    assert macro_f1(TRUTH, SAID) == pytest.approx((0.5 + 0.8 + 2 / 3) / 3)
    assert nll(TRUTH[:1], SAID[:1]) == pytest.approx(-np.log(0.7))


def test_against_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    truth, p = calibrated(500)
    assert macro_f1(truth, p) == pytest.approx(sklearn.f1_score(truth, p.argmax(1), average="macro"))
    assert nll(truth, p) == pytest.approx(sklearn.log_loss(truth, p, labels=range(7)))


@pytest.mark.parametrize("kind", ["width", "mass"])
def test_calibration_error_tells_honest_from_overconfident(kind: str) -> None:
    assert ece(*calibrated(6000), kind=kind) < 0.03  # type: ignore[arg-type]
    assert ece(*calibrated(6000, temperature=3.0), kind=kind) > 0.15  # type: ignore[arg-type]


def test_bins_of_equal_mass_are_equal() -> None:
    bins = top_label(*calibrated(100), bins=10, kind="mass")
    assert bins.count.tolist() == [10] * 10
    assert (np.diff(bins.score) >= 0).all()


def test_temperature_is_recovered_and_keeps_the_top_label() -> None:
    truth, p = calibrated(6000, temperature=2.5)
    found = fit_temperature(truth, p)
    assert found == pytest.approx(2.5, rel=0.1)
    cooled = tempered(p, found)
    np.testing.assert_array_equal(cooled.argmax(1), p.argmax(1))
    assert ece(truth, cooled) < 0.03


def test_bootstrap_covers_and_repeats() -> None:
    truth, p = calibrated(400)

    def score(rows: np.ndarray) -> float:
        return accuracy(truth[rows], p[rows])

    first = bootstrap(score, len(truth), seed=1, rounds=300)
    assert first == bootstrap(score, len(truth), seed=1, rounds=300)
    assert first.low < first.value < first.high
    assert 0.05 < first.high - first.low < 0.15  # about 4 * sqrt(p (1 - p) / n)


@pytest.mark.parametrize(
    ("truth", "p", "says"),
    [
        ([], np.zeros((0, 7)), "empty"),
        ([1], np.zeros((2, 7)), "expected truth"),
        ([9], np.full((1, 7), 1 / 7), "0..6"),
        ([1], np.full((1, 7), np.nan), "finite"),
    ],
)
def test_bad_input_is_a_clear_error(truth: list[int], p: np.ndarray, says: str) -> None:
    with pytest.raises(UserError, match=says):
        accuracy(np.array(truth, dtype=int), p)


def test_report_is_one_offline_page(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from emo_face.evaluation.metrics.plots import Scored, write_png, write_report

    truth, p = calibrated(200)
    scored = Scored("faces <script>", tuple("abcdefg"), truth, p)
    assert write_png(scored, tmp_path / "a" / "faces.png").read_bytes()[:4] == b"\x89PNG"
    page = write_report([scored], tmp_path / "report.html", {"accuracy": 0.5}).read_text()
    assert "data:image/png;base64," in page
    assert "<script>" not in page
    assert "http" not in page.replace("http-equiv", "")
