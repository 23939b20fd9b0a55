"""A trained speech student to ONNX, int8, calibrated, checked for agreement and size; prints its store entry.

Example: emo-face export text --run out/train/text --data DATA --out models/nano_text.onnx
"""

import argparse
from pathlib import Path

from emo_face.core.arguments import arguments, option
from emo_face.export.entry import print_entry

add_arguments = arguments(
    option("--run", type=Path, required=True, metavar="DIR", help="folder that emo-face train text wrote"),
    option("--data", type=Path, required=True, metavar="DIR", help="folder with goemotions_ekman/ and xed/"),
    option("--out", type=Path, required=True, metavar="FILE", help="the ONNX file"),
    option("--threads", type=int, default=1),
    option("--encoder", type=Path, metavar="DIR", help="the encoder that the run started from"),
)


def run(args: argparse.Namespace) -> list[Path]:
    """Export, check, print the entry; the file written. Raises UserError."""
    from emo_face.training.text.export import export

    path = export(args.run, args.data, args.out, args.encoder, args.threads)
    licence = "Apache-2.0 (encoder all-MiniLM-L6-v2, Apache-2.0; data GoEmotions and XED, CC-BY-4.0)"
    purpose = "speech student; seven basic emotions from an utterance, vocabulary and calibration inside"
    print_entry(path, "text", licence, purpose)
    return [path]
