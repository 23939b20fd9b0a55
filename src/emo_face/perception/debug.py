"""The debug picture: boxes, ids, scores, and bars that show which source counted."""

from collections.abc import Sequence

import cv2
import numpy as np

from emo_face.core.geometry import intersection
from emo_face.core.labels import LabelSet, label_rgb, top_of
from emo_face.core.types import Box, Emotion, ImageArray, Person
from emo_face.perception.lettering import Colour, width_of, write

_UNKNOWN: Colour = (120, 120, 120)
_FOR: Colour = (80, 200, 80)
_AGAINST: Colour = (80, 80, 230)


def draw(
    frame: ImageArray, people: Sequence[Person], emotions: Sequence[Emotion], labels: LabelSet, caption: str = ""
) -> ImageArray:
    """Draw the people of a frame on a copy of it.

    Args:
        frame: H x W x 3 BGR uint8; left untouched.
        caption: one line at the bottom, for example detector and latency.
    """
    out = np.ascontiguousarray(frame).copy()
    for person, emotion in zip(people, emotions, strict=True):
        top = top_of(emotion)
        colour = _bgr(top) if top else _UNKNOWN
        if person.body is not None:
            _box(out, person.body, colour, 2)
        if person.face is not None:
            _box(out, person.face.box, colour, 1)
            _landmarks(out, person, colour)
    taken = [anchor for person in people if (anchor := _anchor(person)) is not None]
    for person, emotion in zip(people, emotions, strict=True):
        if (anchor := _anchor(person)) is not None:
            taken.append(_panel(out, anchor, taken, person, emotion, labels))
    if caption:
        _text(out, caption, (6, out.shape[0] - 8))
    return out


def _bgr(label: str) -> Colour:
    red, green, blue = label_rgb(label)
    return blue, green, red


def _box(out: ImageArray, box: Box, colour: Colour, width: int) -> None:
    cv2.rectangle(out, (round(box.x), round(box.y)), (round(box.right), round(box.bottom)), colour, width, cv2.LINE_AA)


def _landmarks(out: ImageArray, person: Person, colour: Colour) -> None:
    if person.face is not None and person.face.landmarks is not None:
        for x, y in np.asarray(person.face.landmarks):
            cv2.circle(out, (round(float(x)), round(float(y))), 1, colour, -1, cv2.LINE_AA)


def _anchor(person: Person) -> Box | None:
    return person.face.box if person.face is not None else person.body


def _place(anchor: Box, width: int, height: int, out: ImageArray, taken: Sequence[Box]) -> tuple[int, int]:
    """Left and top of a panel beside, below or above a face: in the picture, and over little of what is ``taken``."""
    rows, columns = out.shape[:2]
    beside = ((anchor.right + 6, anchor.y), (anchor.x - width - 6, anchor.y))
    around = (*beside, (anchor.x, anchor.bottom + 6), (anchor.x, anchor.y - height - 6))
    far_right, far_down = max(columns - width, 0), max(rows - height, 0)
    inside = [Box(min(max(x, 0), far_right), min(max(y, 0), far_down), width, height) for x, y in around]
    best = min(inside, key=lambda box: sum(intersection(box, other) for other in taken))
    return int(best.x), int(best.y)


def _panel(
    out: ImageArray, anchor: Box, taken: Sequence[Box], person: Person, emotion: Emotion, labels: LabelSet
) -> Box:
    """Id and quality, the three best labels as bars, and the signed evidence; the place it took.

    Without evidence, or if nothing stands out, no label is named.
    """
    order = np.argsort(-emotion.probabilities)[: 3 if top_of(emotion) else 0]
    sources = sorted(emotion.evidence)
    row = max(15, round(out.shape[0] / 28))  # px; a large picture has large letters
    width, height = 11 * row, row * (1 + len(order) + len(sources)) + row // 3
    left, top = _place(anchor, width, height, out, taken)
    region = out[top : top + height, left : left + width]
    region[:] = (region * 0.25).astype(np.uint8)
    y = top + row
    _row(out, (left, y), row, person.person_id, f"quality {emotion.quality:.0%}")
    for i in order:
        y += row
        share = float(emotion.probabilities[i])
        end = left + 2 + int((width - 4) * share)
        cv2.rectangle(out, (left + 2, y - row + row // 4), (end, y + row // 8), _bgr(labels.labels[i]), -1)
        _row(out, (left, y), row, labels.labels[i][:15], f"{share:.0%}")
    middle = left + 7 * row
    for source in sources:
        y += row
        end = middle + int(float(np.clip(emotion.evidence[source], -1.0, 1.0)) * (4 * row - 4))
        cv2.rectangle(
            out, (min(middle, end), y - row // 2), (max(middle, end), y), _FOR if end >= middle else _AGAINST, -1
        )
        cv2.line(out, (middle, y - row + row // 4), (middle, y + row // 8), _UNKNOWN, 1)
        _row(out, (left, y), row, source[:7])
    return Box(left, top, width, height)


def _row(out: ImageArray, origin: tuple[int, int], row: int, name: str, value: str = "") -> None:
    """A line of the panel, ``row`` pixels high and 11 rows wide: the name to the left, the value to the right."""
    left, y = origin
    scale = row / 40
    _text(out, name, (left + row // 4, y), scale)
    _text(out, value, (left + 11 * row - row // 4 - width_of(value, scale), y), scale)


def _text(out: ImageArray, text: str, origin: tuple[int, int], scale: float = 0.36) -> None:
    write(out, text, origin, (255, 255, 255), scale, (0, 0, 0), 3)
