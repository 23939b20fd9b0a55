"""A reader of Live Link Face packets by the lengths in them: version, texts, frame time, values."""

from __future__ import annotations

import struct

import numpy as np

from emo_face.face.drivers.livelink import LiveLinkFrame


def decode(packet: bytes) -> LiveLinkFrame:
    """The frame in a datagram; struct.error if it is longer or shorter than its lengths say."""
    (device,) = struct.unpack_from(">i", packet, 1)
    (subject,) = struct.unpack_from(">i", packet, 5 + device)
    version, _, name, _, title, frame, part, numerator, denominator, count, *values = struct.unpack(
        f">Bi{device}si{subject}sifiiB61f", packet
    )
    assert (version, count) == (6, 61)
    return LiveLinkFrame(name.decode(), title.decode(), frame, part, (numerator, denominator), np.array(values))
