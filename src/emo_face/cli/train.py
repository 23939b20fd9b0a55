"""Retrain a nano student with one command.

Needs torch (CPU is enough): scripts/setup.sh train

Examples:
  emo-face train text --data ../shared/assets --out out/train --seed 0
  emo-face train face --data ../shared/assets --out out/train --seed 0 --ferplus FERPLUS
  emo-face train face --data ../shared/assets --out out/train --seed 0 --faces MY_FACES

`text` reads goemotions_ekman/{labels.txt,train.tsv,dev.tsv,test.tsv} and xed/{en-annotated.tsv,neu_en.txt} in DATA or
DATA/text, fine-tunes, calibrates on the validation rows, quantises and writes OUT/nano_text.onnx (35 min on one core).
Add rows of your own to train.tsv (text <tab> label ids <tab> id). The same seed, data, thread count and kind of
processor give the same file. Use it by `emo-face models add nano_text OUT/nano_text.onnx`.

`face` reads images/, video/, face/, fer/ and head3d/ in DATA. FERPLUS holds FER2013Train, FER2013Valid and FER2013Test,
as generate_training_data.py of microsoft/FERPlus makes them; MY_FACES holds images/ and legend.csv (image, emotion).
It writes OUT/nano_face.onnx and what it said of people it had not seen, OUT/nano_face_folds.json (20 min on two cores).
"""

from __future__ import annotations

import argparse
from pathlib import Path

MODULES = {"text": "text.main", "face": "fer.main"}  # of emo_face.training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-verbs ``text`` and ``face``."""
    students = parser.add_subparsers(dest="student", metavar="text|face", required=True)
    for name, purpose in (("text", "speech student: words to emotion"), ("face", "face student: crop to emotion")):
        sub = students.add_parser(name, help=purpose, description=purpose)
        sub.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with the labelled data")
        sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for checkpoints and ONNX")
        sub.add_argument("--seed", type=int, default=0, help="training seed (default 0); the data splits do not move")
        sub.add_argument("--epochs", type=int, default=None, help="passes over the data (default: the student's own)")
        sub.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
        if name == "face":
            sub.add_argument(
                "--faces",
                type=Path,
                action="append",
                default=None,
                metavar="DIR",
                help="labelled faces of other people: images/ and legend.csv (image, emotion); may be repeated",
            )
            sub.add_argument(
                "--ferplus",
                type=Path,
                default=None,
                metavar="DIR",
                help="FER+: FER2013Train, FER2013Valid, FER2013Test, each with pictures and label.csv",
            )
        if name == "text":
            sub.add_argument("--encoder", type=Path, default=None, metavar="DIR", help="another uncased BERT or MiniLM")


def run(args: argparse.Namespace) -> int:
    """Train the chosen student. Raises UserError where torch is missing."""
    from importlib import import_module
    from importlib.util import find_spec

    from emo_face.core.errors import UserError

    if find_spec("torch") is None:
        raise UserError("training needs torch, which the nano tier does not bring: scripts/setup.sh train")
    if args.epochs is not None and args.epochs < 1:
        raise UserError(f"--epochs: expected at least 1, got {args.epochs}")
    module = import_module(f"emo_face.training.{MODULES[args.student]}")
    return int(module.main(args) or 0)
