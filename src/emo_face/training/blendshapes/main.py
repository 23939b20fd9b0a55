"""``emo-face train blendshapes``: the second opinion on MediaPipe's blendshapes, as ``nano_blendshapes.json``.

Needs: scripts/setup.sh mediapipe, and ai-edge-litert for the photographed skins. What an expression changes is
measured on renders of FACS variants, the average resting face on the neutral London photos. Takes ten minutes; the
measurements are kept in OUT.
"""

import argparse
from pathlib import Path

import numpy as np

from emo_face.core.arguments import arguments, option
from emo_face.core.types import FloatArray
from emo_face.datasets.faces import faces as readers
from emo_face.datasets.faces.faces import FacePicture
from emo_face.perception.nano.blendshapes import TASK, WEIGHTS, BlendshapeReader
from emo_face.runtime.files import write_arrays
from emo_face.training.blendshapes.fit import BlendshapePairs, fit_weights, ideal, joined, measure, write_weights
from emo_face.training.blendshapes.mesh import FaceMesh
from emo_face.training.blendshapes.skins import skins_of
from emo_face.training.common.arguments import common


def measured(data: Path, cache: Path, count: int, seed: int) -> tuple[BlendshapePairs, FloatArray]:
    """Pairs of renders and the mean resting face (52,), from the cache if it holds them."""
    if cache.is_file():
        with np.load(cache, allow_pickle=False) as saved:
            return BlendshapePairs(saved["difference"], saved["rest"], saved["truth"]), saved["london"]
    pictures = readers.read_london(data / "images/london", readers.detector_of(data))
    skins = skins_of(pictures, data / "head3d", FaceMesh(data / "face" / TASK))
    reader = BlendshapeReader(data / "face" / TASK)
    pairs = measure(data / "head3d", reader, count, seed, skins)
    london = resting(reader, pictures)
    reader.close()
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(cache, difference=pairs.difference, rest=pairs.rest, truth=pairs.truth, london=london)
    return pairs, london


def resting(reader: BlendshapeReader, pictures: list[FacePicture]) -> FloatArray:
    """(52,) mean over the neutral pictures."""
    rows = []
    for p in (p for p in pictures if p.label == "Neutral"):
        (values,) = reader.read(np.repeat(p.picture[..., None], 3, axis=2), [p.face])
        if values is not None:
            rows.append(values)
    return np.asarray(np.mean(rows, axis=0))


add_arguments = arguments(
    common("folder with face/, head3d/ and images/"),
    option("--count", type=int, default=600, help="pairs of renders (default 600)"),
)


def run(args: argparse.Namespace) -> int:
    """Measure, fit, write, print the held-out accuracy on renders."""
    pairs, rest = measured(args.data, args.out / f"blendshapes_{args.count}_{args.seed}.npz", args.count, args.seed)
    held = np.arange(len(pairs.truth)) % 5 == 0
    grounded = ideal(len(pairs.truth), args.seed)
    kept = BlendshapePairs(pairs.difference[~held], pairs.rest[~held], pairs.truth[~held])
    bias, weight = fit_weights(joined(kept, grounded))
    right = (pairs.difference[held] @ weight.T + bias).argmax(axis=1) == pairs.truth[held].argmax(axis=1)
    print(f"{len(pairs.truth)} pairs; accuracy on {held.sum()} held-out renders {right.mean():.3f}")
    bias, weight = fit_weights(joined(pairs, grounded))
    sizes = f"{len(pairs.truth)} renders and as many ideal FACS variants, seed {args.seed}"
    write_weights(args.out / WEIGHTS, bias, weight, rest, f"{sizes}; rest: 16 neutral London photos")
    print(f"wrote {args.out / WEIGHTS}")
    return 0
