"""`emo-face look` at a film or a camera: frame by frame, with the people followed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set, top_of
from emo_face.recording.film import FilmWriter

if TYPE_CHECKING:
    from emo_face.perception.pipeline import FrameResult, PerceptionPipeline

CAMERA_SECONDS = 10.0
FALLBACK_RATE = 15.0  # frames/s of the film that a camera makes


@dataclass
class Seen:
    """What one person showed over the film: seconds in view, and the frames per likeliest emotion."""

    first: float
    last: float
    tops: Counter[str] = field(default_factory=Counter)


def look(source: str, pipeline: PerceptionPipeline, args: argparse.Namespace) -> int:
    """Read the film, draw it, print who was there. Raises UserError if the source or OUT cannot be used."""
    from emo_face.perception.debug import draw
    from emo_face.runtime.sources import open_source

    labels = label_set(pipeline.emotion.label_set)
    path = args.out or (None if args.json else Path(f"{_name(source)}_look.mp4"))
    opened = open_source(source)
    people: dict[str, Seen] = {}
    frames, start, limit = 0, time.monotonic(), args.seconds or (CAMERA_SECONDS if opened.live else float("inf"))
    try:
        with FilmWriter(path, opened.rate or FALLBACK_RATE) as film:
            while (frame := opened.read()) is not None:
                now = time.monotonic() - start if opened.live else frames / (opened.rate or FALLBACK_RATE)
                if now > limit:
                    break
                result = pipeline.process(frame, now)
                note(people, result, now)
                film.add(draw(frame, result.people, result.emotions, labels))
                frames += 1
                if frames % 25 == 0 and sys.stderr.isatty():
                    print(f"\rlook: {now:6.1f} s, {frames} frames", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("", file=sys.stderr)  # report what was seen until now
    finally:
        opened.close()
    if not frames:
        raise UserError(f"{source}: gave no picture")
    _tell(source, people, frames, path, args.json)
    return 0


def note(people: dict[str, Seen], result: FrameResult, now: float) -> None:
    """Add one frame's people; a flat distribution names nothing."""
    for person, emotion in zip(result.people, result.emotions, strict=True):
        seen = people.setdefault(person.person_id, Seen(now, now))
        seen.last = now
        if top := top_of(emotion):
            seen.tops[top] += 1


def _tell(source: str, people: dict[str, Seen], frames: int, path: Path | None, as_json: bool) -> None:
    rows = [
        {"id": name, "from": round(seen.first, 2), "to": round(seen.last, 2), "emotions": dict(seen.tops.most_common())}
        for name, seen in people.items()
    ]
    if as_json:
        print(json.dumps({"source": source, "frames": frames, "people": rows}))
    else:
        print(f"{_name(source)}: {frames} frames, {len(rows)} {'person' if len(rows) == 1 else 'people'}")
        for row in rows:
            print(f"  {row['id']}  {row['from']:.1f} to {row['to']:.1f} s: {_shares(row['emotions'])}")
    if path is not None:
        print(f"drawn: {path}", file=sys.stderr)


def _shares(tops: Any) -> str:
    total = sum(tops.values())
    return ", ".join(f"{label} {count / total:.0%}" for label, count in tops.items()) or "nothing usable was seen"


def _name(source: str) -> str:
    return f"camera{source}" if source.isdigit() else Path(source).stem
