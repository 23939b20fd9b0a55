"""Fit the second opinion on MediaPipe's blendshapes and write models/nano_blendshapes.json.

Needs: pip install "emo_face[mediapipe]", and for photographed skins ai-edge-litert. Takes a few minutes.
  python export/train_blendshapes.py --data ../shared/assets --out models/nano_blendshapes.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from emo_face.datasets import faces as readers
from emo_face.datasets.headskin import Skin
from emo_face.perception.nano.blendshapes import TASK, WEIGHTS, BlendshapeReader
from emo_face.training.blendshape_fit import fit_weights, measure, write_weights


def photographed(data: Path) -> list[Skin]:
    """Skins of the London people, whose pictures are licensed for this."""
    from emo_face.training.face_skins import skins_of
    from emo_face.training.face_teachers import MeshTeacher

    pictures = readers.read_london(
        data / "images/london", readers.detector_for_training(data / "face/face_detection_yunet_2023mar.onnx")
    )
    return skins_of(pictures, [0] * len(pictures), data / "head3d", MeshTeacher(data / "face" / TASK))


def main() -> int:
    """Measure, fit, write, print the held-out accuracy on renders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with face/, head3d/ and images/")
    parser.add_argument("--out", type=Path, default=Path("models") / WEIGHTS)
    parser.add_argument("--count", type=int, default=1000, help="pairs of renders")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    reader = BlendshapeReader(args.data / "face" / TASK)
    pairs = measure(args.data / "head3d", reader, args.count, args.seed, photographed(args.data))
    reader.close()
    held = np.arange(len(pairs.truth)) % 5 == 0
    part = type(pairs)(pairs.difference[~held], pairs.rest[~held], pairs.truth[~held])
    bias, weight = fit_weights(part)
    right = (pairs.difference[held] @ weight.T + bias).argmax(axis=1) == pairs.truth[held].argmax(axis=1)
    print(f"{len(pairs.truth)} pairs; accuracy on {held.sum()} held-out renders {right.mean():.3f}")
    bias, weight = fit_weights(pairs)
    write_weights(
        args.out,
        bias,
        weight,
        pairs.rest.mean(axis=0),
        f"{len(pairs.truth)} renders of FACS variants, seed {args.seed}",
    )
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
