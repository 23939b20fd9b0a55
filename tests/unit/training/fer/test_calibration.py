"""The FER student's temperature is that of faces from everywhere; people who pose move its biases alone."""

from __future__ import annotations

import numpy as np

from emo_face.core.labels import basic7
from emo_face.evaluation.fer.folds import FoldPrediction
from emo_face.training.fer.calibration import calibrate


def _said(source: str, certainty: float, right: float, seed: int) -> list[FoldPrediction]:
    """300 answers with ``certainty`` as the logit of the one named, of which the share ``right`` is true."""
    rng, labels, out = np.random.default_rng(seed), basic7().labels, []
    for i in range(300):
        truth = int(rng.integers(7))
        named = truth if rng.random() < right else int((truth + rng.integers(1, 7)) % 7)
        logits = tuple(certainty * (k == named) for k in range(7))
        out.append(FoldPrediction(source, str(i), f"{source}:{i}", labels[truth], "", i % 5, logits, 1.0))
    return out


def test_the_temperature_makes_the_crowd_s_certainty_its_accuracy_whatever_people_posed() -> None:
    crowd = _said("ferplus", 6.0, 0.8, 0)  # says 0.985
    posed = _said("london", 6.0, 0.3, 1)
    alone, both = calibrate(posed), calibrate(posed, crowd)
    right = np.mean([basic7().labels[int(np.argmax(f.logits))] == f.label for f in crowd])
    e = np.exp(6.0 / both.temperature)
    assert abs(e / (e + 6) - right) < 0.02
    assert alone.temperature > 2 * both.temperature


def test_what_people_posed_still_moves_the_biases() -> None:
    crowd = _said("ferplus", 3.0, 0.7, 0)
    happy = basic7().index("Happy")
    posed = [f for f in _said("london", 3.0, 0.7, 1) if f.label != "Happy"]
    assert calibrate(posed, crowd).bias[happy] < calibrate(crowd, crowd).bias[happy] - 0.05
