"""Robots that read people's emotions and answer with their face.

    seen = emo_face.look("photo.jpg")               # people: boxes, probabilities, evidence
    said = emo_face.say("What a lovely surprise!")  # probabilities, and the face that goes with them
    with emo_face.drive("minimal_4servo", driver="mock") as head:
        head.show(said)

The names in ``__all__`` are the public interface and follow semantic versioning (docs/api.md); the rest may change
with any release. They are imported when first used, so ``import emo_face`` itself costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module

TYPE_CHECKING = False  # as type checkers read it: typing takes long enough for a Ctrl-C to fall into it
if TYPE_CHECKING:
    from typing import Any

    from emo_face.api.drive import DrivenHead, drive
    from emo_face.api.look import LookResult, PersonReading, look
    from emo_face.api.say import SayResult, say
    from emo_face.core.errors import ConfigError, ModelError, UserError
    from emo_face.core.types import Box, Emotion, Face, Person
    from emo_face.face.control.bus_health import BusHealth

__version__ = "0.1.0"

# ONNX Runtime's Linux wheels report models and a device's id to their maker since 1.29, unless this is set when they
# are imported (microsoft/onnxruntime, docs/Privacy.md). Whoever wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "emo_face.api.drive": ("DrivenHead", "drive"),
    "emo_face.api.look": ("LookResult", "PersonReading", "look"),
    "emo_face.api.say": ("SayResult", "say"),
    "emo_face.core.errors": ("ConfigError", "ModelError", "UserError"),
    "emo_face.core.types": ("Box", "Emotion", "Face", "Person"),
    "emo_face.face.control.bus_health": ("BusHealth",),
}
_WHERE = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Box",
    "BusHealth",
    "ConfigError",
    "DrivenHead",
    "Emotion",
    "Face",
    "LookResult",
    "ModelError",
    "Person",
    "PersonReading",
    "SayResult",
    "UserError",
    "__version__",
    "drive",
    "look",
    "say",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'emo_face' has no attribute {name!r}: public are {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(_WHERE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
