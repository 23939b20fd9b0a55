#!/usr/bin/env python3
"""Fit the second opinion on MediaPipe's blendshapes and write models/nano_blendshapes.json.

    python export/train_blendshapes.py --data DATA --out models/nano_blendshapes.json

Needs: scripts/setup.sh mediapipe, and ai-edge-litert for the photographed skins. What an expression changes is
measured on renders of FACS variants, the average resting face on the neutral London photos. Takes ten minutes; the
measurements are kept in --cache.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from emo_face.core.types import FloatArray
from emo_face.datasets.faces import faces as readers
from emo_face.datasets.faces.faces import FacePicture
from emo_face.perception.nano.blendshapes import TASK, WEIGHTS, BlendshapeReader
from emo_face.training.blendshape_fit import Pairs, fit_weights, ideal, joined, measure, write_weights
from emo_face.training.fer.skins import skins_of
from emo_face.training.fer.teachers import MeshTeacher


def measured(data: Path, cache: Path, count: int, seed: int) -> tuple[Pairs, FloatArray]:
    """Pairs of renders and the mean resting face (52,), from the cache where it holds them."""
    if cache.is_file():
        with np.load(cache, allow_pickle=False) as saved:
            return Pairs(saved["difference"], saved["rest"], saved["truth"]), saved["london"]
    detector = readers.detector_for_training(data / "face/face_detection_yunet_2023mar.onnx")
    pictures = readers.read_london(data / "images/london", detector)
    skins = skins_of(pictures, [0] * len(pictures), data / "head3d", MeshTeacher(data / "face" / TASK))
    reader = BlendshapeReader(data / "face" / TASK)
    pairs = measure(data / "head3d", reader, count, seed, skins)
    london = resting(reader, pictures)
    reader.close()
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cache, difference=pairs.difference, rest=pairs.rest, truth=pairs.truth, london=london)
    return pairs, london


def resting(reader: BlendshapeReader, pictures: list[FacePicture]) -> FloatArray:
    """(52,) mean over the neutral pictures."""
    rows = []
    for p in (p for p in pictures if p.label == "Neutral"):
        (values,) = reader.read(np.repeat(p.picture[..., None], 3, axis=2), [p.face])
        if values is not None:
            rows.append(values)
    return np.asarray(np.mean(rows, axis=0))


def main() -> int:
    """Measure, fit, write, print the held-out accuracy on renders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with face/, head3d/ and images/")
    parser.add_argument("--out", type=Path, default=Path("models") / WEIGHTS)
    parser.add_argument("--cache", type=Path, default=Path("out/blendshapes.npz"), help="measurements")
    parser.add_argument("--count", type=int, default=600, help="pairs of renders")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pairs, rest = measured(args.data, args.cache, args.count, args.seed)
    held = np.arange(len(pairs.truth)) % 5 == 0
    grounded = ideal(len(pairs.truth), args.seed)
    kept = Pairs(pairs.difference[~held], pairs.rest[~held], pairs.truth[~held])
    bias, weight = fit_weights(joined(kept, grounded))
    right = (pairs.difference[held] @ weight.T + bias).argmax(axis=1) == pairs.truth[held].argmax(axis=1)
    print(f"{len(pairs.truth)} pairs; accuracy on {held.sum()} held-out renders {right.mean():.3f}")
    bias, weight = fit_weights(joined(pairs, grounded))
    note = (
        f"{len(pairs.truth)} renders and as many ideal FACS variants, seed {args.seed}; rest: 16 neutral London photos"
    )
    write_weights(args.out, bias, weight, rest, note)
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
