#!/usr/bin/env python3
"""Train the face student; the same as `emo-face train face`, whose arguments it takes.

    python export/train_face.py --data DATA --faces FACES --ferplus FERPLUS --out out/train/face --seed 0

export_face.py writes the ONNX again from OUT's checkpoint.
"""

import sys

from emo_face.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", "face", *sys.argv[1:]]))
