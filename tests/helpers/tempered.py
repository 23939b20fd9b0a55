"""Distributions at another temperature."""

from __future__ import annotations

import numpy as np

from emo_face.core.numeric import softmax


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Softer (above 1) or sharper (below 1) rows (n, c)."""
    return softmax(np.log(np.maximum(probabilities, 1e-12)) / temperature)
