"""Timed visemes: lips meet within the sound. Spoken sentences: tests/data/visemes.json, with espeak-ng's times."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.face.expressions.facs import default_facs
from emo_face.face.motion.lips import VisemeTrack, track_of
from emo_face.face.motion.motion import FaceMotion
from emo_face.face.rig.rig import load_rig
from emo_face.ros.parameters.schema import schemas

JAW, DT = ARKIT_INDEX["jawOpen"], 0.01
SPOKEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[4] / "tests" / "data" / "visemes.json").read_text()
)
LEAD = schemas()["face_driver"]["lips.motor_lead"].default
CLOSED = 0.1
"""jawOpen below which lips that are pressed are seen as met."""


def said(row: dict[str, Any], start: float) -> VisemeTrack:
    return track_of(start, row["names"], row["offsets"], [], row["duration"])


def spoken(row: dict[str, Any], lead: float = 0.0, expression: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, jaws of the face, jaws of the face ahead, 100 times per second, of one sentence that begins at 1 s."""
    motion = FaceMotion(DT, layers=("lips",), slow_lip_lead=lead)
    assert motion.say(said(row, 1.0))
    times = np.arange(0, 1.5 + row["duration"], DT)
    faces, ahead = [], []
    for now in times:
        if expression:
            motion.set_target(default_facs().arkit({expression: 1.0}), now, 1.0)
        faces.append(motion.tick(now)[JAW])
        ahead.append(motion.ahead[JAW])
    return times, np.array(faces), np.array(ahead)


def closures(row: dict[str, Any]) -> list[tuple[float, float]]:
    """(start, end) of each p, b, m in seconds of :func:`spoken`; neighbours are one."""
    found: list[tuple[float, float]] = []
    for name, begin, end in zip(row["names"], row["offsets"], [*row["offsets"][1:], row["duration"]], strict=True):
        if name == "PP":
            joined = found and math.isclose(found[-1][1], 1 + begin)
            found = [*found[:-1], (found[-1][0], 1 + end)] if joined else [*found, (1 + begin, 1 + end)]
    return found


def met(times: np.ndarray, jaws: np.ndarray, row: dict[str, Any]) -> list[bool]:
    return [bool(jaws[(times >= a) & (times <= b + DT)].min() <= CLOSED) for a, b in closures(row)]


@pytest.mark.parametrize("expression", ["", "Surprise", "Happy"])
def test_lips_close_on_p_b_and_m(expression: str) -> None:
    hits: list[bool] = []
    for row in SPOKEN:
        times, jaws, _ = spoken(row, expression=expression)
        hits += met(times, jaws, row)
        opened = row["names"].count("aa") > 0
        assert not opened or jaws.max() > 0.3  # they do not close by staying shut
    print(f"{expression or 'neutral'}: lips meet in {sum(hits)} of {len(hits)} closures")  # pytest -rP shows it
    assert len(hits) >= 100
    assert np.mean(hits) >= 0.93


def test_an_output_that_lags_gets_the_same_lips_earlier() -> None:
    row = SPOKEN[1]
    _, jaws, ahead = spoken(row, lead=0.05)
    lags = {k: float(np.abs(ahead[: len(ahead) - k] - jaws[k:]).mean()) for k in range(10)}
    assert min(lags, key=lambda k: lags[k]) * DT == pytest.approx(0.05)
    assert lags[5] < 0.03  # they are held together a little longer, too
    _, alone, same = spoken(row)
    np.testing.assert_array_equal(alone, same)


