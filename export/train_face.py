#!/usr/bin/env python3
"""Train the face student: renders, teachers, leave-people-out folds, final model, ONNX, all into OUT.

    python export/train_face.py --data DATA --out out/train/face --seed 0

The same as `emo-face train face`; export_face.py writes the ONNX again from OUT's checkpoint.
"""

from __future__ import annotations

import argparse

from emo_face.training.face import add_arguments, main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    raise SystemExit(main(parser.parse_args()))
