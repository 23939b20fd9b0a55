"""ARKit-52 over UDP in the packet layout of Epic's Live Link Face, for avatars in Unreal and everything that reads it.

One datagram a frame, every number big-endian:

| bytes | content |
|---|---|
| 1 | version, 6 |
| 4 + n | device id: int32 length, UTF-8 |
| 4 + n | subject name: int32 length, UTF-8 |
| 4, 4 | frame number (int32) and part of a frame (float32) |
| 4, 4 | frame rate: numerator, denominator (int32) |
| 1 | number of values, 61 |
| 61 x 4 | float32: the 52 ARKit values in Apple's order, then yaw, pitch, roll in rad of head, left eye, right eye |

Facts: Unreal Engine, AppleARKitLiveLinkSource (packet version 6, port 11111) and EARFaceBlendShape (order).
"""

import math
import struct
import uuid
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.types import Array
from emo_face.face.drivers.udp import UdpSender

VERSION, VALUES, PORT = 6, 61, 11111
DEVICE = str(uuid.uuid5(uuid.NAMESPACE_DNS, "emo_face")).upper()
"""36 characters, as a phone's: PyLiveLinkFace and what was made after it look for the subject at byte 41, unread."""
_EYE_RANGE = math.radians(30.0)


@dataclass(frozen=True, slots=True)
class LiveLinkFrame:
    """One frame. ``values`` is (61,), see above; ``rate`` is (numerator, denominator) in frames per second."""

    device: str
    subject: str
    frame: int
    subframe: float
    rate: tuple[int, int]
    values: Array


def encode(frame: LiveLinkFrame) -> bytes:
    """Bytes of one datagram. Raises ValueError if ``values`` is not 61 finite numbers."""
    values = np.asarray(frame.values, dtype=">f4")
    if values.shape != (VALUES,) or not np.isfinite(values).all():
        raise ValueError(f"expected {VALUES} finite values, got shape {values.shape}")
    device, subject = frame.device.encode(), frame.subject.encode()
    head = struct.pack(f">Bi{len(device)}si{len(subject)}s", VERSION, len(device), device, len(subject), subject)
    return head + struct.pack(">ifiiB", frame.frame, frame.subframe, *frame.rate, VALUES) + values.tobytes()


def values_of(arkit: ArrayLike) -> Array:
    """(61,) values of a face (52,): head at rest, eye angles from the eyeLook channels (1 = 30 degrees)."""
    face = np.clip(np.nan_to_num(np.asarray(arkit, dtype=np.float64)), 0.0, 1.0)
    values = np.zeros(VALUES)
    values[: len(ARKIT_52)] = face
    for first, side, outward in ((55, "Left", 1.0), (58, "Right", -1.0)):
        out, inn, up, down = (face[ARKIT_INDEX[f"eyeLook{d}{side}"]] for d in ("Out", "In", "Up", "Down"))
        values[first] = outward * _EYE_RANGE * (out - inn)
        values[first + 1] = _EYE_RANGE * (up - down)
    return values


class LiveLinkSender(UdpSender):
    """Send faces to one address.

    Args:
        host, port: receiver; a name is looked up once.
        subject: name under which the avatar software lists the face.
        fps: nominal frames per second, written into the packet.

    Attributes:
        dropped: faces that the system would not take. error: why it did not take the last one, or empty.

    Raises:
        ConfigError: the host is unknown or the port out of range.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = PORT, subject: str = "emo_face", fps: int = 60) -> None:
        super().__init__("Live Link receiver", host, port)
        self._subject, self._fps = subject, fps

    def send(self, arkit: ArrayLike, now: float) -> bool:
        """Send a face (52,) seen at ``now`` seconds; False (and counted) if the system would not take it."""
        number = now * self._fps
        whole = math.floor(number)
        frame = LiveLinkFrame(DEVICE, self._subject, whole % 2**31, number - whole, (self._fps, 1), values_of(arkit))
        return self._send([encode(frame)])
