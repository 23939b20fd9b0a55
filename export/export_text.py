#!/usr/bin/env python3
"""Export a trained speech student: ONNX, int8, calibration, checks of agreement and size, then its store entry.

    python export/export_text.py --run out/train/text --data DATA --out models/nano_text.onnx

Prints the entry for models/manifest.yaml.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from emo_face.runtime.store import entry_of
from emo_face.training.text.export import export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder written by train_text.py")
    parser.add_argument("--data", type=Path, required=True, help="folder with goemotions_ekman/ and xed/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--encoder", type=Path, default=None)
    args = parser.parse_args()
    path = export(args.run, args.data, args.out, args.encoder, args.threads)
    entry = entry_of(
        path,
        "nano_text",
        licence="Apache-2.0 (encoder all-MiniLM-L6-v2, Apache-2.0; data GoEmotions and XED, CC-BY-4.0)",
        purpose="speech student; seven basic emotions from an utterance, vocabulary and calibration inside",
        how="it ships with the package; reinstall, or retrain by `emo-face train text`",
    )
    print(yaml.safe_dump([entry.model_dump()], sort_keys=False, width=120))


if __name__ == "__main__":
    main()
