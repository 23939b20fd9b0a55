"""What a mixture of expressions looks like, in words and numbers."""

import math
from collections.abc import Mapping

import numpy as np

from emo_face.core.labels import label_set
from emo_face.core.types import Shown

REST = "Neutral"
NOTICED = 0.1
"""A weaker expression does not show: the face reads as neutral."""


def shown_of(mixture: Mapping[str, float], scale: float = 1.0) -> Shown:
    """What a face shows that is blended of expressions (``facs.yaml``).

    Args:
        mixture: expression -> strength >= 0; ``Neutral`` competes for the name but moves nothing.
        scale: factor on all, >= 0; 0 is a face at rest.
    """
    scale = scale if math.isfinite(scale) else 0.0
    moves = {name: scale * strength for name, strength in mixture.items() if name != REST}
    intensity = min(1.0, sum(moves.values()))
    best = max(moves, key=lambda name: moves[name], default=REST)
    if best == REST or moves[best] < max(NOTICED, scale * mixture.get(REST, 0.0)):
        best = REST
    valence, arousal = _affect(moves)
    return Shown(best, min(1.0, moves.get(best, 0.0)), intensity, valence, arousal)


def _affect(moves: Mapping[str, float]) -> tuple[float, float]:
    """Valence and arousal of the face; expressions without a position in ``labels.yaml`` take no part."""
    known = label_set("expressions")
    total = np.zeros(2)
    for name, strength in moves.items():
        if name in known.labels:
            i = known.index(name)
            total += strength * np.array([known.valence[i], known.arousal[i]])
    valence, arousal = np.clip(total, -1.0, 1.0)
    return float(valence), float(arousal)
