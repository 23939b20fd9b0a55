"""What travels over the face WebSocket: frames out, commands in. Pure functions, no network.

Frame (binary, little-endian, 112 bytes), server to page::

    uint8 version (1) | uint8 count (52) | uint16 sequence | uint32 milliseconds | uint16[52] value / 65535

Meta (text, JSON, when changed, and once per second as a sign of life)::

    {"type": "meta", "live": true, "person": "p00001", "person_emotion": "Sad", "shown": "Sympathy", "strength": 0.6,
     "latency_ms": 43, ...}

Commands (text, JSON), page to server, answered by ``{"type": "ack"}`` or ``{"type": "refused", "reason": "..."}``::

    {"type": "tune", "values": {"jawOpen": 0.4}}          hold these channels, values in [0, 1]
    {"type": "preset", "emotion": "Happy", "intensity": 0.6}
    {"type": "release"}                                    back to what the robot feels
    {"type": "estop"}                                      emergency stop, in every state of the driver
    {"type": "clear_estop"}                                release the stop; moves nothing

The last two are answered by ``{"type": "stop", "success": true, "message": "stopped"}``.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.labels import basic7

VERSION = 1
HEADER = struct.Struct("<BBHI")
MAX_COMMAND = 8192  # bytes; all 52 channels need under 2 kB
MAX_TEXT = 200


class CommandError(ValueError):
    """A command that is refused; the text goes back to the page."""


def quantise(arkit: Sequence[float]) -> bytes:
    """52 values in [0, 1] as little-endian uint16; clipped.

    Raises:
        ValueError: another length, or NaN or infinity among them.
    """
    values = np.asarray(arkit, dtype=np.float64)
    if values.shape != (len(ARKIT_52),):
        raise ValueError(f"expected {len(ARKIT_52)} ARKit values, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{ARKIT_52[int(np.argmin(np.isfinite(values)))]} is not finite")
    return np.round(np.clip(values, 0.0, 1.0) * 65535).astype("<u2").tobytes()


def pack_frame(values: bytes, sequence: int, milliseconds: int) -> bytes:
    """A frame of quantised ``values``; ``sequence`` and ``milliseconds`` wrap."""
    return HEADER.pack(VERSION, len(ARKIT_52), sequence & 0xFFFF, milliseconds & 0xFFFFFFFF) + values


def clean_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``meta`` can be shown: finite numbers, booleans and short texts."""
    clean: dict[str, Any] = {}
    for key, value in meta.items():
        if isinstance(value, bool) or value is None:
            clean[str(key)] = value
        elif isinstance(value, (int, float)) and math.isfinite(value):
            clean[str(key)] = round(value, 3) if isinstance(value, float) else value
        elif isinstance(value, str):
            clean[str(key)] = value[:MAX_TEXT]
    return clean


def parse_command(text: str) -> dict[str, Any]:
    """A checked command.

    Raises:
        CommandError: not JSON, unknown type, channel or emotion, or a value outside [0, 1]; says which.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise CommandError("a command must be JSON") from None
    if not isinstance(raw, dict):
        raise CommandError("a command must be a JSON object")
    kind = raw.get("type")
    if kind == "tune":
        return {"type": "tune", "values": _channels(raw.get("values"))}
    if kind == "preset":
        emotion = raw.get("emotion")
        if not isinstance(emotion, str) or emotion not in basic7().labels:
            raise CommandError(f"emotion must be one of {', '.join(basic7().labels)}")
        return {"type": "preset", "emotion": emotion, "intensity": _unit("intensity", raw.get("intensity", 1.0))}
    if kind in ("release", "estop", "clear_estop"):
        return {"type": kind}
    raise CommandError("type must be tune, preset, release, estop or clear_estop")


def _channels(values: Any) -> dict[str, float]:
    if not isinstance(values, dict) or not values:
        raise CommandError("values must be an object of channel: value")
    for name in values:
        if name not in ARKIT_INDEX:
            raise CommandError(f"unknown channel {str(name)[:40]!r}")
    return {name: _unit(name, value) for name, value in values.items()}


def _unit(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise CommandError(f"{name} must be a number in [0, 1]")
    return float(value)
