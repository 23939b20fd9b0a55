"""A reader of the face WebSocket's frames, written from the table at the head of ``emo_face.web.protocol``."""

from __future__ import annotations

import struct

import numpy as np


def read_face_frame(frame: bytes) -> tuple[int, int, np.ndarray]:
    """Sequence, milliseconds and (52,) values in [0, 1]."""
    version, count, sequence, milliseconds, *values = struct.unpack("<BBHI52H", frame)
    assert (version, count) == (1, 52)
    return sequence, milliseconds, np.array(values) / 65535
