"""YUV to BGR with NumPy alone: ITU-R BT.601, limited range, 20-bit fixed point (the pixels that OpenCV makes)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import ImageArray

_SHIFT = 20
_BLOCK = 64  # rows at a time: the 32-bit temporaries stay in the cache, also for 8K

_centred = np.arange(256, dtype=np.int64) - 128
_HALF = 1 << (_SHIFT - 1)
# BT.601: R = 1.164(Y-16) + 1.596(V-128); G = ... - 0.391(U-128) - 0.813(V-128); B = ... + 2.018(U-128)
_LUMA = (np.maximum(np.arange(256, dtype=np.int64) - 16, 0) * 1220542).astype(np.int32)
_U_TO_B = (_centred * 2116026 + _HALF).astype(np.int32)
_U_TO_G = (_centred * -409993 + _HALF).astype(np.int32)
_V_TO_G = (_centred * -852492).astype(np.int32)
_V_TO_R = (_centred * 1673527 + _HALF).astype(np.int32)


def _write(out: NDArray[Any], luma: NDArray[Any], u: NDArray[Any], v: NDArray[Any]) -> None:
    """Fill ``out`` (..., 3) from luma of shape (...) and chroma that broadcasts to it."""
    y = _LUMA[luma]
    for channel, chroma in enumerate((_U_TO_B[u], _U_TO_G[u] + _V_TO_G[v], _V_TO_R[v])):
        level = (y + chroma) >> _SHIFT
        np.clip(level, 0, 255, out=level)
        out[..., channel] = level


def packed422_to_bgr(pixels: NDArray[Any], *, luma_first: bool) -> ImageArray:
    """Convert packed 4:2:2, (height, width, 2) uint8 of even width, to BGR.

    Args:
        luma_first: True for YUYV (``yuv422_yuy2``), False for UYVY (``yuv422``).
    """
    height, width = pixels.shape[:2]
    first, second = (0, 1) if luma_first else (1, 0)
    out = np.empty((height, width // 2, 2, 3), np.uint8)
    pairs = pixels[..., second]
    for top in range(0, height, _BLOCK):
        rows = slice(top, top + _BLOCK)
        luma = np.ascontiguousarray(pixels[rows, :, first]).reshape(-1, width // 2, 2)
        _write(out[rows], luma, pairs[rows, 0::2, None], pairs[rows, 1::2, None])
    return out.reshape(height, width, 3)


def nv12_to_bgr(planes: NDArray[Any]) -> ImageArray:
    """Convert NV12, (height * 3 / 2, width) uint8 (luma, then interleaved UV at half size), to BGR."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    out = np.empty((height // 2, 2, width // 2, 2, 3), np.uint8)
    chroma = planes[height:]
    for top in range(0, height // 2, _BLOCK):
        rows = slice(top, top + _BLOCK)
        luma = np.ascontiguousarray(planes[2 * top : min(2 * (top + _BLOCK), height)]).reshape(-1, 2, width // 2, 2)
        _write(out[rows], luma, chroma[rows, None, 0::2, None], chroma[rows, None, 1::2, None])
    return out.reshape(height, width, 3)
