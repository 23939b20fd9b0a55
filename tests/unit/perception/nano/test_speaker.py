"""Who speaks, on real faces whose mouths are opened and closed, beside others who move, blink and smile."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.core.types import Box, Face, Person
from emo_face.perception.nano.speaker import MouthMotion

SIDE, RATE = 200, 15.0
TALK_HZ = 4.0
"""Openings per second: mouths move at 2 to 7 Hz (Chandrasekaran et al., PLoS Comput. Biol. 5, 2009)."""

NOISE = np.random.default_rng(0).normal(0, 4, (2 * SIDE, 2 * SIDE, 3)).astype(np.float32)
"""Of the camera; a random part of it for each picture, since drawing it anew took most of the time."""
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float32)


@pytest.fixture(scope="module")
def faces(assets: Path) -> list[tuple[np.ndarray, Face]]:
    from emo_face.datasets.faces.faces import detector_of, read_london

    found = read_london(assets / "images" / "london", detector_of(assets))
    out = []
    for picture in found[:16]:
        face = picture.face
        x, y, w, h = (int(v) for v in (face.box.x, face.box.y, face.box.width, face.box.height))
        left, top = max(x - w // 4, 0), max(y - h // 4, 0)
        part = picture.picture[top : top + int(1.5 * h), left : left + int(1.5 * w)]
        scale = SIDE / max(part.shape[:2])
        small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        small = cv2.copyMakeBorder(small, 0, SIDE - small.shape[0], 0, SIDE - small.shape[1], cv2.BORDER_REPLICATE)
        box = Box((face.box.x - left) * scale, (face.box.y - top) * scale, w * scale, h * scale)
        assert face.landmarks is not None
        marks = (np.asarray(face.landmarks) - [left, top]) * scale
        out.append((small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), Face(box, 1.0, marks)))
    return out


def opened(picture: np.ndarray, face: Face, how_far: float) -> np.ndarray:
    """The face with its mouth opened: what is below the lips' middle goes down, the gap is dark."""
    assert face.landmarks is not None
    left, right = np.asarray(face.landmarks)[3:5]
    x, y = (left + right) / 2
    wide = abs(right[0] - left[0])
    gap = how_far * 0.35 * wide
    if gap < 0.5:
        return picture
    near = np.exp(-(((COLUMNS - x) / (0.6 * wide)) ** 2))
    below = np.clip((ROWS - y) / max(gap, 1e-3), 0, 1) * np.clip((y + 2.2 * wide - ROWS) / (1.5 * wide), 0, 1)
    moved = cv2.remap(picture, COLUMNS, (ROWS - gap * near * below).astype(np.float32), cv2.INTER_LINEAR)
    cv2.ellipse(
        moved, (int(x), int(y + gap / 2)), (int(0.35 * wide), max(int(gap / 2), 1)), 0, 0, 360, (30, 20, 40), -1
    )
    return moved


def scene(faces, rng, people: int, speaker: int | None, seconds: float = 2.0):  # type: ignore[no-untyped-def]
    """Frames of ``people`` side by side and who is where; heads move, light flickers, the detector is unsteady."""
    chosen = rng.choice(len(faces), people, replace=False)
    phase = rng.uniform(0, 6, people)
    for step in range(int(seconds * RATE)):
        now = step / RATE
        tiles, persons = [], []
        for place, index in enumerate(chosen):
            picture, face = faces[index]
            if place == speaker:
                picture = opened(picture, face, abs(np.sin(np.pi * TALK_HZ * now / 2 + phase[place])))
            dx, dy = 4 * np.sin(now * 2 + phase[place]), 3 * np.cos(now * 1.5 + phase[place])
            shifted = cv2.warpAffine(picture, np.float32([[1, 0, dx], [0, 1, dy]]), (SIDE, SIDE), borderMode=1)
            top, left = rng.integers(SIDE, size=2)
            noisy = shifted + NOISE[top : top + SIDE, left : left + SIDE] + np.float32(5 * np.sin(7 * now))
            tiles.append(np.clip(noisy, 0, 255).astype(np.uint8))
            assert face.landmarks is not None
            marks = np.asarray(face.landmarks) + np.array([dx + place * SIDE, dy]) + rng.normal(0, 0.4, (5, 2))
            box = Box(face.box.x + dx + place * SIDE, face.box.y + dy, face.box.width, face.box.height)
            persons.append(Person(f"p{place}", 1.0, None, Face(box, 1.0, marks)))
        yield now, np.concatenate(tiles, axis=1), persons


def named(faces, seed: int, people: int, speaks: bool) -> tuple[str, str]:  # type: ignore[no-untyped-def]
    """(who was named, who spoke)."""
    rng = np.random.default_rng(seed)
    speaker = int(rng.integers(people)) if speaks else None
    mouths, now, persons = MouthMotion(), 0.0, []
    for now, frame, persons in scene(faces, rng, people, speaker):
        mouths.update(frame, persons, now)
    return mouths.speaker([p.person_id for p in persons], now), "" if speaker is None else f"p{speaker}"


def test_the_moving_mouth_is_found_and_a_still_group_names_nobody(faces: list[tuple[np.ndarray, Face]]) -> None:
    speaking = [named(faces, seed, 2 + seed % 3, True) for seed in range(24)]
    right = np.mean([said == truth for said, truth in speaking])
    wrong = np.mean([said not in ("", truth) for said, truth in speaking])
    silent = [named(faces, 100 + seed, 3, False)[0] for seed in range(12)]
    assert right >= 0.8
    assert wrong <= 0.05
    assert silent.count("") >= 11


def test_nobody_known_and_a_gap_name_nobody() -> None:
    mouths = MouthMotion()
    assert mouths.speaker([], 0.0) == ""
    assert mouths.speaker(["p1"], 0.0) == ""
    person = Person("p1", 1.0, None, Face(Box(10, 10, 0.5, 0.5), 1.0))
    mouths.update(np.zeros((50, 50, 3), np.uint8), [person], 1.0)
    assert mouths.speaker(["p1"], 1.0) == ""
