"""An expression over time: decoded keyframes, and the face between them."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emo_face.core.types import Array, ExpressionTarget, FloatArray, Keyframe
from emo_face.face.expressions.basis import Basis, FaceCode
from emo_face.face.expressions.facs import default_facs

ARKIT_BASIS = "arkit-52"
"""Coefficients that are the 52 ARKit activations themselves: nothing to decode."""


@dataclass(frozen=True, slots=True)
class Keyframes:
    """Faces with their times.

    Attributes:
        offsets: seconds after the start, rising. faces: one (52,) each, in [0, 1].
        flames: one (100,) each if the basis is FLAME's, else empty.
    """

    offsets: tuple[float, ...]
    faces: tuple[Array, ...]
    flames: tuple[Array, ...] = ()

    @property
    def length(self) -> float:
        """Seconds until the last face is reached."""
        return self.offsets[-1]

    def at(self, time: float) -> tuple[Array, Array | None]:
        """Face (52,) and FLAME coefficients (100,), or None, ``time`` seconds after the start.

        Between two keyframes the face goes in a straight line; before the first and after the last it stands.
        """
        after = bisect_right(self.offsets, time)
        low, high = max(after - 1, 0), min(after, len(self.offsets) - 1)
        span = self.offsets[high] - self.offsets[low]
        share = (time - self.offsets[low]) / span if span > 0 else 0.0
        return _between(self.faces, low, high, share), _between(self.flames, low, high, share) if self.flames else None


def _between(values: tuple[Array, ...], low: int, high: int, share: float) -> Array:
    return np.asarray(values[low] + share * (values[high] - values[low]))


class Decoder:
    """Decodes targets, each face solved for from the one before; what is published again is not solved again.

    Args:
        basis: finds a basis by name, or raises KeyError.
    """

    def __init__(self, basis: Callable[[str], Basis]) -> None:
        self._basis = basis
        self._key: tuple[object, ...] = ()
        self._last: Keyframes | None = None

    def __call__(self, target: ExpressionTarget) -> Keyframes:
        """The target's faces.

        Raises:
            KeyError: the basis is unknown here. ValueError: a field has a wrong length or is not finite.
        """
        key = (target.basis, *(_bytes(key) for key in target.keyframes))
        if self._last is None or key != self._key:
            self._key, self._last = key, self._decode(target)
        return self._last

    def _decode(self, target: ExpressionTarget) -> Keyframes:
        offsets = tuple(key.offset for key in target.keyframes)
        if target.basis == ARKIT_BASIS:
            return Keyframes(offsets, tuple(_arkit(key.coefficients) for key in target.keyframes))
        decoder, before = self._basis(target.basis), None if self._last is None else self._last.faces[-1]
        found: list[Array] = []
        for key in target.keyframes:
            # the eyes are moved by the gaze layer; decoding them too would look twice as far
            code = FaceCode(key.coefficients, key.jaw_pose, key.eyelids, np.zeros(2))
            before = np.asarray(decoder.decode(code, before), np.float64)
            found.append(before)
        flame = target.basis.startswith("flame")
        flames = tuple(np.asarray(key.coefficients, np.float64) for key in target.keyframes) if flame else ()
        return Keyframes(offsets, tuple(found), flames)


def stand_in(target: ExpressionTarget) -> Keyframes:
    """The FACS prototype of what a target says it shows, for coefficients that nobody here can decode.

    Of several keyframes each is as strong as its coefficients are beside the strongest one's.

    Raises:
        KeyError: what is shown has no prototype either. ValueError: a number is not finite.
    """
    facs, shown = default_facs(), target.shown
    if shown.name not in facs.expressions and shown.name != "Neutral":
        raise KeyError(shown.name)
    sizes = np.array([float(np.linalg.norm(key.coefficients)) for key in target.keyframes])
    if not np.isfinite([*sizes, shown.strength]).all():
        raise ValueError("a number is not finite")
    shares = sizes / sizes.max() if sizes.max() > 0 else sizes
    mixture = {shown.name: shown.strength} if shown.name != "Neutral" else {}
    faces = tuple(np.asarray(facs.arkit(mixture, float(share)), np.float64) for share in shares)
    return Keyframes(tuple(key.offset for key in target.keyframes), faces)


def _bytes(key: Keyframe) -> bytes:
    parts = (np.float64(key.offset), key.coefficients, key.jaw_pose, key.eyelids)
    return b"".join(np.asarray(part).tobytes() for part in parts)


def _arkit(values: FloatArray) -> Array:
    face = np.asarray(values, np.float64)
    if face.shape != (52,) or not np.isfinite(face).all():
        raise ValueError(f"expected 52 finite ARKit activations, got shape {face.shape}")
    return np.clip(face, 0.0, 1.0)
