"""The FER student and its peers on the labelled pictures: ``evaluate_fer``.

Accuracy figures of ours are read from ``models/nano_face_folds.json`` (made by ``emo-face train fer``): no model
judged a person it had seen. The shipped model, trained on all of them, is measured live for speed, size and noise, and
on these pictures under ``seen_in_training``.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.datasets.faces import faces as readers
from emo_face.datasets.faces.augment import degrade
from emo_face.datasets.faces.faces import FacePicture
from emo_face.datasets.faces.ferplus import SOURCE, faces_of, read_votes
from emo_face.evaluation.fer.crowd import crowd_figures
from emo_face.evaluation.fer.figures import Judged, Said, figures, of_source
from emo_face.evaluation.fer.folds import FILE, read_folds
from emo_face.evaluation.fer.noise import not_faces
from emo_face.evaluation.fer.peers import PEERS, Peer
from emo_face.evaluation.fer.strangers import FOLDER as STRANGERS
from emo_face.evaluation.fer.strangers import figures as stranger_figures
from emo_face.evaluation.fer.strangers import groups_of, judge, read_strangers
from emo_face.evaluation.metrics.timing import cpu_milliseconds
from emo_face.perception.nano.face import FaceStudent
from emo_face.perception.nano.facecrop import CROP, cut

MODEL = "nano_face.onnx"
SOURCES = ("cmu", "london", "photos")
CLIP = "video/WolfgangLanger_Pexels_3063838.mp4"
CLIP_STEP = 4
ROUNDS = 40
SEED = 5  # of what a bad camera does to FER+'s faces


def evaluate_fer(
    data: Path, models: Path | None = None, peers: bool = True, ferplus: Path | None = None
) -> dict[str, Any]:
    """Measure the FER student.

    Args:
        data: folder with ``images/``, ``video/``, ``face/`` and, for the peers, ``fer/``.
        models: folder with the model and its fold file; None takes the packaged one.
        ferplus: folder of FER+, for figures on its test faces; None leaves them out.

    Returns:
        ``fer`` and ``peers`` (figures), and ``predictions`` model -> data set -> truth and probabilities.

    Raises:
        UserError: pictures or the fold file are missing. ModelError: a model is missing or damaged.
    """
    folder = models or share_dir() / "models"
    unseen = read_folds(folder / FILE).judged()
    pictures = read_pictures(data)
    student = FaceStudent(folder / MODEL)
    ours = without_data(folder)
    crops = np.stack([cut(p.picture, p.face) for p in pictures])
    ours["seen_in_training"] = figures(judged(pictures, student.classify(crops)[0]))
    predictions: dict[str, dict[str, Said]] = {"fer": {s: of_source(unseen, s) for s in SOURCES}}
    crowd = list(faces_of(read_votes(ferplus, "Test")[0], readers.detector_of(data))) if ferplus else []
    if crowd:
        crops = np.stack([cut(p.picture, p.face) for p in crowd])
        said = judged(crowd, student.classify(crops)[0])
        rng = np.random.default_rng(SEED)
        worse = judged(crowd, student.classify(np.stack([degrade(crop, rng) for crop in crops]))[0])
        ours |= crowd_figures(said) | {"ferplus_degraded": crowd_figures(worse)["ferplus_accuracy"]}
        predictions["fer"]["ferplus"] = of_source(said, SOURCE)
    others = read_strangers(data)
    ours |= stranger_figures(judge(student, others), groups_of(data))
    ours["skipped"] = [
        *([] if others else [f"strangers: no images/{STRANGERS}/ in {data}"]),
        *([] if crowd else ["FER+: no --ferplus"]),
    ]
    rivals: dict[str, Any] = {}
    for name in PEERS if peers else ():
        peer = Peer(name, data / "fer")
        found = judged(pictures, peer.classify(pictures))
        rivals[name] = {**figures(found), "ms_batch8": peer.speed(), "bytes": peer.path.stat().st_size}
        predictions[name] = {s: of_source(found, s) for s in SOURCES}
        if crowd:
            said = judged(crowd, peer.classify(crowd))
            rivals[name] |= crowd_figures(said)
            predictions[name]["ferplus"] = of_source(said, SOURCE)
    return {"fer": ours, "peers": rivals, "predictions": predictions}


def without_data(folder: Path | None = None) -> dict[str, Any]:
    """Figures that need no picture: what the folds said of people they had not seen, speed, size, noise."""
    folder = folder or share_dir() / "models"
    folds, student = read_folds(folder / FILE), FaceStudent(folder / MODEL)
    return {
        **figures(folds.judged()),
        "ms_batch8": speed(student),
        "bytes": (folder / MODEL).stat().st_size,
        "figures_are": f"leave-people-out, {folds.made.get('folds')} folds, seed {folds.made.get('seed')}",
        "noise_top": round(noise_top(student), 4),
    }


def read_pictures(data: Path) -> list[FacePicture]:
    """The labelled pictures and every fourth frame of the clip. Raises UserError if a folder is missing."""
    images = data / "images"
    if not images.is_dir():
        raise UserError(f"{images}: no such folder; --data must hold images/, video/ and face/")
    detector = readers.detector_of(data)
    return [
        *readers.read_cmu(images / "cmu_faces", detector),
        *readers.read_london(images / "london", detector),
        *(p for p in readers.read_photos(images / "emotion", images / "labels.csv", detector) if p.label),
        *readers.read_video(data / CLIP, detector, CLIP_STEP),
    ]


def judged(pictures: Sequence[FacePicture], probabilities: np.ndarray[Any, Any]) -> list[Judged]:
    """Pair pictures with what a model said about each."""
    return [Judged(p.source, p.name, p.person, p.label or "", q) for p, q in zip(pictures, probabilities, strict=True)]


def speed(student: FaceStudent, rounds: int = ROUNDS) -> float:
    """Median CPU milliseconds for a batch of eight crops (one thread), from pixels to probabilities."""
    crops = np.random.default_rng(0).integers(0, 256, (8, CROP, CROP)).astype(np.uint8)
    student.classify(crops)
    return round(cpu_milliseconds([partial(student.classify, crops)] * rounds), 3)


def noise_top(student: FaceStudent, count: int = 400, seed: int = 7) -> float:
    """Highest top probability over things that are no face; a guess on them would be over 0.5."""
    top = student.classify(not_faces(count, seed))[0].max(axis=1)
    return float(top.max()) if len(top) else 1 / len(basic7())
