"""A clip read twice, with bodies looked for in every frame and by need: what it costs, and who is lost by it.

People are paired by the overlap of their boxes; misses and identity switches are counted as in CLEAR MOT (Bernardin and
Stiefelhagen 2008), with the first reading as the truth.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.geometry import iou
from emo_face.core.labels import top_of
from emo_face.core.types import Box, Emotion, ImageArray, Person
from emo_face.perception.pipeline import PerceptionPipeline
from emo_face.runtime.sources import open_source

SAME = 0.5  # overlap of boxes above which two people of one frame are the same

Seen = Sequence[tuple[Person, Emotion]]


@dataclass(frozen=True, slots=True)
class Reading:
    """A clip as one pipeline read it: people per frame, processor ms per frame, frames with a look at bodies."""

    frames: Sequence[Seen]
    cpu_ms: float
    looks: int


def read_clip(pipeline: PerceptionPipeline, path: Path, limit: int) -> Reading:
    """Read at most ``limit`` frames of a video; decoding is not counted. Raises SourceError for one without."""
    pipeline.reset()
    rows: list[Seen] = []
    spent, looks = 0.0, 0
    for now, frame in _frames(path, limit):
        start = time.process_time()
        result = pipeline.process(frame, now)
        spent += time.process_time() - start
        looks += "bodies" in result.timings
        rows.append(list(zip(result.people, result.emotions, strict=True)))
    return Reading(rows, round(spent * 1e3 / max(len(rows), 1), 2), looks)


def compare(every: Reading, adaptive: Reading) -> dict[str, Any]:
    """What the second reading costs and does otherwise than the first.

    Returns:
        ``every``, ``adaptive``: {frames, people (summed over the frames), ids, looks, cpu_ms}; ``misses``, ``extra``
        (people seen by one reading only), ``switches`` (an id of the first becomes another of the second),
        ``other_emotion`` (people whose emotion is another), ``largest_difference`` of a probability.
    """
    counts = dict.fromkeys(("misses", "extra", "switches", "other_emotion"), 0)
    names: dict[str, str] = {}
    largest = 0.0
    for one, two in zip(every.frames, adaptive.frames, strict=True):
        pairs = _pairs(one, two)
        counts["misses"] += len(one) - len(pairs)
        counts["extra"] += len(two) - len(pairs)
        for (person, emotion), (other, others) in pairs:
            counts["switches"] += names.get(person.person_id, other.person_id) != other.person_id
            names[person.person_id] = other.person_id
            counts["other_emotion"] += top_of(emotion) != top_of(others)
            largest = max(largest, float(np.abs(emotion.probabilities - others.probabilities).max()))
    return {"every": _about(every), "adaptive": _about(adaptive), **counts, "largest_difference": round(largest, 3)}


def _about(reading: Reading) -> dict[str, Any]:
    return {
        "frames": len(reading.frames),
        "people": sum(len(row) for row in reading.frames),
        "ids": len({person.person_id for row in reading.frames for person, _ in row}),
        "looks": reading.looks,
        "cpu_ms": reading.cpu_ms,
    }


def _pairs(one: Seen, two: Seen) -> list[tuple[tuple[Person, Emotion], tuple[Person, Emotion]]]:
    """People of one frame in both readings, the best overlap first."""
    boxes, others = [_box(person) for person, _ in one], [_box(person) for person, _ in two]
    ranked = sorted(((iou(a, b), i, j) for i, a in enumerate(boxes) for j, b in enumerate(others)), reverse=True)
    taken: dict[int, int] = {}
    for score, i, j in ranked:
        if score >= SAME and i not in taken and j not in taken.values():
            taken[i] = j
    return [(one[i], two[j]) for i, j in taken.items()]


def _box(person: Person) -> Box:
    box = person.body or (person.face.box if person.face is not None else None)
    assert box is not None
    return box


def _frames(path: Path, limit: int) -> Iterator[tuple[float, ImageArray]]:
    source = open_source(str(path))
    try:
        for number in range(limit):
            frame = source.read()
            if frame is None:
                return
            yield number / (source.rate or 30.0), frame
    finally:
        source.close()