class Jaw:
    """The jaw of a rig behind its gate, as jawOpen."""

    def __init__(self, name: str) -> None:
        self.rig, wide = load_rig(name), np.zeros(52)
        wide[JAW] = 0.6
        self.closed = self.rig.targets(np.zeros(52))
        self.index = int(np.argmax(np.abs(self.rig.targets(wide) - self.closed)))
        self.reach = (self.rig.targets(wide) - self.closed)[self.index] / 0.6

    def follow(self, row: dict[str, Any], lead: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Times, jaws that are asked for, jaws that the limits make of them ``lead`` seconds ahead."""
        motion, gate = FaceMotion(DT, layers=("lips",), slow_lip_lead=lead), self.rig.gate(DT)
        motion.say(said(row, 1.0))
        gate.enable(self.closed, 0.0)
        times, asked, jaws = np.arange(0, 1.5 + row["duration"], DT), [], []
        for now in times:
            asked.append(motion.tick(now)[JAW])
            gate.command(self.rig.targets(motion.ahead), now, now, smooth=True)
            jaws.append((gate.tick(now).position[self.index] - self.closed[self.index]) / self.reach)
        return times, np.array(asked), np.array(jaws)

    def closing_time(self, opening: float) -> float:
        """Seconds in which the limits let it close from rest at ``opening``."""
        gate, start, now, opened = self.rig.gate(DT), np.zeros(52), 0.0, opening
        start[JAW] = opening
        gate.enable(self.rig.targets(start), 0.0)
        while opened > CLOSED:
            now += DT
            gate.command(self.closed, now, now, smooth=True)
            opened = (gate.tick(now).position[self.index] - self.closed[self.index]) / self.reach
        return now

    def permitted(self, times: np.ndarray, asked: np.ndarray, row: dict[str, Any]) -> list[bool]:
        """Whether the limits permit each closure at all: from the widest opening since the one before, at rest."""
        found, last = [], 0.9
        for begin, end in closures(row):
            since = (times >= last) & (times <= begin + 1e-9)
            widest = int(np.argmax(np.where(since, asked, -1.0)))
            found.append(times[widest] + self.closing_time(float(asked[widest])) <= end + DT + 1e-9)
            last = end
        return found


@pytest.mark.parametrize("name", ["head_12servo", pytest.param("minimal_4servo", marks=pytest.mark.slow)])
def test_a_servo_head_closes_where_its_limits_permit_it(name: str) -> None:
    jaw = Jaw(name)
    hits: list[bool] = []
    permitted: list[bool] = []
    for row in SPOKEN:
        times, asked, jaws = jaw.follow(row, LEAD)
        hits += met(times, jaws, row)
        permitted += jaw.permitted(times, asked, row)
    kept = np.mean(np.array(hits)[permitted])
    print(f"{name}: limits permit {np.mean(permitted):.1%} of {len(hits)} closures; {kept:.1%} of these are closed")
    assert len(hits) >= 100
    assert 0.5 < np.mean(permitted) < 0.9  # the limits matter, and do not forbid speech
    assert kept >= 0.9
    without = [hit for row in SPOKEN[:4] for hit in met(*jaw.follow(row, 0.0)[::2], row)]
    assert np.mean(hits) > np.mean(without) + 0.2


def test_a_track_begins_with_its_sound_ends_with_it_and_an_empty_one_stops_it() -> None:
    row = SPOKEN[0]
    times, jaws, _ = spoken(row)
    assert jaws[times < 0.99].max() == 0
    assert jaws[(times > 1) & (times < 1.2)].max() > 0.1
    assert jaws[-1] < 0.02
    motion = FaceMotion(DT, layers=("lips",))
    motion.say(said(row, 0.0))
    for k in range(50):
        motion.tick(k * DT)
    assert motion.say(track_of(0.5, [], [], [], 0.0))
    for k in range(50, 100):
        face = motion.tick(k * DT)
    assert face[JAW] < 0.02


def test_a_single_viseme_and_loudness_work_as_before_and_beside_a_track() -> None:
    motion = FaceMotion(DT, layers=("lips",))
    assert motion.envelope(1.0, 0.0)
    loud = [motion.tick(k * DT)[JAW] for k in range(30)][-1]
    assert loud == pytest.approx(0.45, abs=0.02)
    motion.say(said(SPOKEN[0], 0.3))
    assert motion.envelope(1.0, 0.31)  # the track knows better
    track = [motion.tick(0.3 + k * DT)[JAW] for k in range(1, 8)]
    assert min(track) <= CLOSED


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (([*"ab"], [0.0], [], 1.0), "one length"),
        ((["PP", "aa"], [0.2, 0.1], [], 1.0), "offsets"),
        ((["PP"], [math.nan], [], 1.0), "offsets"),
        ((["PP"], [0.0], [1.5], 1.0), "weights"),
        ((["PP"], [0.0], [math.nan], 1.0), "weights"),
        ((["PP"], [0.0], [], math.inf), "duration"),
    ],
)
def test_a_wrong_track_is_named(fields: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        track_of(0.0, *fields)


def test_an_unknown_viseme_is_refused_and_counted() -> None:
    motion = FaceMotion(DT)
    assert not motion.say(track_of(0.0, ["xx"], [0.0], [], 1.0))
    assert motion.rejected["viseme"] == 1
