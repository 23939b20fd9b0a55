"""Text drawn on pictures by OpenCV, whose fonts have ASCII alone."""

import unicodedata

import cv2

from emo_face.core.types import ImageArray

Colour = tuple[int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX
_PLAIN = str.maketrans(dict(zip("\u2018\u2019\u201c\u201d\u2013\u2014", "''\"\"--", strict=True)))


def ascii_text(text: str) -> str:
    """The nearest ASCII: letters without their accents, quotes and dashes of the keyboard, "?" for the rest."""
    letters = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(c for c in letters if not unicodedata.combining(c)).encode("ascii", "replace").decode()


def write(
    picture: ImageArray, text: str, origin: tuple[int, int], colour: Colour, scale: float, outline: Colour, border: int
) -> None:
    """Draw one line of text with an outline on a picture.

    Args:
        picture: H x W x 3 BGR uint8, drawn on. origin: left end of the base line, pixels.
        scale: 1 is about 22 pixels high. border: width of the outline's stroke, pixels.
    """
    shown = ascii_text(text)
    cv2.putText(picture, shown, origin, FONT, scale, outline, border, cv2.LINE_AA)
    cv2.putText(picture, shown, origin, FONT, scale, colour, 1, cv2.LINE_AA)


def width_of(text: str, scale: float) -> int:
    """Pixels that a line of :func:`write` takes."""
    return int(cv2.getTextSize(ascii_text(text), FONT, scale, 1)[0][0])
