"""People of several cameras as one list, in a world whose people and cameras stand where we put them."""

from __future__ import annotations

import numpy as np
import pytest

from emo_face.core.labels import label_set
from emo_face.core.types import Box, Emotion, Face, Person
from emo_face.perception.space.merge import HEAD, CameraPlace, CameraView, PeopleMerger, as_seen_by_first, pooled

SIZE = (640, 480)
HAPPY, SAD = (label_set("basic7").labels.index(name) for name in ("Happy", "Sad"))
OWN = CameraPlace.looking(0.0, 0.0, 1.2, 0.0, 0.0, 60.0)
DOOR = CameraPlace.looking(3.0, 2.0, 2.2, -135.0, -15.0, 70.0)  # across the room, looking back and down


def emotion(label: int, share: float = 0.7, quality: float = 0.8) -> Emotion:
    p = np.full(7, (1 - share) / 6)
    p[label] = share
    return Emotion("basic7", p, p > 0.5, *label_set("basic7").circumplex(p), quality=quality)


def seen(camera: CameraPlace, name: str, at: tuple[float, float, float], head: float = HEAD) -> Person:
    """A person whose head of ``head`` metres is at a point of the robot's frame, as this camera sees it."""
    point = np.array(at)
    ahead = (camera.rotation.T @ (point - camera.position))[2]
    x, y = camera.pixel(point, SIZE)
    side = camera.focal(SIZE[0]) * head / ahead
    return Person(name, 1.0, None, Face(Box(x - side / 2, y - side / 2, side, side), 1.0))


def view(name: str, place: CameraPlace | None, *people: tuple[Person, Emotion]) -> CameraView:
    return CameraView(name, people, SIZE, place)


def test_a_place_is_rep_103() -> None:
    point = OWN.position + np.array([2.0, 0.5, 0.3])
    x, y = OWN.pixel(point, SIZE)
    assert x < SIZE[0] / 2, "left of the robot is left in its picture"
    assert y < SIZE[1] / 2, "up is up"
    assert OWN.sight((x, y), SIZE) == pytest.approx((point - OWN.position) / np.linalg.norm(point - OWN.position))
    turned = CameraPlace.looking(0, 0, 0, 90.0, 0, 60.0)
    assert turned.rotation @ [0, 0, 1] == pytest.approx([0, 1, 0])
    assert np.linalg.det(turned.rotation) == pytest.approx(1.0)


@pytest.mark.parametrize("head", [0.13, 0.2, 0.26])
def test_one_person_in_two_views_is_one(head: float) -> None:
    at = (1.8, 0.2, 1.5)
    found = PeopleMerger().merge(
        [
            view("own", OWN, (seen(OWN, "p1", at, head), emotion(HAPPY))),
            view("door", DOOR, (seen(DOOR, "p7", at, head), emotion(HAPPY))),
        ]
    )
    assert [someone.person_id for someone in found] == ["p1"]
    assert found[0].at == pytest.approx(at, abs=1.1)


def test_cameras_side_by_side_see_one_person_once() -> None:
    beside = CameraPlace.looking(0.0, 0.1, 1.2, 0.0, 0.0, 60.0)
    at = (2.5, 0.2, 1.5)
    found = PeopleMerger().merge(
        [
            view("own", OWN, (seen(OWN, "p1", at), emotion(HAPPY))),
            view("beside", beside, (seen(beside, "p1", at), emotion(HAPPY))),
        ]
    )
    assert len(found) == 1


def test_two_people_are_told_apart_whatever_the_order() -> None:
    one, other = (1.8, 0.4, 1.5), (2.0, -0.5, 1.6)
    own = view("own", OWN, (seen(OWN, "p1", one), emotion(HAPPY)), (seen(OWN, "p2", other), emotion(SAD)))
    door = view("door", DOOR, (seen(DOOR, "p8", other), emotion(SAD)), (seen(DOOR, "p9", one), emotion(HAPPY)))
    found = PeopleMerger().merge([own, door])
    tracks = {s.person_id: [scored[0].person_id for scored in s.views.values()] for s in found}
    assert tracks == {"p1": ["p1", "p9"], "p2": ["p2", "p8"]}


