"""Actuators of a head simulated by MuJoCo: position servos with inertia, friction, limited force, stops."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_face.core.install import how_to_install
from emo_face.core.types import Array
from emo_face.face.drivers.base import Driver, DriverError, Feedback, MissingLibrary
from emo_face.face.drivers.stop_report import StopReport, StopState
from emo_face.face.sim.head import SERVO, model_xml

if TYPE_CHECKING:
    from emo_face.face.rig.rig import Rig


def mujoco() -> Any:
    """The library, drawing by EGL unless MUJOCO_GL says otherwise. Raises MissingLibrary without it."""
    if importlib.util.find_spec("mujoco") is None:
        raise MissingLibrary(f"the simulated head needs MuJoCo: {how_to_install('sim')}")
    os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        return importlib.import_module("mujoco")
    except Exception:  # each renderer fails in its own way if it is missing, and the head can move without one
        for name in [name for name in sys.modules if name.partition(".")[0] == "mujoco"]:
            del sys.modules[name]
        os.environ["MUJOCO_GL"] = "disable"
        return importlib.import_module("mujoco")


class SimDriver(Driver):
    """A simulated bus: each actuator is a hinge that turns 2 rad on its whole way.

    Args:
        rig: names and ranges. period: seconds that pass with each write.

    Raises:
        MissingLibrary: MuJoCo is not installed.
    """

    def __init__(self, rig: Rig, period: float = 0.01) -> None:
        self._library = mujoco()
        self.model = self._library.MjModel.from_xml_string(model_xml(rig))
        self.data = self._library.MjData(self.model)
        self.names, self._low, self._high = rig.names, rig.limits.lower, rig.limits.upper
        self._joints = np.array([self.model.joint(f"servo.{name}").qposadr[0] for name in self.names])
        self._steps = max(1, round(period / self.model.opt.timestep))
        self.data.qpos[self._joints] = self._angle(rig.limits.neutral)
        self._on = False
        self.connected = False
        self._power(False)

    @property
    def position(self) -> Array:
        """(n,) where the actuators are, in their own units."""
        angle = self.data.qpos[self._joints]
        return np.asarray(self._low + (angle + 1.0) / 2.0 * (self._high - self._low))

    def connect(self, keep_torque: bool = False) -> None:
        self.connected = True
        self._power(self._on and keep_torque)

    def enable(self, on: bool) -> None:
        self._check()
        if on != self._on:
            self._power(on)

    def write(self, position: Array) -> None:
        self._check()
        if position.shape != self._low.shape or not np.isfinite(position).all():
            raise DriverError(f"simulated bus: expected {self._low.shape} finite positions, got {position!r}")
        if self._on:
            self.data.ctrl[:] = self._angle(position)
        self._library.mj_step(self.model, self.data, self._steps)

    def read(self) -> Feedback:
        self._check()
        load = np.clip(self.data.actuator_force / SERVO["force"], -1.0, 1.0)
        return Feedback(self.position, np.asarray(load), torque=self.torque())

    def torque(self) -> Array:
        return np.full(len(self.names), float(self._on))

    def estop(self, patience: float = 0.15) -> StopReport:
        self._power(False)
        return StopReport(StopState.STOPPED)

    def close(self) -> None:
        self.connected = False

    def _angle(self, position: Array) -> Array:
        return np.asarray(2.0 * (position - self._low) / (self._high - self._low) - 1.0)

    def _power(self, on: bool) -> None:
        """Servos with or without force; friction holds what has none. Switching on moves nothing."""
        self._on = on
        self.data.ctrl[:] = self.data.qpos[self._joints]
        self.model.actuator_gainprm[:, 0] = SERVO["kp"] if on else 0.0
        self.model.actuator_biasprm[:, 1] = -SERVO["kp"] if on else 0.0

    def _check(self) -> None:
        if not self.connected:
            raise DriverError("simulated bus: not connected; call connect()")
