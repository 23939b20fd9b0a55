"""The safety gate and what it is made of: limits, the jerk limiter, interlocks."""

from emo_face.face.safety.gate import CATCH_UP, EstopAction, GateOutput, GateState, SafetyGate
from emo_face.face.safety.limits import ActuatorLimits

__all__ = ["CATCH_UP", "ActuatorLimits", "EstopAction", "GateOutput", "GateState", "SafetyGate"]
