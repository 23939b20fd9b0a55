"""Requests for a record: its picture with the person in a red box, and the prompt filled in."""

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2

from emo_face.datasets.annotate.provider import Request, RowError
from emo_face.datasets.annotate.schema import table
from emo_face.datasets.contexts.tasks import box_of
from emo_face.datasets.pictures.boxes import clip
from emo_face.datasets.records import Record
from emo_face.expression.contextface.picture import fitted
from emo_face.expression.contextface.prompts import safe, word_of, words
from emo_face.runtime.stills import decoded

SIZE = 768
"""Pixels a side of the picture that is sent."""
QUALITY = 90
"""Of its JPEG."""


def context_request(record: Record, root: Path, model: str, temperature: float, attempt: int) -> Request:
    """Ask for situation and quote of a record (supplement, section 1).

    Raises:
        RowError: its picture is missing or does not decode, its person has no box, or its label is none of the seven;
            names the record.
    """
    prompt = table()["context"]
    user = prompt["user"].format(emotion=word(record))
    return about_boxed(record, root, Request(model, prompt["system"], user, temperature=temperature, attempt=attempt))


def listener_request(record: Record, root: Path, model: str, temperature: float, attempt: int) -> Request:
    """Ask for the situation and the reaction of somebody who hears the record's quote.

    Raises:
        RowError: as :func:`context_request`, or the record has no situation or no quote.
    """
    if not (safe(record.situation) and safe(record.quote)):
        raise RowError(f"record {record.id}: no situation or no quote; add --perspectives speaker,listener")
    prompt = table()["listener"]
    user = prompt["user"].format(
        emotion=word(record), situation=safe(record.situation), quote=safe(record.quote), options=", ".join(words())
    )
    return about_boxed(record, root, Request(model, prompt["system"], user, temperature=temperature, attempt=attempt))


def about_boxed(record: Record, root: Path, request: Request) -> Request:
    """As :func:`about_picture`, for texts that speak of the red box. Raises RowError if there is none, too."""
    if box_of(record) is None:
        raise RowError(f"record {record.id}: its person has no box; find boxes first: emo-face data boxes")
    return about_picture(record, root, request)


def about_picture(record: Record, root: Path, request: Request) -> Request:
    """The request with the record's picture: whole, square, the person in a red box.

    Raises:
        RowError: the picture is missing; names the record.
    """
    path = root / record.image
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise RowError(f"record {record.id}: {path}: {getattr(error, 'strerror', None) or error}") from None
    box = box_of(record)
    corners = "" if box is None else f"{box.x:g},{box.y:g},{box.width:g},{box.height:g}"
    key = hashlib.sha256(content).hexdigest() + f"|{corners}|{SIZE}|{QUALITY}"
    return replace(request, image_key=key, picture=lambda: jpeg(content, record))


def judge_request(record: Record, model: str, attempt: int) -> Request:
    """Ask how good a record's context is (supplement, section 2); the texts alone are judged."""
    prompt = table()["judge"]
    user = prompt["user"].format(emotion=word(record), situation=safe(record.situation), quote=safe(record.quote))
    return Request(model, prompt["system"], user, temperature=0.0, attempt=attempt)


def word(record: Record) -> str:
    """The one emotion of a record as the prompts spell it. Raises RowError naming the record."""
    try:
        (label,) = record.labels
        return word_of(label)
    except ValueError:
        raise RowError(
            f"record {record.id}: labels {', '.join(record.labels) or 'none'}: expected one of the seven"
        ) from None


def jpeg(content: bytes, record: Record) -> bytes:
    """The picture as it is sent: whole, square, the person in a red box.

    Raises:
        RowError: it does not decode, or the box is outside of it.
    """
    image = decoded(content)
    if image is None:
        raise RowError(f"record {record.id}: picture {record.image} does not decode")
    if (box := box_of(record)) is not None and clip(box, (image.shape[1], image.shape[0])) is None:
        raise RowError(f"record {record.id}: its box is outside of its picture {record.image}")
    shown = fitted(image, SIZE, box)
    done, data = cv2.imencode(".jpg", shown[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise RowError(f"record {record.id}: picture {record.image} cannot be encoded")
    return bytes(data)
