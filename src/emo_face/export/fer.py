"""A trained FER student to ONNX, compared with torch; prints its entry for models/manifest.yaml.

Example: emo-face export fer --run out/train/fer --out models/nano_face.onnx
"""

import argparse
from pathlib import Path

from emo_face.core.arguments import arguments, option
from emo_face.export.entry import print_entry

add_arguments = arguments(
    option("--run", type=Path, required=True, metavar="DIR", help="folder that emo-face train fer wrote"),
    option("--out", type=Path, required=True, metavar="FILE", help="the ONNX file"),
)


def run(args: argparse.Namespace) -> list[Path]:
    """Export, check, print the entry; the file written. Raises UserError or ModelError."""
    from emo_face.training.fer.export import export, load_trained

    path = export(load_trained(args.run), args.out)
    purpose = "FER student: crops [n,1,48,48] to probabilities [n,7] of basic7 and face score [n]"
    print_entry(path, "fer", "Apache-2.0", purpose)
    return [path]
