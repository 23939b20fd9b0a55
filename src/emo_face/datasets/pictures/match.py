"""Whose face and whose body: detected boxes given to the people that a data set annotates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emo_face.core.geometry import iou
from emo_face.core.types import Box, Detection, Face, ImageArray
from emo_face.datasets.records import Detected, Record
from emo_face.perception.associate import associate
from emo_face.perception.build import Detectors
from emo_face.perception.closer import look_closer
from emo_face.perception.detect_yolo import Body

SAME = 0.5  # overlap above which a detected and an annotated box show the same thing
CLOSER = 640  # side of the second look's picture, pixels


@dataclass(frozen=True)
class Finder:
    """Detectors and who they are, for the records that they fill.

    Attributes:
        versions: detector name -> first digits of its file's sha256, or of its library's version.
    """

    detectors: Detectors
    versions: dict[str, str]

    def complete(self, frame: ImageArray, people: Sequence[Record]) -> list[Record]:
        """The records of one picture with the boxes that were missing and could be found.

        Annotated boxes stay as they are. A person with neither box gets those of the largest face (else body) that
        belongs to nobody else; if several people of a picture have neither, they cannot be told apart and stay so.

        Args:
            frame: H x W x 3 BGR. people: all records of this picture.
        """
        bodies = _merged([p.bbox_body for p in people], self._bodies(frame))
        faces = _merged_faces([p.bbox_face for p in people], self.detectors.faces.detect(frame))
        found = look_closer(frame, associate(bodies, faces), self.detectors.faces, CLOSER)
        owned = {id(d): p.id for p in people for d in found if _is(d, p)}
        free = [d for d in found if id(d) not in owned]
        blank = [p for p in people if p.bbox_body is None and p.bbox_face is None]
        mine = {name: d for d in found if (name := owned.get(id(d)))}
        if len(blank) == 1 and free:
            mine[blank[0].id] = max(free, key=_size)
        return [self._filled(person, mine.get(person.id)) for person in people]

    def _bodies(self, frame: ImageArray) -> list[Body]:
        return [] if self.detectors.bodies is None else self.detectors.bodies.detect(frame)

    def _filled(self, person: Record, found: Detection | None) -> Record:
        if found is None:
            return person
        if person.bbox_body is None and found.body is not None:
            assert self.detectors.bodies is not None
            seen = self._detected(self.detectors.bodies.name, found.score)
            person = replace(person, bbox_body=found.body, body_found=seen)
        if person.bbox_face is None and found.face is not None:
            seen = self._detected(self.detectors.faces.name, found.face.score)
            person = replace(person, bbox_face=found.face.box, face_found=seen)
        return person

    def _detected(self, name: str, score: float) -> Detected:
        return Detected(name, self.versions[name], round(score, 4))


def _merged(annotated: Sequence[Box | None], detected: Sequence[Body]) -> list[Body]:
    """Annotated bodies, and those detected ones that are not among them."""
    known = [box for box in annotated if box is not None]
    return [Body(box, 1.0) for box in known] + [b for b in detected if all(iou(b.box, box) < SAME for box in known)]


def _merged_faces(annotated: Sequence[Box | None], detected: Sequence[Face]) -> list[Face]:
    known = [box for box in annotated if box is not None]
    return [Face(box, 1.0) for box in known] + [f for f in detected if all(iou(f.box, box) < SAME for box in known)]


def _is(found: Detection, person: Record) -> bool:
    if person.bbox_body is not None:
        return found.body == person.bbox_body
    return person.bbox_face is not None and found.face is not None and found.face.box == person.bbox_face


def _size(found: Detection) -> tuple[bool, float]:
    face = found.face
    return (face is not None, face.box.area if face is not None else found.body.area if found.body is not None else 0.0)
