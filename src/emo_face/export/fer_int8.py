"""The face student in int8 by calibration on your own faces, no training; refused if it reads other emotions.

Convolutions become int8, the last layers stay float. The result is compared with the float student on faces kept aside.

  scripts/setup.sh ultralytics                    # for onnx
  emo-face export fer-int8 PICTURES             # folder of pictures with faces like those the robot sees
  emo-face up --set perception.emotion.face=nano_face_int8

The file goes to the user cache and its hash into the overlay manifest there, as with emo-face export yolo-int8.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.arguments import option
from emo_face.core.errors import UserError
from emo_face.core.types import ImageArray, UInt8Array
from emo_face.export.int8 import judge, quantise
from emo_face.export.yolo_int8 import read_pictures
from emo_face.perception.build import build_detectors
from emo_face.perception.nano.face import FaceStudent
from emo_face.perception.nano.facecrop import cut, grey, normalise, usable
from emo_face.runtime.files import replacing
from emo_face.runtime.store import ModelStore, entry_of, open_store, register, user_cache

Crops = UInt8Array
NAME = "nano_face"
QUANTISED = ("Conv",)
LEAST = 30  # faces: a third of them judges


def read_crops(store: ModelStore, frames: Sequence[ImageArray]) -> Crops:
    """(n, 48, 48) aligned grey crops of every usable face. Raises UserError if there are too few."""
    detector = build_detectors(store).faces
    crops = [cut(grey(frame), face) for frame in frames for face in detector.detect(frame) if usable(face)]
    if len(crops) < LEAST:
        raise UserError(f"{len(crops)} faces in {len(frames)} pictures, expected {LEAST} or more; give more pictures")
    return np.stack(crops)


def feeds(crops: Crops) -> Iterator[dict[str, Any]]:
    """Inputs of the student, one face at a time."""
    for crop in crops:
        yield {"crops": normalise(crop[None])}


add_arguments = option("pictures", type=Path, help="folder of pictures; every third face is held out")


def run(args: argparse.Namespace) -> list[Path]:
    """Quantise, compare, register; the file written. Raises UserError if int8 reads other emotions."""
    store, name = open_store(), f"{NAME}_int8"
    source, crops = store.resolve(NAME), read_crops(store, read_pictures(args.pictures))
    aside, target = np.arange(len(crops)) % 3 == 0, user_cache() / f"{name}.onnx"
    with replacing(target) as partial:
        quantise(source.path, partial, lambda: feeds(crops[~aside]), QUANTISED)
        before, after = (FaceStudent(path).classify(crops[aside])[0] for path in (source.path, partial))
        judge(NAME, before, after)
    purpose = f"{NAME} in int8, by emo-face export fer-int8"
    register(entry_of(target, name, licence=source.entry.licence, purpose=purpose))
    print(f"{name}: {target}; use it by the parameter emotion.face: {name}")
    return [target]
