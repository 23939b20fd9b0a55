"""Which face belongs to which body; people of whom only the face or only the body was seen."""

from collections.abc import Mapping, Sequence

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

Costs = Mapping[int, Mapping[int, float]]
"""Body -> face -> cost, possible pairs only."""


def associate(bodies: Sequence[Body], faces: Sequence[Face]) -> list[Detection]:
    """Pair faces with bodies one to one: the best pair first, and never fewer pairs than possible.

    The cost of a pair is how far the face is from where a head is expected (top middle of the body), as a share of
    the body's size; a pair is impossible if the face is not inside the body or does not begin in its upper part.

    Returns:
        One detection per person: pairs, lone bodies, lone faces; best score first.
    """
    costs: dict[int, dict[int, float]] = {}
    for i, body in enumerate(bodies):
        found = ((j, _cost(body.box, face.box)) for j, face in enumerate(faces))
        costs[i] = {j: cost for j, cost in found if cost is not None}
    pairs = match(costs)
    people = [Detection(body.score, body.box, faces[pairs[i]] if i in pairs else None) for i, body in enumerate(bodies)]
    taken = set(pairs.values())
    people += [Detection(face.score, None, face) for j, face in enumerate(faces) if j not in taken]
    return sorted(people, key=lambda person: -person.score)


def match(costs: Costs) -> dict[int, int]:
    """Body -> face. Greedy by cost; a body left over may then push others on to their next face.

    The matchings here have a handful of entries. SciPy's exact assignment would cost every start of the node 0.3 s and
    30 MB for the import, and the nano tier has no other use for it.
    """
    owner: dict[int, int] = {}
    for _, body, face in sorted((c, b, f) for b, row in costs.items() for f, c in row.items()):
        if face not in owner and body not in owner.values():
            owner[face] = body
    for body in costs:
        if body not in owner.values():
            _push(body, costs, owner, set())
    return {body: face for face, body in owner.items()}


def _push(body: int, costs: Costs, owner: dict[int, int], tried: set[int]) -> bool:
    """Find ``body`` a face, moving the owners of taken ones if they have another (Kuhn 1955)."""
    for face in sorted(costs[body], key=lambda f: costs[body][f]):
        if face not in tried:
            tried.add(face)
            if face not in owner or _push(owner[face], costs, owner, tried):
                owner[face] = body
                return True
    return False


def body_from_face(face: Box) -> Box:
    """Extrapolate a standing body's box from a face's box; it may leave the image."""
    width, height = BODY_WIDTH_IN_FACES * face.height, BODY_HEIGHT_IN_FACES * face.height
    return Box(face.center[0] - width / 2, face.y - CROWN_ABOVE_FACE * face.height, width, height)


def _cost(body: Box, face: Box) -> float | None:
    if face.area <= 0 or body.area <= 0 or intersection(body, face) < MIN_INSIDE * face.area:
        return None
    down = (face.y - body.y) / body.height
    if down > HEAD_ZONE:
        return None
    across = abs(face.center[0] - body.center[0]) / body.width
    return across + abs(down - CROWN_ABOVE_FACE * face.height / body.height)
