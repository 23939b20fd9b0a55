"""The debug picture: boxes, ids, scores, and bars that show which source counted."""

from collections.abc import Sequence

import cv2
import numpy as np

from emo_face.core.labels import LabelSet, label_rgb, top_of
from emo_face.core.types import Array, Box, Emotion, ImageArray, Person
from emo_face.perception.lettering import Colour, width_of, write

GAP = 6  # px between a face and its panel
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
    row = max(15, out.shape[0] // (28 if len(people) < 4 else 40))  # px; a large picture has large letters
    for person, emotion in zip(people, emotions, strict=True):
        if (anchor := _anchor(person)) is not None:
            taken.append(_panel(out, anchor, taken, person, emotion, labels, row))
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
    """Left and top of a panel: beside, below or above a face, else wherever it covers little of what is ``taken``."""
    right, down = max(out.shape[1] - width, 0), max(out.shape[0] - height, 0)
    beside = ((anchor.right + GAP, anchor.y), (anchor.x - width - GAP, anchor.y))
    around = [*beside, (anchor.x, anchor.bottom + GAP), (anchor.x, anchor.y - height - GAP)]
    anywhere = np.mgrid[0 : right + 1 : height // 5, 0 : down + 1 : height // 5].reshape(2, -1).T
    places: Array = np.clip(np.concatenate([around, anywhere]), 0, (right, down))

    def apart(box: Box) -> Array:
        """(places, 2) pixels between a box and a panel there, to the side and up or down; negative if they meet."""
        gap: Array = np.maximum(places - (box.right, box.bottom), (box.x, box.y) - places - (width, height))
        return gap

    away = np.maximum(np.hypot(*np.maximum(apart(anchor), 0).T), GAP)
    covered = sum(np.minimum(apart(box), 0).prod(axis=1) for box in taken)  # px²
    left, top = places[np.argmin(away + 10 * covered / height)]
    return int(left), int(top)


def _panel(
    out: ImageArray, anchor: Box, taken: Sequence[Box], person: Person, emotion: Emotion, labels: LabelSet, row: int
) -> Box:
    """Id and quality, the three best labels as bars, and the signed evidence; ``row`` pixels each. The place it took.

    Without evidence, or if nothing stands out, no label is named.
    """
    order = np.argsort(-emotion.probabilities)[: 3 if top_of(emotion) else 0]
    sources = sorted(emotion.evidence)
    width, height = 11 * row, row * (1 + len(order) + len(sources)) + row // 3
    left, top = _place(anchor, width, height, out, taken)
    near = np.clip(anchor.center, (left, top), (left + width, top + height))
    face = np.clip(near, (anchor.x, anchor.y), (anchor.right, anchor.bottom))
    cv2.line(out, near.astype(int).tolist(), face.astype(int).tolist(), _UNKNOWN, 2, cv2.LINE_AA)
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
