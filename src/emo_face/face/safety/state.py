"""States and outputs of the safety gate."""

from enum import Enum
from typing import NamedTuple

from emo_face.core.types import Array


class GateState(str, Enum):
    """What the gate is doing."""

    DISABLED = "disabled"
    """Torque off; follows nothing."""
    ACTIVE = "active"
    """Follows commands."""
    STALE = "stale"
    """No fresh command: easing to, or resting at, neutral."""
    ESTOP = "estop"
    """Latched until :meth:`~emo_face.face.safety.gate.SafetyGate.clear_estop`."""


class EstopAction(str, Enum):
    """What an emergency stop does to the motors, chosen by the rig."""

    TORQUE_OFF = "torque_off"
    HOLD = "hold"


class GateOutput(NamedTuple):
    """What a driver is told at one tick: ``position`` (n,) in actuator units, ``torque`` on or off, and the state."""

    position: Array
    torque: bool
    state: GateState
