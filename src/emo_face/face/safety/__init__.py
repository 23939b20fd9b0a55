"""The safety gate and what it is made of: limits, the jerk limiter, interlocks."""

from emo_face.face.safety.gate import CATCH_UP, SafetyGate
from emo_face.face.safety.limits import ActuatorLimits
from emo_face.face.safety.state import EstopAction, GateOutput, GateState

__all__ = ["CATCH_UP", "ActuatorLimits", "EstopAction", "GateOutput", "GateState", "SafetyGate"]
