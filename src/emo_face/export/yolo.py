"""YOLO11 to ONNX for the runtime, registered in the user cache.

The weights and ultralytics are AGPL-3.0 and never part of this package: only this export (and the peer of `emo-face
bench graph`) imports ultralytics, on your machine, when you run it. Afterwards the nodes need neither it nor torch.

  scripts/setup.sh ultralytics
  emo-face export yolo                          # yolo11n, fetched by ultralytics from its own release page
  emo-face export yolo --weights my_yolo11.pt   # weights that are already here, no network
  emo-face export yolo --weights yolo11s.pt --name yolo11s

The file goes to ~/.cache/emo_face with dynamic batch, height and width; its hash goes into the overlay manifest there,
so that `emo-face models verify NAME` and the nodes (parameter detector.yolo) know it.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.perception.detect_yolo import YoloPersonDetector
from emo_face.runtime.bundle import install
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.store import user_cache

OPSET = 17


def export(weights: str, folder: Path) -> Path:
    """Let ultralytics write the ONNX file into ``folder``; returns its path. Raises UserError without ultralytics."""
    try:
        from ultralytics import YOLO
    except ImportError:
        raise UserError(f"ultralytics is not installed: {how_to_install('ultralytics')}") from None
    source = Path(weights)
    if source.is_file():  # ultralytics writes beside its input: work on a copy
        source = Path(shutil.copy(source, folder / source.name))
    elif source.parent != Path() or source.suffix != ".pt":
        raise UserError(f"--weights {weights}: no such file; give a .pt file or a name such as yolo11n.pt")
    else:
        source = folder / source.name
    exported = YOLO(str(source), task="detect").export(format="onnx", dynamic=True, simplify=True, opset=OPSET)
    return Path(exported)


def check(path: Path) -> None:
    """Run the file as the runtime will, at two shapes. Raises ModelError if it is no person detector."""
    detector = YoloPersonDetector(OrtEngine(path))
    for height, width in ((480, 640), (360, 640)):
        detector.detect(np.full((height, width, 3), 114, dtype=np.uint8))


add_arguments = arguments(
    option("--weights", default="yolo11n.pt", help="a .pt file, or a name that ultralytics knows"),
    option("--name", default="yolo11n", help="name in the model store"),
    option("--licence", default="AGPL-3.0 (Ultralytics YOLO11 weights)"),
)


def run(args: argparse.Namespace) -> list[Path]:
    """Export, check, install; the file installed. Raises UserError or ModelError."""
    with tempfile.TemporaryDirectory() as folder:
        path = export(args.weights, Path(folder))
        check(path)
        entry = install(path, args.name, args.licence, "person detection, exported by emo-face export yolo")
    target = user_cache() / entry.file
    print(f"{entry.name}: {target} ({entry.size / 1e6:.1f} MB), sha256 {entry.sha256}")
    return [target]
