"""FER+ for the FER student's bank: tens of thousands of strangers, each taught what ten people voted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import FloatArray
from emo_face.datasets.faces.ferplus import faces_of, read_votes
from emo_face.perception.detect_face import YuNetFaceDetector
from emo_face.runtime.progress import track
from emo_face.training.fer.bank import wide_crop


@dataclass(frozen=True)
class VotedFaces:
    """n faces: crops (n, 128, 128) and the share of the votes of each label (n, 7)."""

    wide: NDArray[np.uint8]
    shares: FloatArray

    def only(self, chosen: NDArray[np.bool_]) -> VotedFaces:
        """The faces of the mask (n,)."""
        return VotedFaces(self.wide[chosen], self.shares[chosen])


def read_voted_faces(folder: Path, split: str, detector: YuNetFaceDetector, cache: Path) -> VotedFaces:
    """Read and cut one split, or take the result of an earlier run from ``cache``. Raises UserError."""
    rows, skipped = read_votes(folder, split)
    left_out = ", ".join(f"{n} {what}" for what, n in sorted(skipped.items())) or "nothing"
    print(f"{folder}, {split}: {len(rows)} pictures with votes; left out: {left_out}")
    file = cache / f"ferplus_{split}_{len(rows)}.npz"
    names = [f.name for f in fields(VotedFaces)]
    if file.is_file():
        with np.load(file, allow_pickle=False) as saved:
            return VotedFaces(**{name: saved[name] for name in names})
    wide = [wide_crop(p.picture, p.face) for p in faces_of(track(rows, f"finding faces, {split}"), detector)]
    faces_found = VotedFaces(np.stack(wide), np.stack([row.shares for row in rows]).astype(np.float32))
    np.savez(file, **{name: getattr(faces_found, name) for name in names})
    return faces_found
