"""Pictures that are in the package, so that every example and benchmark runs anywhere.

``astronaut.jpg``: Eileen Collins, NASA, public domain (also scikit-image's ``data.astronaut``). ``visitor.mp4``: drawn
by ``export/build_visitor.py`` from ICT-FaceKit light (USC ICT, MIT).
"""

from pathlib import Path

import cv2
import numpy as np

from emo_face.core.paths import data_file
from emo_face.core.types import ImageArray
from emo_face.runtime.stills import read_picture

HEAD = (slice(0, 300), slice(90, 360))  # of the portrait: head and shoulders
COLUMNS, ROWS, WIDTH, HEIGHT = 3, 2, 640, 480


def portrait() -> Path:
    """A picture file with one person, 512 x 512."""
    return data_file("samples/astronaut.jpg")


def visitor() -> Path:
    """A film of 30 s, 640 x 480, of one drawn person who does what ``config/demo_scene.yaml`` says."""
    return data_file("samples/visitor.mp4")


def group() -> ImageArray:
    """Six people: the portrait six times, (480, 640, 3) BGR uint8."""
    head = read_picture(portrait())[HEAD]
    sizes = np.diff(np.linspace(0, WIDTH, COLUMNS + 1).round().astype(int))
    tiles = [cv2.resize(head, (int(width), HEIGHT // ROWS), interpolation=cv2.INTER_AREA) for width in sizes]
    return np.asarray(np.vstack([np.hstack(tiles)] * ROWS), np.uint8)
