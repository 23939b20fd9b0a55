"""Figures of a face model on the test faces of FER+, which no model here was trained on."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from emo_face.core.labels import basic7
from emo_face.datasets.faces.ferplus import SOURCE
from emo_face.evaluation.fer.figures import Judged, calibration_error, of_source


def crowd_figures(judged: Sequence[Judged]) -> dict[str, Any]:
    """Accuracy, mean recall of the seven labels (UAR) and expected calibration error; ``judged``: of FER+ alone."""
    said = of_source(judged, SOURCE)
    hit = said.probabilities.argmax(axis=1) == said.truth
    present = [k for k in range(len(basic7())) if (said.truth == k).any()]
    return {
        "ferplus_accuracy": round(float(hit.mean()), 4),
        "ferplus_uar": round(float(np.mean([hit[said.truth == k].mean() for k in present])), 4),
        "ferplus_ece": round(calibration_error(judged), 4),
        "ferplus_faces": len(said.truth),
    }
