#!/usr/bin/env python3
"""The same as `emo-face export yolo`, whose arguments it takes."""

import sys

from emo_face.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["export", "yolo", *sys.argv[1:]]))
