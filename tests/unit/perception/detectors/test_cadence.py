"""When bodies are looked for, and where people are in between; then real detectors on a real film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_face.bench.probes.cadence_check import Reading, compare, read_clip
from emo_face.core.types import Box, Detection, Emotion, Face, ImageArray, Person
from emo_face.perception.build import DetectorSettings, build_pipeline
from emo_face.perception.detectors.cadence import LONGEST, AdaptiveCadence
from emo_face.perception.nano.model import build_nano
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.store import open_store

FACE = Face(Box(300, 100, 80, 100), 0.9)
SEATED = Detection(0.9, Box(240, 80, 200, 380), FACE)
BACK = Detection(0.8, Box(40, 60, 120, 400))


def room(*marks: Box, level: int = 90) -> ImageArray:
    """A grey room of 640 x 480 with white boxes."""
    frame = np.full((480, 640, 3), level, np.uint8)
    for box in marks:
        frame[int(box.y) : int(box.bottom), int(box.x) : int(box.right)] = 250
    return frame


def nothing_closer(people: list[Detection]) -> list[Detection]:
    return people


def moved(face: Face, dx: float, grown: float = 1.0) -> Face:
    box = face.box
    return Face(Box(box.x + dx, box.y, box.width * grown, box.height * grown), face.score)


@pytest.fixture
def cadence() -> AdaptiveCadence:
    """One that has looked twice at the same two people."""
    made = AdaptiveCadence()
    for now in (0.0, 0.1):
        assert made.due(room(), now)
        made.looked(room(), [SEATED, BACK], now)
    assert not made.due(room(), 0.2)
    return made


def test_a_still_room_is_looked_at_once_a_second(cadence: AdaptiveCadence) -> None:
    assert not cadence.due(room(), 0.1 + LONGEST - 0.01)
    assert cadence.due(room(), 0.1 + LONGEST)


def test_a_clock_that_goes_back_or_another_size_is_looked_at(cadence: AdaptiveCadence) -> None:
    assert cadence.due(room(), 0.0)
    assert cadence.due(np.zeros((100, 300, 3), np.uint8), 0.2)


def test_what_moves_is_looked_at_but_for_who_is_followed_by_the_face(cadence: AdaptiveCadence) -> None:
    assert cadence.due(room(Box(500, 200, 60, 60)), 0.2)  # somebody comes in
    assert cadence.due(room(Box(60, 200, 60, 60)), 0.2)  # the one who turns the back to us moves
    assert not cadence.due(room(Box(320, 300, 60, 60)), 0.2)  # hands of the one whose face is followed


def test_what_moves_slowly_adds_up(cadence: AdaptiveCadence) -> None:
    steps = [cadence.due(room(Box(500, 200, 5 * k, 40)), 0.2 + 0.01 * k) for k in range(12)]
    assert steps[0] is False
    assert steps[-1] is True


def test_noise_and_exposure_are_no_motion(cadence: AdaptiveCadence) -> None:
    noise = np.random.default_rng(1).normal(0, 8, (480, 640, 3))
    assert not cadence.due(np.clip(room() + noise, 0, 255).astype(np.uint8), 0.2)
    assert not cadence.due(room(level=120), 0.2)


def test_bodies_go_with_their_faces(cadence: AdaptiveCadence) -> None:
    people = cadence.carry([moved(FACE, 12)], nothing_closer)
    assert people == [Detection(0.9, Box(252, 80, 200, 380), moved(FACE, 12)), BACK]
    people = cadence.carry([moved(FACE, 30)], nothing_closer)  # from where it was last, measured from the last look
    assert people is not None
    assert people[0].body == Box(270, 80, 200, 380)


@pytest.mark.parametrize(
    "faces",
    [
        [],
        [FACE, Face(Box(60, 70, 60, 70), 0.7)],
        [moved(FACE, 200)],
        [moved(FACE, 45)],
        [moved(FACE, 0, grown=1.25)],
    ],
    ids=["went", "came", "jumped", "moved far", "grew"],
)
def test_a_face_in_doubt_is_looked_for(cadence: AdaptiveCadence, faces: list[Face]) -> None:
    assert cadence.carry(faces, nothing_closer) is None


def test_a_small_face_is_found_by_the_closer_look(cadence: AdaptiveCadence) -> None:
    def closer(people: list[Detection]) -> list[Detection]:
        assert people[0].face is None
        return [Detection(0.9, people[0].body, moved(FACE, 4)), people[1]]

    people = cadence.carry([], closer)
    assert people is not None
    assert people[0].face == moved(FACE, 4)
    assert cadence.carry([], lambda people: [Detection(0.9, SEATED.body, moved(FACE, 60)), BACK]) is None


def test_until_two_looks_agree_every_frame_is_looked_at(cadence: AdaptiveCadence) -> None:
    cadence.looked(room(), [SEATED], 0.2)
    assert cadence.due(room(), 0.25)
    cadence.looked(room(), [SEATED], 0.25)
    assert not cadence.due(room(), 0.3)
    cadence.reset()
    assert cadence.due(room(), 0.35)


def test_misses_switches_and_other_emotions_are_counted() -> None:
    def seen(name: str, x: float, winner: int) -> tuple[Person, Emotion]:
        chances = np.full(7, 0.05)
        chances[winner] = 0.7
        flags = chances > 0.5
        return Person(name, 0.9, Box(x, 0, 50, 100)), Emotion("basic7", chances, flags, 0.0, 0.0, {}, 1.0)

    every = Reading([[seen("a", 0, 1), seen("b", 200, 2)]] * 3, 20.0, 3)
    other = Reading([[seen("x", 2, 1), seen("y", 200, 2)], [seen("z", 0, 1)], [seen("z", 0, 3)]], 10.0, 1)
    found = compare(every, other)
    assert (found["misses"], found["extra"], found["switches"], found["other_emotion"]) == (2, 0, 1, 1)
    assert found["largest_difference"] == pytest.approx(0.65)
    assert found["adaptive"] == {"frames": 3, "people": 4, "ids": 3, "looks": 1, "cpu_ms": 10.0}


def test_on_a_film_the_same_people_with_a_fifth_of_the_looks(assets: Path) -> None:
    path, store = assets / "video" / "WolfgangLanger_Pexels_3063838.mp4", open_store([assets])

    def read(cadence: str) -> Reading:
        engines = Engines("cpu", 1)
        settings = DetectorSettings(cadence=cadence)
        pipeline, _ = build_pipeline(store, build_nano(store, engines=engines), settings, engines=engines)
        return read_clip(pipeline, path, 25)

    found = compare(read("every"), read("adaptive"))
    assert (found["misses"], found["extra"], found["switches"], found["other_emotion"]) == (0, 0, 0, 0)
    assert found["every"]["looks"] == 25
    assert found["adaptive"]["looks"] <= 5
