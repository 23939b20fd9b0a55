"""What a robot's camera does to a face: crop jitter, scale, blur, JPEG, low light, noise, shadows, hands in front."""

import cv2
import numpy as np

from emo_face.core.types import FloatArray, UInt8Array
from emo_face.perception.nano.facecrop import CROP

WIDE = 128
WIDE_SPREAD = 1.7
"""Side of the stored wide crop over the side of the crop the student sees: room for jitter."""


def view(
    wide: UInt8Array,
    rng: np.random.Generator | None,
    strength: float = 1.0,
    size: int = CROP,
    spread: float = 1.0,
) -> UInt8Array:
    """(size, size) crop of a wide crop, ``spread`` times as wide as the student's.

    Args:
        rng: jitters place, size, tilt, aspect and side, times ``strength``; None gives the middle as it is.
    """
    scale = size / (WIDE / WIDE_SPREAD * spread)
    matrix = np.array([[scale, 0.0], [0.0, scale]])
    centre = np.array([WIDE / 2 - 0.5, WIDE / 2 - 0.5])
    mirror = False
    if rng is not None:
        angle = rng.normal(0, 0.12 * strength)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        matrix = matrix @ turn * np.exp(rng.uniform(-0.2, 0.2) * strength)
        matrix[0] *= rng.normal(1, 0.05 * strength)
        matrix[0, 1] += scale * rng.normal(0, 0.05 * strength)
        centre = centre + rng.normal(0, 0.04 * strength, 2) * WIDE / WIDE_SPREAD
        mirror = bool(rng.random() < 0.5)
    if mirror:
        matrix[0] *= -1
    offset = size / 2 - 0.5 - matrix @ centre
    crop = cv2.warpAffine(wide, np.column_stack([matrix, offset]), (size, size), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, dtype=np.uint8)


def degrade(crop: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """(48, 48) -> the same seen by a bad camera. Each fault comes with its own chance; many crops keep most of
    theirs."""
    image: FloatArray = crop.astype(np.float32)
    if rng.random() < 0.35:
        image = _shrunk(image, rng)
    if rng.random() < 0.25:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.5))), dtype=np.float32)
    if rng.random() < 0.1:
        image = _motion(image, rng)
    if rng.random() < 0.4:
        image = _shadow(image, rng)
    gain, gamma = rng.uniform(0.5, 1.4), rng.uniform(0.6, 1.6)
    image = 255 * np.clip(image * gain / 255, 0, 1) ** gamma
    if rng.random() < 0.15:
        image = image * rng.uniform(0.06, 0.4)
    if rng.random() < 0.3:
        image = _hide(image, rng)
    if rng.random() < 0.5:
        image = image + rng.normal(0, rng.uniform(1, 9), image.shape)
    result = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = int(rng.integers(15, 80))
        packed = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        result = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    return result


def not_a_face(rng: np.random.Generator, pictures: list[UInt8Array]) -> UInt8Array:
    """(48, 48) of something that is no face: noise of many grains, flat areas, shapes, cuts of faceless pictures."""
    kind = rng.integers(0, 7)
    if kind == 0 or (kind in (4, 5) and not pictures):
        grain = int(rng.choice([4, 8, 16, 32, 64]))
        noise = rng.normal(rng.uniform(40, 210), rng.uniform(2, 90), (grain, grain)).astype(np.float32)
        large = cv2.resize(noise, (CROP, CROP), interpolation=int(rng.choice([0, 1, 2])))
        return _bytes(np.asarray(large, dtype=np.float32))
    if kind == 1:
        return _bytes(np.full((CROP, CROP), rng.uniform(0, 255)) + rng.normal(0, rng.uniform(0, 3), (CROP, CROP)))
    if kind == 2:
        slope = np.linspace(-1, 1, CROP)
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.cos(angle) * slope[None] + np.sin(angle) * slope[:, None]
        wave = ramp if rng.random() < 0.5 else np.sin(ramp * rng.uniform(2, 40))
        return _bytes(rng.uniform(60, 190) + wave * rng.uniform(5, 120) + rng.normal(0, 4, (CROP, CROP)))
    if kind == 3:
        return _shapes(rng)
    if kind == 6:
        return _cloud(rng)
    picture = pictures[int(rng.integers(len(pictures)))]
    side = int(rng.integers(min(24, *picture.shape), min(picture.shape) + 1))
    top, left = (int(rng.integers(0, edge - side + 1)) for edge in picture.shape)
    cut = cv2.resize(picture[top : top + side, left : left + side], (CROP, CROP), interpolation=cv2.INTER_AREA)
    return degrade(np.asarray(np.rot90(cut, int(rng.integers(4))), dtype=np.uint8), rng)


def _shapes(rng: np.random.Generator) -> UInt8Array:
    image = np.full((CROP, CROP), rng.uniform(0, 255), np.float32)
    for _ in range(int(rng.integers(1, 9))):
        a, b = (tuple(int(v) for v in rng.integers(-8, CROP + 8, 2)) for _ in range(2))
        grey = float(rng.uniform(0, 255))
        if rng.random() < 0.5:
            cv2.rectangle(image, a, b, grey, int(rng.choice([-1, 1, 3])))
        else:
            cv2.circle(image, a, int(rng.integers(2, 24)), grey, int(rng.choice([-1, 1, 3])))
    return _bytes(image + rng.normal(0, rng.uniform(0, 6), image.shape))


def _cloud(rng: np.random.Generator) -> UInt8Array:
    """Noise whose grains have all sizes, like the light and shade of photos."""
    image = np.zeros((CROP, CROP), np.float32)
    for side in (2, 3, 6, 12, 24, 48):
        grain = rng.normal(0, 1, (side, side)).astype(np.float32) * rng.uniform(5, 120) / side**0.5
        image += cv2.resize(grain, (CROP, CROP), interpolation=cv2.INTER_CUBIC)
    return _bytes(rng.uniform(60, 190) + image)


def _bytes(image: FloatArray) -> UInt8Array:
    return np.clip(image, 0, 255).astype(np.uint8)


def _shrunk(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    side = int(rng.integers(14, 44))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (CROP, CROP), interpolation=int(rng.choice([1, 2]))))


def _motion(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    length = int(rng.integers(2, 7))
    kernel = np.zeros((length, length), np.float32)
    cv2.line(kernel, (0, int(rng.integers(length))), (length - 1, int(rng.integers(length))), 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))


def _shadow(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    slope = np.linspace(-1, 1, CROP, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * slope[None] + np.sin(angle) * slope[:, None]
    return np.asarray(image * np.clip(1 + rng.uniform(-0.7, 0.7) * np.tanh(ramp * rng.uniform(1, 6)), 0.1, 2))


def _hide(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    image = image.copy()
    centre = tuple(int(v) for v in rng.integers(0, CROP, 2))
    axes = tuple(int(v) for v in rng.integers(3, 14, 2))
    grey = float(rng.uniform(0, 255))
    if rng.random() < 0.5:
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, grey, -1)
    else:
        image[max(0, centre[1] - axes[1]) : centre[1] + axes[1], max(0, centre[0] - axes[0]) : centre[0] + axes[0]] = (
            grey
        )
    return image
