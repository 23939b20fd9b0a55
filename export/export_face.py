#!/usr/bin/env python3
"""Export a trained face student to ONNX, check it against torch, and print its entry for models/manifest.yaml.

    python export/export_face.py --run out/train/face --out models/nano_face.onnx

RUN holds nano_face.pt and nano_face_folds.json (its calibration goes into the graph) of train_face.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml

from emo_face.core.errors import ModelError
from emo_face.evaluation.fer.folds import FILE, read_folds
from emo_face.runtime.store import entry_of
from emo_face.training.fer.export import export
from emo_face.training.fer.main import CHECKPOINT
from emo_face.training.fer.model import Exported, FaceNet


def load(path: Path) -> FaceNet:
    """The trained net. Raises ModelError naming the file."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        net = FaceNet(lessons=len(state["teacher.bias"])).eval()
        net.load_state_dict(state)
    except (OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path} is no checkpoint of the face student: {error}; run train_face.py") from None
    return net


def main() -> None:
    """Export, check, print the entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder written by train_face.py")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    made = read_folds(args.run / FILE).made
    bias = torch.tensor(made["shipped_bias"])
    shift = float(made["shipped_shift"])
    path = export(Exported(load(args.run / CHECKPOINT), float(made["shipped_temperature"]), bias, shift), args.out)
    entry = entry_of(
        path,
        "nano_face",
        licence="Apache-2.0",
        purpose="face student: crops [n,1,48,48] to probabilities [n,7] of basic7 and face score [n]",
        how="it ships with the package; reinstall emo_face, or retrain it by `emo-face train face`",
    )
    print(yaml.safe_dump([entry.model_dump()], sort_keys=False, width=120))


if __name__ == "__main__":
    main()
