"""Export a trained multi-view model to ONNX: encoder, head, manifest; checked and compared before it is called done.

    python export/export_multiview.py --base ~/instructblip-vicuna-7b --model out/multiview --out out/export [--fp16]

At full size the encoder in float32 is 4.7 GB (weights in encoder.onnx.data) and needs about 20 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path


def main() -> int:
    """Exit code 2 with one line where something is missing or parity fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="InstructBLIP checkpoint")
    parser.add_argument("--model", type=Path, required=True, help="folder with encoder.* and head.*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fp16", action="store_true", help="half precision, LayerNorm and softmax in float32")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 3], help="batch sizes of the comparison")
    parser.add_argument("--json", action="store_true", help="print only JSON")
    args = parser.parse_args()
    from emo_face.core.errors import UserError
    from emo_face.perception.multiview import checkpoint, head_file
    from emo_face.training.export_multiview import export

    try:
        base = checkpoint.load_base(args.base)
        base.language_model = None  # not exported, and by far the largest part
        encoder = checkpoint.load_encoder(args.model, base)
        head, card = head_file.load(args.model)
        parity = export(args.out, encoder, head, card, "fp16" if args.fp16 else "fp32", args.batches)
    except UserError as error:
        print(f"export_multiview: {error}", file=sys.stderr)
        return 2
    rows = [asdict(row) for row in parity]
    if args.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print("{graph}: batch {batch}, largest difference {absolute:.2e} ({relative:.2e} relative)".format(**row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
