"""Pictures of the made-up world: a head, or somebody's back, in a room of its place's colours."""

import cv2
import numpy as np

from emo_face.core.types import Box, ImageArray

SIZE = 56
"""Pixels a side."""
SKINS = {
    "Angry": (90, 100, 240),
    "Sad": (235, 165, 130),
    "Surprise": (200, 120, 235),
    "Neutral": (150, 190, 235),
    "Fear": (235, 235, 235),
    "Happy": (90, 220, 250),
    "Disgust": (110, 215, 150),
    "": (60, 40, 30),
}
"""Colour of a head, BGR: a model this small sees colours before it sees mouths."""


def box(name: str) -> Box:
    """Where the person of a moment is, px."""
    x, y = _place(name)
    return Box(x - 19.0, y - 22.0, 38.0, 44.0)


def draw(name: str, look: str, home: bool) -> ImageArray:
    """(SIZE, SIZE, 3) BGR. ``name``: of the moment, fixes place and light. ``look``: an emotion, empty for a back."""
    x, y = _place(name)
    rng = np.random.default_rng([*name.encode(), 1])
    image = np.full((SIZE, SIZE, 3), (70, 130, 210) if home else (90, 190, 70), np.uint8)
    cv2.circle(image, (x, y), 17, SKINS[look], -1, cv2.LINE_AA)
    if look:
        _features(image, look, x, y)
    light = float(rng.uniform(0.8, 1.0))
    return np.clip(image * light + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def _place(name: str) -> tuple[int, int]:
    rng = np.random.default_rng(list(name.encode()))
    return int(rng.integers(27, 30)), int(rng.integers(27, 30))


def _features(image: ImageArray, look: str, x: int, y: int) -> None:
    """Eyes, brows and mouth."""
    black, white, red = (20, 20, 20), (250, 250, 250), (40, 30, 150)
    for side in (-1, 1):
        cv2.circle(image, (x + 6 * side, y - 5), 2 if look in ("Surprise", "Fear") else 1, black, -1, cv2.LINE_AA)
    slant = {"Angry": 4, "Sad": -3, "Fear": -3, "Disgust": 2}.get(look, 0)
    for side in (-1, 1):
        cv2.line(image, (x + 9 * side, y - 10 - slant // 2), (x + 3 * side, y - 10 + slant // 2), black, 2, cv2.LINE_AA)
    below = (x, y + 8)
    if look == "Happy":
        cv2.ellipse(image, (x, y + 5), (9, 6), 0, 0, 180, red, 3, cv2.LINE_AA)
    elif look == "Sad":
        cv2.ellipse(image, (x, y + 13), (8, 6), 0, 180, 360, red, 3, cv2.LINE_AA)
    elif look == "Surprise":
        cv2.circle(image, below, 5, black, -1, cv2.LINE_AA)
    elif look == "Neutral":
        cv2.line(image, (x - 7, y + 8), (x + 7, y + 8), red, 2, cv2.LINE_AA)
    elif look == "Fear":
        cv2.ellipse(image, below, (10, 5), 0, 0, 360, black, -1, cv2.LINE_AA)
    elif look == "Angry":
        cv2.rectangle(image, (x - 9, y + 5), (x + 9, y + 11), white, -1)
    else:
        cv2.line(image, (x - 8, y + 11), (x + 6, y + 6), red, 3, cv2.LINE_AA)
        cv2.line(image, (x - 3, y), (x + 3, y), black, 2, cv2.LINE_AA)
