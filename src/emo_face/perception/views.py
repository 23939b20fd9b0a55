"""The views of a person that emotion models look at: scene, body, face."""

from dataclasses import dataclass

from emo_face.core.geometry import crop, expand, squared
from emo_face.core.types import Face, ImageArray, Person

FACE_MARGIN = 1.2  # detectors cut at the chin and brows; classifiers want a little around them
BODY_MARGIN = 1.05


@dataclass(frozen=True, slots=True)
class Views:
    """Crops of one person; None if that part was not seen. All are H x W x 3 BGR uint8.

    Attributes:
        scene: the whole frame, shared by all people of it. body: may be a view into the frame.
        face: square.
    """

    scene: ImageArray
    body: ImageArray | None = None
    face: ImageArray | None = None


def views(frame: ImageArray, person: Person) -> Views:
    """Cut the views of ``person`` out of ``frame``."""
    body = None
    if person.body is not None:
        cut = crop(frame, expand(person.body, BODY_MARGIN), pad=False)
        body = cut if cut.size else None
    return Views(frame, body, face_view(frame, person.face) if person.face is not None else None)


def face_view(frame: ImageArray, face: Face, margin: float = FACE_MARGIN) -> ImageArray | None:
    """A square crop about the face, black outside the image; None if the box has no area in it."""
    if face.box.width < 1 or face.box.height < 1:
        return None
    if not crop(frame, face.box, pad=False).size:
        return None
    return crop(frame, squared(expand(face.box, margin)))
