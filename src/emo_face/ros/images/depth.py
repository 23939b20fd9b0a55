"""Bit depth: what a 16-bit picture holds, which its encoding does not say, and its scaling to 8 bits."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

DEPTHS = (8, 10, 12, 14, 16)
"""Bits a sample of the sensors that are sold; ``mono16`` and ``bayer_rggb16`` carry all of them."""


class BitDepth:
    """The bit depth of one stream, by the largest value that it has shown: a dark picture does not lower it again.

    Cameras put 10 or 12 bits into the low end of 16 (GenICam ``Mono12``, V4L2 ``Y12``), or shift them up to all 16;
    the encoding is the same. ``seen`` is whether a picture of 16 bits came. Not thread-safe: one stream, one reader.
    """

    def __init__(self) -> None:
        self.bits = DEPTHS[0]
        self.seen = False

    def scale(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Scale uint16 of any shape and byte order to uint8: the depth's largest value becomes 255, rounded."""
        native = np.ascontiguousarray(pixels, np.uint16)
        needed = int(native.max(initial=0)).bit_length()
        self.seen = True
        self.bits = max(self.bits, next(bits for bits in DEPTHS if bits >= needed))
        # convertScaleAbs wants at most two dimensions and four channels; a row of values is enough
        flat = cv2.convertScaleAbs(native.reshape(1, -1), alpha=255.0 / ((1 << self.bits) - 1))
        return np.asarray(flat, np.uint8).reshape(native.shape)
