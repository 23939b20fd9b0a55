"""From features of a face to actuator drives: sums, or bounded least squares if channels are shared."""

import numpy as np

from emo_face.core.types import Array, BoolArray
from emo_face.face.expressions.boxqp_warm import WarmBoxQP

RIDGE = 1e-3
"""Cost of driving an actuator fully, relative to missing a channel fully: decides only between equal solutions."""


class Mixer:
    """Turn features (m,) into drives (n,), each in [-1, 1]: -1 the - end, 0 neutral, 1 the + end.

    An actuator with gains g on one side shows f = d g / |g|^2 at drive d (the pseudo-inverse of d = g . f), shared out
    among the actuators that serve a feature; ``shows`` overrides that. Drives minimise |E d - f|^2 within their ranges.
    Actuators that share no feature with another are solved in closed form, the others by an exact box QP. Products of
    channels correct the result: they are added to it.

    Args:
        gains: (n, m) share of the way per feature.
        shows_plus, shows_minus: (m, n) what each end shows, NaN columns to derive it from the gains.
        signed: (m,) features that may be negative.
        products: (m,) features that are products of two channels.
        ends: (n, 2) bool, whether the actuator has a + and a - end away from neutral.
        least_squares: False sums the gains and cuts.
    """

    def __init__(
        self,
        gains: Array,
        shows_plus: Array,
        shows_minus: Array,
        signed: BoolArray,
        products: BoolArray,
        ends: BoolArray,
        least_squares: bool = True,
    ) -> None:
        self.gains = gains
        self._low = np.where(ends[:, 1], -1.0, 0.0)
        self._high = np.where(ends[:, 0], 1.0, 0.0)
        self._corrections = np.where(products, gains, 0.0)
        self._corrects = bool(products.any())
        self.plus, self.minus = _effects(np.where(products, 0.0, gains), signed)
        for derived, given in ((self.plus, shows_plus), (self.minus, shows_minus)):
            known = ~np.isnan(given).any(axis=0)
            derived[:, known] = given[:, known]
        self.plus *= ends[:, 0]
        self.minus *= ends[:, 1]
        n = gains.shape[0]
        described = np.asarray(~np.isnan(shows_plus).any(axis=0))
        self._shared = self._tangled(described) if least_squares else np.zeros(n, dtype=bool)
        columns = np.flatnonzero(self._shared)
        both = np.concatenate([self.plus[:, columns], self.minus[:, columns]], axis=1)
        self._columns, self._both = columns, both
        self._hessian = both.T @ both + RIDGE * np.eye(both.shape[1])
        self._qp = WarmBoxQP(self._hessian)
        used = np.abs(both).sum(axis=0) > 0
        self._single = np.flatnonzero(used & ~np.roll(used, columns.size))  # ends without an opposite end
        self._around = WarmBoxQP(self._hessian[np.ix_(self._single, self._single)])

    def _tangled(self, described: BoolArray) -> BoolArray:
        """Actuators that share a feature with another one, or whose ends are described by what they show."""
        uses = ((self.plus != 0) | (self.minus != 0)).T
        common = uses.astype(int) @ uses.T.astype(int)
        np.fill_diagonal(common, 0)
        return np.asarray(common.any(axis=1) | described)

    def drive(self, features: Array) -> Array:
        """(n,) drives for features (m,), finite."""
        drives = np.minimum(np.maximum(self.gains @ features, self._low), self._high)
        if not self._columns.size:
            return np.asarray(drives)
        drives[self._columns] = self._solve(features)
        if self._corrects:
            drives[self._columns] += (self._corrections @ features)[self._columns]
            np.clip(drives, self._low, self._high, out=drives)
        return np.asarray(drives)

    def _solve(self, features: Array) -> Array:
        """Drives of the tangled actuators, continuous in the features.

        If a face asks for both ends of an actuator (browInnerUp and browDown in fear) it goes in between and shows
        neither fully; the actuators that have one end only are then solved again around what it does show.
        """
        linear, half = self._both.T @ features, self._columns.size
        ends = self._qp.solve(linear)
        if (np.minimum(ends[:half], ends[half:]) > 1e-6).any():
            drive = ends[:half] - ends[half:]
            ends = np.maximum(np.concatenate([drive, -drive]), 0.0)
            ends[self._single] = 0.0
            ends[self._single] = self._around.solve((linear - self._hessian @ ends)[self._single])
        return np.asarray(ends[:half] - ends[half:])

    def shown(self, drives: Array) -> Array:
        """(m,) features that the face shows at ``drives`` (n,)."""
        return np.asarray(self.plus @ np.maximum(drives, 0.0) + self.minus @ np.maximum(-drives, 0.0))


def _effects(gains: Array, signed: BoolArray) -> tuple[Array, Array]:
    """(m, n) features shown at the + end and at the - end."""
    sides = []
    for sign in (1.0, -1.0):
        side = np.maximum(sign * gains, 0.0) + np.where(signed, np.minimum(sign * gains, 0.0), 0.0)
        power = (side**2).sum(axis=1, keepdims=True)
        sides.append(np.divide(side, power, out=np.zeros_like(side), where=power > 0))
    for side in sides:
        serving = (side != 0).sum(axis=0)
        side /= np.maximum(serving, 1)
    return sides[0].T.copy(), sides[1].T.copy()
