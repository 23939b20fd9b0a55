"""Crops that show no face: noise of every grain, flat fields, slopes, stripes, shapes."""

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.perception.nano.facecrop import CROP


def not_faces(count: int, seed: int, size: int = CROP) -> NDArray[np.uint8]:
    """(count, size, size) uint8; the kinds take turns."""
    rng = np.random.default_rng(seed)
    kinds = (_white, _coarse, _flat, _slope, _stripes, _checks, _pink)
    return np.stack([np.clip(kinds[i % len(kinds)](rng, size), 0, 255).astype(np.uint8) for i in range(count)])


def _white(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    return rng.uniform(0, 256, (size, size))


def _coarse(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    grain = int(rng.integers(3, size))
    small = rng.normal(128, 60, (grain, grain))
    return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC))


def _flat(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    return np.full((size, size), rng.uniform(0, 255)) + rng.normal(0, rng.uniform(0, 2), (size, size))


def _slope(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    a, b = rng.normal(0, 2, 2)
    line = np.arange(size) - size / 2
    return np.asarray(128 + a * line[None] + b * line[:, None])


def _stripes(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    angle, wave = rng.uniform(0, np.pi), rng.uniform(0.15, 1.5)
    line = np.arange(size)
    return np.asarray(128 + 100 * np.sin(wave * (np.cos(angle) * line[None] + np.sin(angle) * line[:, None])))


def _checks(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    side = int(rng.integers(2, 16))
    line = np.arange(size) // side
    return np.where((line[None] + line[:, None]) % 2, rng.uniform(0, 128), rng.uniform(128, 255))


def _pink(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Noise with natural 1/f amplitudes: the statistics of photos without their content."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(size, size))) / frequency
    spectrum[0, 0] = 0
    image = np.real(np.fft.ifft2(spectrum))
    return np.asarray(128 + 50 * image / image.std())
