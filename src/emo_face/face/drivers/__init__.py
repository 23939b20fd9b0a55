"""Actuator drivers behind one protocol. Vendors' libraries are imported only when a rig asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emo_face.core.errors import ConfigError
from emo_face.face.drivers.base import Driver, DriverError, Feedback, MissingLibrary
from emo_face.face.drivers.stop_report import StopReport, StopState

if TYPE_CHECKING:
    from emo_face.face.rig.rig import Rig

__all__ = ["Driver", "DriverError", "Feedback", "MissingLibrary", "StopReport", "StopState", "open_driver"]

SIMULATED = frozenset({"mock", "recorder", "sim"})
"""Drivers without motors behind them."""
SPEED_ROOM = 1.1
"""Goal speed over the velocity limit: room to catch up with a goal, and a bound on every step."""


def open_driver(rig: Rig, period: float = 0.01, kind: str | None = None, **overrides: Any) -> Driver:
    """Build the driver that a rig asks for; it connects later.

    Args:
        rig: names, ids, units, limits and ``driver`` section.
        period: loop period in seconds.
        kind: another driver than the rig's, for example ``mock`` on a machine without motors.
        overrides: options that win over the rig's, for example ``port``.

    Raises:
        ConfigError: unknown kind or option, a unit or id that does not fit; names file and line of the rig.
        MissingLibrary: all fits, but the library of the bus is not installed.
    """
    chosen = kind or rig.driver.kind
    options = {**(rig.driver.options if chosen == rig.driver.kind else {}), **overrides}
    try:
        return _build(chosen, rig, period, options)
    except MissingLibrary:
        raise
    except TypeError as error:
        unknown = str(error).partition("unexpected keyword argument ")[2] or str(error)
        raise rig.source.error(("driver", "options"), f"the {chosen} driver has no option {unknown}") from None
    except ConfigError as error:
        raise rig.source.error(("driver", "options"), str(error)) from None


def _build(kind: str, rig: Rig, period: float, options: dict[str, Any]) -> Driver:
    limits = rig.limits
    if kind == "mock":
        from emo_face.face.drivers.mock import MockDriver

        strength = {"full_load": 0.1 * (limits.upper - limits.lower)}
        return MockDriver(rig.names, start=limits.neutral, dt=period, **{**strength, **options})
    if kind == "recorder":
        from emo_face.face.drivers.recorder import RecorderDriver

        return RecorderDriver(rig.names, **options)
    if kind == "sim":
        from emo_face.face.drivers.sim import SimDriver

        return SimDriver(rig, period, **options)
    if kind == "trajectory":
        from emo_face.face.drivers.trajectory import TrajectoryDriver

        bounds = (limits.lower, limits.upper, limits.velocity, limits.acceleration)
        return TrajectoryDriver(rig.names, period=period, limits=bounds, **options)
    if kind == "pca9685":
        from emo_face.face.drivers.pca9685 import Pca9685Driver

        return Pca9685Driver(rig.names, rig.ids, rig.units, **options)
    speed = SPEED_ROOM * limits.velocity
    if kind == "dynamixel":
        from emo_face.face.drivers.dynamixel import DynamixelDriver

        return DynamixelDriver(rig.names, rig.ids, rig.units, **{"speed": speed, **options})
    if kind == "feetech":
        from emo_face.face.drivers.feetech import FeetechDriver

        return FeetechDriver(rig.names, rig.ids, rig.units, **{"speed": speed, **options})
    raise ConfigError(
        f"unknown driver {kind!r}: expected mock, recorder, sim, trajectory, pca9685, dynamixel or feetech"
    )
