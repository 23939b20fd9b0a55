"""A second look for the faces of people far away, at the camera's own resolution.

The first look shrinks the whole frame, which costs little and loses small faces. If a body was found without a face
and the frame holds more detail than the first look saw, the upper parts of those bodies are put side by side into one
picture, so that the second look costs the same for one person as for four.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from emo_face.core.geometry import clip, crop
from emo_face.core.types import Box, Detection, Face, ImageArray
from emo_face.perception.associate import associate
from emo_face.perception.detect_face import FaceDetector
from emo_face.perception.detect_yolo import Body

TILES = 4  # people a look, largest bodies first
HEAD_PART = 0.45  # upper part of a body's box that holds the head
WORTH_IT = 1.5  # gain in resolution below which nothing new is to be seen


@dataclass(frozen=True, slots=True)
class _Tile:
    detection: Detection
    source: Box
    left: int
    top: int
    scale: float


def look_closer(
    frame: ImageArray, people: Sequence[Detection], detector: FaceDetector, size: int = 320
) -> list[Detection]:
    """Find the faces of people that have none yet.

    Args:
        frame: H x W x 3 BGR. people: what the first look found.
        size: longer side of the frame in the first look, and side of the second look's picture, pixels.

    Returns:
        The people in the same order, some of them with a face now.
    """
    tiles = _tiles(frame, people, size)
    if not tiles:
        return list(people)
    canvas = np.zeros((size, size, 3), dtype=np.uint8)
    for tile in tiles:
        cut = crop(frame, tile.source, pad=False)
        width, height = max(1, int(cut.shape[1] * tile.scale)), max(1, int(cut.shape[0] * tile.scale))
        how = cv2.INTER_AREA if tile.scale < 1 else cv2.INTER_LINEAR
        canvas[tile.top : tile.top + height, tile.left : tile.left + width] = cv2.resize(
            cut, (width, height), interpolation=how
        )
    faces = [back for face in detector.detect(canvas) if (back := _back(face, tiles, size)) is not None]
    bodies = [Body(tile.detection.body, tile.detection.score) for tile in tiles if tile.detection.body is not None]
    paired = {person.body: person.face for person in associate(bodies, faces) if person.body is not None}
    return [
        replace(person, face=paired[person.body]) if person.face is None and person.body in paired else person
        for person in people
    ]


def _tiles(frame: ImageArray, people: Sequence[Detection], size: int) -> list[_Tile]:
    height, width = frame.shape[:2]
    first = min(1.0, size / max(height, width, 1))
    faceless = [p for p in people if p.face is None and p.body is not None]
    faceless.sort(key=lambda p: -p.body.area if p.body is not None else 0.0)
    side = size // 2 if len(faceless) > 1 else size
    tiles: list[_Tile] = []
    for person in faceless:
        assert person.body is not None
        source = clip(_head_part(person.body), width, height)
        if len(tiles) == TILES or min(source.width, source.height) < 8:
            continue
        scale = min(side / (math.ceil(source.width) + 1), side / (math.ceil(source.height) + 1), 1.0)
        if scale < WORTH_IT * first:
            continue
        column, row = len(tiles) % 2, len(tiles) // 2
        tiles.append(_Tile(person, source, column * side, row * side, scale))
    return tiles


def _head_part(body: Box) -> Box:
    """The upper part of a body with a little room above and beside it."""
    height = max(HEAD_PART * body.height, 0.6 * body.width)
    return Box(body.x - 0.1 * body.width, body.y - 0.05 * body.height, 1.2 * body.width, height)


def _back(face: Face, tiles: Sequence[_Tile], size: int) -> Face | None:
    """Map a face of the canvas into the frame; None if it straddles two tiles."""
    side = size // 2 if len(tiles) > 1 else size
    x, y = face.box.center
    for tile in tiles:
        if tile.left <= x < tile.left + side and tile.top <= y < tile.top + side:
            # crop() starts at whole pixels
            origin = np.array([math.floor(tile.source.x), math.floor(tile.source.y)], dtype=np.float64)
            corner = (np.array([face.box.x, face.box.y]) - (tile.left, tile.top)) / tile.scale + origin
            box = Box(float(corner[0]), float(corner[1]), face.box.width / tile.scale, face.box.height / tile.scale)
            landmarks = face.landmarks
            if landmarks is not None:
                landmarks = (np.asarray(landmarks) - (tile.left, tile.top)) / tile.scale + origin
            return Face(box, face.score, landmarks)
    return None