def test_who_is_behind_somebody_is_not_the_same() -> None:
    """On one line of sight of the first camera, apart for the second one."""
    near, far = np.array([1.5, 0.0, 1.4]), np.array([3.6, 0.0, 1.68])
    door = CameraPlace.looking(2.5, 2.5, 1.6, -90.0, 0.0, 80.0)
    found = PeopleMerger().merge(
        [
            view("own", OWN, (seen(OWN, "p1", tuple(near)), emotion(HAPPY))),
            view("door", door, (seen(door, "p1", tuple(far)), emotion(SAD))),
        ]
    )
    assert [someone.person_id for someone in found] == ["p1", "door_p1"]


def test_an_id_stays_while_any_camera_sees_its_person() -> None:
    merger, at = PeopleMerger(), (1.8, 0.2, 1.5)
    own, door = (seen(OWN, "p1", at), emotion(HAPPY)), (seen(DOOR, "p7", at), emotion(HAPPY))
    both, out_of_view = [view("own", OWN, own), view("door", DOOR, door)], [view("own", OWN), view("door", DOOR, door)]
    assert [s.person_id for s in merger.merge(both)] == ["p1"]
    assert [s.person_id for s in merger.merge(out_of_view)] == ["p1"]
    back = (seen(OWN, "p2", at), emotion(HAPPY))  # the first camera's tracker gave a new one
    assert [s.person_id for s in merger.merge([view("own", OWN, back), view("door", DOOR, door)])] == ["p1"]
    merger.merge([view("own", OWN), view("door", DOOR)])
    assert [s.person_id for s in merger.merge(out_of_view)] == ["door_p7"]


def test_cameras_that_are_not_placed_count_everybody_and_the_own_one_comes_first() -> None:
    at = (1.8, 0.2, 1.5)
    views = [
        view("own", None, (seen(OWN, "p1", at), emotion(HAPPY))),
        view("door", None, (seen(DOOR, "p7", at), emotion(SAD))),
    ]
    listed = [as_seen_by_first(someone, views)[0] for someone in PeopleMerger().merge(views)]
    assert [person.person_id for person in listed] == ["p1", "door_p7"]
    assert listed[0].face is not None
    assert (listed[1].face, listed[1].body) == (None, None), "no box of another picture"


def test_who_only_another_camera_sees_is_at_the_edge_on_their_side() -> None:
    for left in (1, -1):
        beside = (0.2, left * 2.0, 1.5)
        camera = CameraPlace.looking(3.0, left * 2.0, 1.5, 180.0, 0.0, 70.0)
        views = [view("own", OWN), view("door", camera, (seen(camera, "p7", beside), emotion(HAPPY)))]
        (someone,) = PeopleMerger().merge(views)
        person, _ = as_seen_by_first(someone, views)
        assert person.face is not None
        assert (person.face.box.x == 0.0) if left > 0 else (person.face.box.right == SIZE[0])
        assert person.face.box.y >= 0
        assert person.face.box.bottom <= SIZE[1]


def test_views_are_pooled_by_their_quality_and_not_added_up() -> None:
    sure, unsure = emotion(HAPPY, 0.8, quality=0.9), emotion(SAD, 0.6, quality=0.1)
    both = pooled([unsure, sure])
    assert both.probabilities == pytest.approx(0.9 * sure.probabilities + 0.1 * unsure.probabilities)
    assert both.probabilities.sum() == pytest.approx(1.0)
    assert pooled([sure, sure]).probabilities == pytest.approx(sure.probabilities), "twice the same is not surer"
    assert both.quality == 0.9
    flat = emotion(SAD, 0.6, quality=0.0)
    assert pooled([flat, sure]) is sure
