"""ARKit faces for tests, written by channel names."""

from __future__ import annotations

import numpy as np

from emo_face.core.arkit import ARKIT_INDEX


def arkit_values(**channels: float) -> np.ndarray:
    """(52,) from channel names; a name without a side sets both."""
    values = np.zeros(52)
    for name, value in channels.items():
        for full in [name] if name in ARKIT_INDEX else [f"{name}Left", f"{name}Right"]:
            values[ARKIT_INDEX[full]] = value
    return values
