"""Pictures by reference: the same memory, read-only, only where somebody offers them."""

from __future__ import annotations

import numpy as np
import pytest

from emo_face.ros.images.local import LocalImage, LocalPictures

FRAME = np.zeros((4, 6, 3), np.uint8)


def test_readers_get_the_camera_s_own_pixels() -> None:
    pictures, seen = LocalPictures(), list[LocalImage]()
    pictures.offer("/camera/image_raw")
    assert pictures.listen("/camera/image_raw", seen.append)
    assert pictures.listen("/camera/image_raw", seen.append)
    assert pictures.hand("/camera/image_raw", "header", FRAME) == 2
    first, second = seen
    assert first.header == "header"
    assert np.shares_memory(first.frame, FRAME)
    assert np.shares_memory(second.frame, FRAME)
    with pytest.raises(ValueError, match="read-only"):
        first.frame[0, 0] = 1
    assert FRAME.flags.writeable


def test_what_nobody_offers_is_read_over_dds() -> None:
    pictures = LocalPictures()
    pictures.offer("/camera/image_raw")
    assert not pictures.listen("/other/image_raw", lambda picture: None)
    assert pictures.hand("/camera/image_raw", "header", FRAME) == 0
    assert pictures.hand("/other/image_raw", "header", FRAME) == 0
