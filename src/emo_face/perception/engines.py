"""Which models of this machine an engine can be built for, with their files and plans."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emo_face.core.errors import ModelError
from emo_face.perception import detect_face, detect_yolo
from emo_face.perception.nano import face, text
from emo_face.runtime.engines.plan import Plan
from emo_face.runtime.store import ModelStore


@dataclass(frozen=True)
class Target:
    """A model file and how it is run on a GPU."""

    path: Path
    plan: Plan


def nano_targets(store: ModelStore, imgsz: int = 320, yolo: str = "yolo11n", face_imgsz: int = 320) -> Iterator[Target]:
    """The nano tier's models that are here; the sizes and ``yolo`` as the parameters ``detector.*`` say."""
    plans = {
        yolo: detect_yolo.plan(imgsz, yolo),
        "yunet": detect_face.plan(face_imgsz),
        "nano_face": face.PLAN,
        "nano_text": text.PLAN,
    }
    for name, plan in plans.items():
        try:
            found = store.find(name) if name in store.entries else None
        except ModelError:  # wrong bytes: `emo-face models verify` says so
            found = None
        if found is not None:
            yield Target(found.path, plan)


def multiview_targets(folder: Path) -> Iterator[Target]:
    """Encoder and head of an exported multi-view folder. Raises ModelError if a file is missing or another."""
    from emo_face.perception.multiview.export_manifest import read
    from emo_face.perception.multiview.parts import encoder_plan, head_plan

    manifest = read(folder)
    yield Target(folder / "encoder.onnx", encoder_plan(manifest.encoder))
    yield Target(folder / "head.onnx", head_plan(manifest.head))
