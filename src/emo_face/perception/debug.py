"""The debug picture: boxes, ids, scores, and bars that show which source counted."""

from collections.abc import Sequence

import cv2
import numpy as np

from emo_face.core.labels import LabelSet, label_colour, top_of
from emo_face.core.types import Box, Emotion, ImageArray, Person

Colour = tuple[int, int, int]

_UNKNOWN: Colour = (120, 120, 120)
_FOR: Colour = (80, 200, 80)
_AGAINST: Colour = (80, 80, 230)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


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
        anchor = person.face.box if person.face is not None else person.body
        if anchor is not None:
            _panel(out, anchor, person, emotion, labels)
    if caption:
        _text(out, caption, (6, out.shape[0] - 8), (255, 255, 255))
    return out


def _bgr(label: str) -> Colour:
    red, green, blue = bytes.fromhex(label_colour(label)[1:])
    return blue, green, red


def _box(out: ImageArray, box: Box, colour: Colour, width: int) -> None:
    cv2.rectangle(out, (round(box.x), round(box.y)), (round(box.right), round(box.bottom)), colour, width, cv2.LINE_AA)


def _landmarks(out: ImageArray, person: Person, colour: Colour) -> None:
    if person.face is not None and person.face.landmarks is not None:
        for x, y in np.asarray(person.face.landmarks):
            cv2.circle(out, (round(float(x)), round(float(y))), 1, colour, -1, cv2.LINE_AA)


def _panel(out: ImageArray, anchor: Box, person: Person, emotion: Emotion, labels: LabelSet) -> None:
    """Id and quality, the three best labels as bars, and the signed evidence, beside the face.

    Without evidence, or where nothing stands out, no label is named.
    """
    order = np.argsort(-emotion.probabilities)[: 3 if top_of(emotion) else 0]
    sources = sorted(emotion.evidence)
    height = 14 * (2 + len(order) + len(sources))
    width = 148
    x = anchor.right + 6 if anchor.right + 6 + width <= out.shape[1] else anchor.x - width - 6
    left = int(min(max(x, 0), max(out.shape[1] - width, 0)))
    top = int(min(max(anchor.y, 0), max(out.shape[0] - height, 0)))
    region = out[top : top + height, left : left + width]
    region[:] = (region * 0.4).astype(np.uint8)
    y = top + 12
    _text(out, f"{person.person_id} q{emotion.quality:.2f}", (left + 3, y), (255, 255, 255))
    for i in order:
        y += 14
        share = float(emotion.probabilities[i])
        name = labels.labels[i]
        colour = _bgr(name)
        cv2.rectangle(out, (left + 2, y - 9), (left + 2 + int((width - 4) * share), y + 2), colour, -1)
        _text(out, f"{name[:15]} {share:.2f}", (left + 4, y), (255, 255, 255))
    middle = left + width // 2 + 20
    for source in sources:
        y += 14
        share = float(np.clip(emotion.evidence[source], -1.0, 1.0))
        end = middle + int(share * (width // 2 - 22))
        cv2.rectangle(out, (min(middle, end), y - 8), (max(middle, end), y), _FOR if share >= 0 else _AGAINST, -1)
        _text(out, source[:7], (left + 4, y), (255, 255, 255))


def _text(out: ImageArray, text: str, origin: tuple[int, int], colour: Colour) -> None:
    safe = text.encode("ascii", "replace").decode()
    cv2.putText(out, safe, origin, _FONT, 0.36, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(out, safe, origin, _FONT, 0.36, colour, 1, cv2.LINE_AA)
