#!/usr/bin/env python3
"""The same as `emo-face train fusion`, whose arguments it takes."""

import sys

from emo_face.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", "fusion", *sys.argv[1:]]))
