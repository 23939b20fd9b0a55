#!/usr/bin/env python3
"""Train the speech student only, no export: checkpoint, config.json and history.json into OUT.

    python export/train_text.py --data DATA --out out/train/text --seed 0

`emo-face train text` does this and export_text.py in one go.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emo_face.training.text.main import TextTraining, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with goemotions_ekman/ and xed/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=TextTraining.epochs)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--encoder", type=Path, default=None)
    args = parser.parse_args()
    train(args.data, args.out, TextTraining(seed=args.seed, epochs=args.epochs), args.encoder, args.threads)


if __name__ == "__main__":
    main()
