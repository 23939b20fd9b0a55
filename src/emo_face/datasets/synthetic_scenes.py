"""Synthetic people in scenes: background, posture and face each carry a different part of a multi-label emotion.

For tests and for the benchmark that shows the mechanism; it says nothing about accuracy on people. Frames are drawn
so that the parts need their own view: the face is a few pixels of the whole picture and the background is not in the
crops. Label frequencies fall off as EMOTIC's do.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from emo_face.core.types import Box, ImageArray
from emo_face.datasets.records import Record, write_jsonl

FRAME, BODY, FACE = 160, (40, 64), 12
"""Pixels: side of the frame, (width, height) of the body box, side of the face box."""
PLACES = ("street", "park", "office", "stage")
POSES = ("raised", "crossed", "hanging", "wide")
MOUTHS = ("up", "down", "open", "flat")
LABEL_SET = "emotic26"

# (label, chance when the rule holds, rule). A rule names the place, pose and mouth it needs ("" = any).
# Rates fall from about 0.5 to 0.02 over all people, as EMOTIC's Engagement .. Embarrassment do.
RULES: tuple[tuple[str, float, Sequence[tuple[str, str, str]]], ...] = (
    ("Engagement", 0.95, (("street", "", ""), ("office", "", ""))),
    ("Anticipation", 0.9, (("stage", "", ""), ("", "raised", ""))),
    ("Happiness", 0.95, (("", "", "up"),)),
    ("Excitement", 0.9, (("park", "raised", ""), ("stage", "raised", ""), ("street", "wide", ""))),
    ("Confidence", 0.9, (("", "wide", "flat"), ("", "wide", "up"), ("", "crossed", "flat"))),
    ("Surprise", 0.95, (("", "raised", "open"), ("office", "", "open"))),
    ("Sadness", 0.95, (("", "hanging", "down"),)),
    ("Peace", 0.95, (("park", "hanging", "flat"), ("park", "hanging", "up"))),
    ("Annoyance", 0.95, (("office", "crossed", "down"), ("street", "crossed", "down"))),
    ("Fear", 0.95, (("street", "raised", "open"),)),
    ("Embarrassment", 0.95, (("stage", "hanging", "down"),)),
)
LABELS = tuple(rule[0] for rule in RULES)


@dataclass(frozen=True, slots=True)
class Person:
    """What was drawn: indices into :data:`PLACES`, :data:`POSES`, :data:`MOUTHS`, and the boxes."""

    place: int
    pose: int
    mouth: int
    body: Box
    face: Box


def draw(rng: np.random.Generator, place: int, pose: int, mouth: int) -> tuple[ImageArray, Person]:
    """One BGR frame and its person, at a random position with random colours and noise."""
    frame = _background(rng, place)
    x = int(rng.integers(2, FRAME - BODY[0] - 2))
    y = int(rng.integers(2, FRAME - BODY[1] - 2))
    shirt = tuple(int(v) for v in rng.integers(60, 200, 3))
    head = (x + BODY[0] // 2, y + FACE // 2 + 2)
    hips = (head[0], y + 44)
    cv2.line(frame, (head[0], y + FACE + 2), hips, shirt, 7)
    for side in (-1, 1):
        cv2.line(frame, hips, (hips[0] + side * 7, y + BODY[1] - 2), shirt, 4)
        _arm(frame, head[0], y + FACE + 6, side, pose, shirt)
    face = Box(head[0] - FACE / 2, head[1] - FACE / 2, FACE, FACE)
    _face(frame, face, mouth, rng)
    noise = rng.normal(0, 4, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8), Person(place, pose, mouth, Box(x, y, *BODY), face)


def _background(rng: np.random.Generator, place: int) -> ImageArray:
    """Stripes whose direction and tint name the place; tint varies, so colour alone does not give it away."""
    tint = np.array([(90, 90, 100), (80, 110, 85), (105, 95, 85), (95, 85, 105)][place]) + rng.integers(-20, 21, 3)
    frame = np.empty((FRAME, FRAME, 3), np.int16)
    frame[:] = tint
    rows, columns = np.mgrid[:FRAME, :FRAME]
    phase = rng.integers(0, 40)
    field = [columns, rows, columns + rows, columns - rows][place]
    frame[((field + phase) // 20) % 2 == 0] += 35
    return np.clip(frame, 0, 255).astype(np.uint8)


def _arm(frame: ImageArray, x: int, y: int, side: int, pose: int, colour: Sequence[int]) -> None:
    shoulder = (x + side * 3, y)
    ends = {"raised": (side * 14, -18), "crossed": (-side * 8, 12), "hanging": (side * 7, 24), "wide": (side * 17, 3)}
    dx, dy = ends[POSES[pose]]
    cv2.line(frame, shoulder, (shoulder[0] + dx, shoulder[1] + dy), tuple(int(c) for c in colour), 4)


def _face(frame: ImageArray, box: Box, mouth: int, rng: np.random.Generator) -> None:
    """Drawn at eight times the size and pasted in, so that the mouth is smooth in a few pixels."""
    side = FACE * 8
    skin = np.array((150, 180, 215)) + rng.integers(-20, 21, 3)
    patch = np.empty((side, side, 3), np.uint8)
    patch[:] = np.clip(skin, 0, 255)
    for ear in (side // 3, 2 * side // 3):
        cv2.circle(patch, (ear, side // 3), side // 14, (40, 40, 40), -1)
    centre, dark = (side // 2, 2 * side // 3), (40, 30, 90)
    shape = MOUTHS[mouth]
    if shape == "open":
        cv2.ellipse(patch, centre, (side // 7, side // 5), 0, 0, 360, dark, -1)
    elif shape == "flat":
        cv2.line(patch, (side // 4, centre[1]), (3 * side // 4, centre[1]), dark, side // 10)
    else:
        up = shape == "up"
        middle = (centre[0], centre[1] - side // 8 if up else centre[1] + side // 8)
        cv2.ellipse(patch, middle, (side // 4, side // 5), 0, 0 if up else 180, 180 if up else 360, dark, side // 10)
    x, y = round(box.x), round(box.y)
    frame[y : y + FACE, x : x + FACE] = cv2.resize(patch, (FACE, FACE), interpolation=cv2.INTER_AREA)


def labels_of(rng: np.random.Generator, place: int, pose: int, mouth: int) -> tuple[str, ...]:
    """Draw the labels of a person from :data:`RULES`; Engagement where none holds, as annotators do."""
    shown = (PLACES[place], POSES[pose], MOUTHS[mouth])
    found = []
    for label, chance, cases in RULES:
        holds = any(all(want in ("", have) for want, have in zip(case, shown, strict=True)) for case in cases)
        if rng.random() < (chance if holds else 0.01):
            found.append(label)
    return tuple(found) or ("Engagement",)


def make(folder: Path, count: int, seed: int = 0, shares: Sequence[float] = (0.7, 0.1, 0.2)) -> list[Record]:
    """Write ``count`` frames and ``records.jsonl`` into ``folder``; the same seed gives the same bytes.

    Places, poses and mouths are not drawn evenly: rare combinations make rare labels.
    """
    rng = np.random.default_rng(seed)
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    limits = np.cumsum(shares) * count
    records = []
    for i in range(count):
        place = int(rng.choice(4, p=(0.35, 0.25, 0.25, 0.15)))
        pose = int(rng.choice(4, p=(0.25, 0.25, 0.3, 0.2)))
        mouth = int(rng.choice(4, p=(0.35, 0.2, 0.15, 0.3)))
        frame, person = draw(rng, place, pose, mouth)
        image = f"frames/{i:06d}.png"
        cv2.imwrite(str(folder / image), frame)
        split = ("train", "val", "test")[int(np.searchsorted(limits[:-1], i, side="right"))]
        records.append(_record(i, image, split, person, labels_of(rng, place, pose, mouth)))
    write_jsonl(folder / "records.jsonl", records)
    return records


def _record(i: int, image: str, split: str, person: Person, labels: Sequence[str]) -> Record:
    place, pose, mouth = PLACES[person.place], POSES[person.pose], MOUTHS[person.mouth]
    return Record(
        id=f"synthetic/{i:06d}",
        image=image,
        label_set=LABEL_SET,
        labels=tuple(sorted(labels)),
        split=split,
        source="synthetic",
        image_size=(FRAME, FRAME),
        bbox_body=person.body,
        bbox_face=person.face,
        group_id=image,
        pose=f"The arms are {pose}.",
        situation=f"The scene is a {place}.",
        rationale=f"The mouth is {mouth} and the arms are {pose}. This suggests {' and '.join(sorted(labels))}.",
    )


def words(texts: Sequence[str]) -> list[str]:
    """Every word and mark of some texts, for a word-level tokenizer."""
    return sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text)})
