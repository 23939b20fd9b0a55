"""The face over UDP in the VMC protocol, for VRM avatars (VSeeFace, VNyan, Warudo, VMagicMirror, Unity, Blender).

OSC 1.0 bundles of at most 1400 bytes, so that no network cuts them: ``/VMC/Ext/Blend/Val name value`` for every
expression, then ``/VMC/Ext/Blend/Apply``, ``/VMC/Ext/OK 1`` and ``/VMC/Ext/T seconds``, which tell a receiver that
somebody sends. The names are the 52 of ARKit as avatars made for "perfect sync" have them (``BrowInnerUp``), and the
presets of VRM 0.x that a face has for all others: ``A``, ``Blink_L``, ``Blink_R``, ``Joy``, ``Angry``, ``Sorrow``,
``Fun``. An avatar takes those that it knows.

Facts: "Virtual Motion Capture Protocol", protocol.vmc.info, Marionette (v2.x), port 39539; "The Open Sound Control 1.0
Specification", opensoundcontrol.stanford.edu: four-byte boundaries, big-endian, ``#bundle`` with time tag 1 ("now").
"""

import struct

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.types import FloatArray
from emo_face.face.drivers.udp import UdpSender

PORT = 39539
LARGEST = 1400  # bytes of a datagram
IMMEDIATELY = struct.pack(">Q", 1)
PERFECT_SYNC = tuple(name[0].upper() + name[1:] for name in ARKIT_52)
PRESETS: dict[str, tuple[str, ...]] = {
    "A": ("jawOpen",),
    "Blink_L": ("eyeBlinkLeft",),
    "Blink_R": ("eyeBlinkRight",),
    "Joy": ("mouthSmileLeft", "mouthSmileRight"),
    "Angry": ("browDownLeft", "browDownRight"),
    "Sorrow": ("mouthFrownLeft", "mouthFrownRight"),
    "Fun": ("cheekSquintLeft", "cheekSquintRight"),
}
"""VRM 0.x preset -> the ARKit channels whose mean it is (ours)."""


def string(text: str) -> bytes:
    """An OSC string: ended by a zero, padded to four bytes."""
    data = text.encode("ascii", "replace")
    return data + b"\0" * (4 - len(data) % 4)


def message(address: str, *values: float | int | str) -> bytes:
    """An OSC message; floats are ``f``, integers ``i``, texts ``s``."""
    kinds, body = ",", b""
    for value in values:
        if isinstance(value, str):
            kinds, body = kinds + "s", body + string(value)
        elif isinstance(value, int):
            kinds, body = kinds + "i", body + struct.pack(">i", value)
        else:
            kinds, body = kinds + "f", body + struct.pack(">f", value)
    return string(address) + string(kinds) + body


def bundle(messages: list[bytes]) -> bytes:
    """An OSC bundle to be done at once."""
    return string("#bundle") + IMMEDIATELY + b"".join(struct.pack(">i", len(part)) + part for part in messages)


def expressions_of(arkit: ArrayLike) -> dict[str, float]:
    """Name -> value in [0, 1] of a face (52,): perfect sync, then the presets. What is not finite counts as 0."""
    face: FloatArray = np.clip(np.nan_to_num(np.asarray(arkit, dtype=np.float64), posinf=0.0, neginf=0.0), 0.0, 1.0)
    values = {name: float(value) for name, value in zip(PERFECT_SYNC, face, strict=True)}
    for name, channels in PRESETS.items():
        values[name] = float(np.mean([face[ARKIT_INDEX[channel]] for channel in channels]))
    return values


def datagrams(arkit: ArrayLike, now: float) -> list[bytes]:
    """The bundles of a face (52,) seen at ``now`` seconds, in the order in which they are sent."""
    parts = [message("/VMC/Ext/Blend/Val", name, value) for name, value in expressions_of(arkit).items()]
    parts += [message("/VMC/Ext/Blend/Apply"), message("/VMC/Ext/OK", 1), message("/VMC/Ext/T", now)]
    found: list[list[bytes]] = [[]]
    for part in parts:
        if len(bundle([*found[-1], part])) > LARGEST:
            found.append([])
        found[-1].append(part)
    return [bundle(some) for some in found]


class VmcSender(UdpSender):
    """Send faces to one address.

    Args:
        host, port: receiver; a name is looked up once.

    Attributes:
        dropped: faces that the system would not take. error: why it did not take the last one, or empty.

    Raises:
        ConfigError: the host is unknown or the port out of range.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = PORT) -> None:
        super().__init__("VMC receiver", host, port)

    def send(self, arkit: ArrayLike, now: float) -> bool:
        """Send a face (52,) seen at ``now`` seconds; False (and counted) if the system would not take it."""
        return self._send(datagrams(arkit, now))
