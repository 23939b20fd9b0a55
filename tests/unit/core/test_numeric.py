"""Softmax and its kin against SciPy, at sizes where a naive formula overflows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from emo_face.core.numeric import json_ready, log_softmax, sigmoid, softmax

SCORES = np.array([[1.0, -2.0, 0.5], [1000.0, 999.0, -1000.0], [-1e5, 0.0, 0.0], [0.0, -np.inf, 1.0]])


@pytest.mark.parametrize("axis", [-1, 0])
def test_softmax_is_scipys(axis: int) -> None:
    scores = SCORES[:3] if axis == 0 else SCORES
    np.testing.assert_allclose(softmax(scores, axis), special.softmax(scores, axis), atol=1e-15)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(log_softmax(scores, axis), special.log_softmax(scores, axis), atol=1e-12)


def test_sigmoid_is_scipys() -> None:
    scores = np.array([-800.0, -30.0, -1e-9, 0.0, 2.0, 800.0])
    np.testing.assert_allclose(sigmoid(scores), special.expit(scores), atol=1e-15)


def test_single_precision_stays_single() -> None:
    assert softmax(SCORES.astype(np.float32)).dtype == np.float32


def test_json_has_no_nan() -> None:
    given = {"a": [1.0, float("nan")], "b": {"c": (float("inf"), "x", None, 3)}}
    assert json_ready(given) == {"a": [1.0, None], "b": {"c": [None, "x", None, 3]}}
