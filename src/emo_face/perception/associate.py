"""Which face belongs to which body; people of whom only one of the two was seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from emo_face.core.geometry import intersection
from emo_face.core.types import Box, Detection, Face
from emo_face.perception.detect_yolo import Body

# Adult proportions in units of the face box (chin to hairline): Drillis & Contini (1966), body segment lengths:
# standing height = 7.7 head heights, biacromial breadth = 0.259 of standing height = about 2 head heights.
BODY_HEIGHT_IN_FACES = 7.5
BODY_WIDTH_IN_FACES = 2.2
CROWN_ABOVE_FACE = 0.3  # a face detector's box starts below the crown

MIN_INSIDE = 0.6  # share of a face's area that must lie in the body's box
HEAD_ZONE = 0.45  # a face's box begins in the upper 45 % of its body's box: seated, cropped or in close-up
FORBIDDEN = 1e3


def associate(bodies: Sequence[Body], faces: Sequence[Face]) -> list[Detection]:
    """Pair faces with bodies one to one, at the smallest total cost.

    The cost of a pair is how far the face is from where a head is expected (top middle of the body), as a share of
    the body's size; a pair is impossible where the face is not inside the body or does not begin in its upper part.

    Returns:
        One detection a person: pairs, lone bodies, lone faces; best score first.
    """
    pairs: dict[int, int] = {}
    if bodies and faces:
        cost = np.array([[_cost(body.box, face.box) for face in faces] for body in bodies])
        rows, columns = linear_sum_assignment(cost)
        pairs = {int(r): int(c) for r, c in zip(rows, columns, strict=True) if cost[r, c] < FORBIDDEN}
    people = [
        Detection(body.score, body.box, faces[pairs[i]] if i in pairs else None) for i, body in enumerate(bodies)
    ]
    taken = set(pairs.values())
    people += [Detection(face.score, None, face) for j, face in enumerate(faces) if j not in taken]
    return sorted(people, key=lambda person: -person.score)


def body_from_face(face: Box) -> Box:
    """Extrapolate a standing body's box from a face's box; it may leave the image."""
    width, height = BODY_WIDTH_IN_FACES * face.height, BODY_HEIGHT_IN_FACES * face.height
    return Box(face.center[0] - width / 2, face.y - CROWN_ABOVE_FACE * face.height, width, height)


def _cost(body: Box, face: Box) -> float:
    if face.area <= 0 or body.area <= 0 or intersection(body, face) < MIN_INSIDE * face.area:
        return FORBIDDEN
    down = (face.y - body.y) / body.height
    if down > HEAD_ZONE:
        return FORBIDDEN
    across = abs(face.center[0] - body.center[0]) / body.width
    return across + abs(down - CROWN_ABOVE_FACE * face.height / body.height)
