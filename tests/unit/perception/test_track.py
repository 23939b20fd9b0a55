"""Tracking: the stories in tests/scenarios/tracking, and the rules that hold for any input."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.core.types import Box, Detection, Face
from emo_face.perception.track import PersonTracker

STORIES = sorted((Path(__file__).parents[2] / "scenarios" / "tracking").glob("*.yaml"))


def _between(time: float, spans: list[list[float]]) -> bool:
    return any(start <= time < end for start, end in spans)


def _detection(person: dict[str, Any], time: float, noise: float, rng: np.random.Generator) -> Detection | None:
    path = np.array(person["path"], dtype=float)
    if not path[0, 0] <= time <= path[-1, 0] or _between(time, person.get("hidden", [])):
        return None
    width, height = person["size"]
    x, y = (np.interp(time, path[:, 0], path[:, i]) for i in (1, 2))
    jitter = rng.normal(0, noise, 4)
    box = Box(x - width / 2 + jitter[0], y - height / 2 + jitter[1], width + jitter[2], height + jitter[3])
    head = height / 7.5
    face = Face(Box(box.x + box.width / 2 - 0.4 * head, box.y + 0.3 * head, 0.8 * head, head), 0.9)
    return Detection(0.9, None if _between(time, person.get("face_only", [])) else box, face)


def _play(story: dict[str, Any], rate: float) -> list[tuple[float, dict[str, str]]]:
    """(time, name -> id) of every frame."""
    rng = np.random.default_rng(7)
    tracker = PersonTracker()
    end = max(person["path"][-1][0] for person in story["people"].values())
    at, jump = story.get("clock", (float("inf"), 0.0))
    frames = []
    for k in range(int(end * rate) + 1):
        time = k / rate
        seen = {name: _detection(p, time, story["noise"], rng) for name, p in story["people"].items()}
        seen = {name: d for name, d in seen.items() if d is not None}
        if rng.random() < story.get("flicker", 0.0):
            seen = {}
        people = tracker.update(list(seen.values()), time + (jump if time >= at else 0.0))
        names = {id(d.face): name for name, d in seen.items()}
        frames.append((time, {names[id(p.face)]: p.person_id for p in people}))
    return frames


@pytest.mark.parametrize("path", STORIES, ids=lambda p: p.stem)
def test_story(path: Path) -> None:
    story = yaml.safe_load(path.read_text())
    for rate in story["rates"]:
        frames = _play(story, rate)
        ids: dict[str, set[str]] = defaultdict(set)
        for _, seen in frames:
            for name, person_id in seen.items():
                ids[name].add(person_id)
        counts = {name: len(ids[name]) for name in story["expect"]["ids"]}
        assert counts == story["expect"]["ids"], f"{story['story']} at {rate} Hz: {dict(ids)}"
        given_out = [person_id for found in ids.values() for person_id in found]
        assert len(given_out) == len(set(given_out)), f"two people share an id at {rate} Hz: {dict(ids)}"
        for time, names in story["expect"].get("seen", []):
            nearest = min(frames, key=lambda frame, time=time: abs(frame[0] - time))
            assert sorted(nearest[1]) == sorted(names), f"at {time} s, {rate} Hz"


def test_there_are_stories() -> None:
    assert len(STORIES) >= 8


coordinate = st.floats(-1e4, 1e4)
box = st.builds(Box, coordinate, coordinate, st.floats(0, 5e3), st.floats(0, 5e3))
frame = st.tuples(st.floats(-5, 5), st.lists(st.builds(Detection, st.floats(0, 1), box), max_size=8))


@settings(max_examples=60, deadline=None)
@given(st.lists(frame, max_size=12))
def test_any_input_gives_valid_unique_ids(frames: list[tuple[float, list[Detection]]]) -> None:
    tracker = PersonTracker(min_hits=1)
    now = 0.0
    for step, detections in frames:
        now += step
        people = tracker.update(detections, now)
        ids = [person.person_id for person in people]
        assert len(ids) == len(set(ids)) <= len(detections)
        assert all(re.fullmatch(r"p\d{5,}", person_id) for person_id in ids)
        assert all(person.first_seen <= now for person in people)


def test_reported_from_the_second_frame_and_ids_count_people() -> None:
    tracker = PersonTracker()
    anna = Detection(0.9, Box(0, 0, 100, 200))
    assert tracker.update([anna, Detection(0.6, Box(400, 0, 50, 90))], 0.0) == []
    assert [p.person_id for p in tracker.update([anna], 0.03)] == ["p00001"]


def test_bad_times_are_errors() -> None:
    with pytest.raises(ValueError, match="finite"):
        PersonTracker().update([], float("nan"))
    with pytest.raises(ValueError, match="memory"):
        PersonTracker(memory=0)
