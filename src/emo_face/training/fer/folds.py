"""Leave-people-out cross-validation of the FER student, and the file that keeps what each fold said.

Fold k never sees a picture, a view or a blend of its test people, nor the labelled photos and the clip (HELD_OUT),
which a sixth net judges that was fitted to all the others. The shipped model is trained on everything, so every number
reported is one of these six nets'. Their predictions lie beside the model for `emo-face evaluate nano`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from emo_face.core.types import FloatArray, UInt8Array
from emo_face.datasets.faces.augment import not_a_face
from emo_face.datasets.faces.faces import FacePicture
from emo_face.evaluation.fer.folds import FoldPrediction, write_folds
from emo_face.perception.nano.facecrop import cut, normalise
from emo_face.training.fer.bank import FOLDS, HELD_OUT, Bank, fold_of
from emo_face.training.fer.calibration import VectorScaling, calibrate, calibrated_by_others
from emo_face.training.fer.head import HeadRows, head_rows, refit, refit_reject
from emo_face.training.fer.model import Exported, FerNet
from emo_face.training.fer.recipe import FerRecipe

NOISE = 1500  # things that are no face, for the shift
SPARED = 0.005  # share of them that may look more like a face than where doubt starts


@dataclass(frozen=True)
class Heads:
    """The base and what its last layers are fitted to; every fold and the shipped net get layers of their own."""

    bank: Bank
    base: FerNet
    negatives: list[UInt8Array]
    seed: int
    recipe: FerRecipe

    @cached_property
    def rejecting(self) -> FerNet:
        """The base with a reject layer of its own fit; its emotion layer is what the folds fit."""
        return refit_reject(self.base, self.bank, self.negatives, self.recipe, np.random.default_rng([self.seed, 66]))

    @cached_property
    def rows(self) -> HeadRows:
        """What the last layer is fitted to, computed once for all folds."""
        return head_rows(self.base, self.bank, self.recipe, np.random.default_rng([self.seed, 55]))

    def fit(self, fold: int | None) -> FerNet:
        """A net that has not seen the people of ``fold`` or HELD_OUT; None: fitted to everybody."""
        return refit(self.rejecting, self.rows, self.bank.without(fold), self.recipe)


def reject_shift(net: FerNet, negatives: list[UInt8Array], seed: int) -> float:
    """The shift of the reject logit at which things that are no face get a face score of one half at most."""
    rng = np.random.default_rng([seed, 77])
    crops = torch.from_numpy(normalise(np.stack([not_a_face(rng, negatives) for _ in range(NOISE)])))
    with torch.no_grad():
        reject = torch.cat([Exported(net).raw(part)[1] for part in crops.split(100)]).numpy()
    return float(-np.quantile(reject, SPARED))


def predict_crops(net: FerNet, crops: UInt8Array, shift: float) -> tuple[FloatArray, FloatArray]:
    """(n, 7) logits and (n,) face scores, of crops (n, 48, 48) as the runtime cuts them."""
    model = Exported(net, shift=shift).eval()
    with torch.no_grad():
        parts = [model.logits(part) for part in torch.from_numpy(normalise(crops)).split(256)]
    logits, face = (torch.cat(part).numpy().astype(np.float64) for part in zip(*parts, strict=True))
    return logits, face


def cross_validate(heads: Heads, pictures: Sequence[FacePicture]) -> list[FoldPrediction]:
    """Train the folds and let each judge its own people, in the order of ``pictures``."""
    fold = fold_of(pictures)
    said: dict[int, FoldPrediction] = {}
    for number in (*range(FOLDS), HELD_OUT):
        own = [int(i) for i in np.flatnonzero(fold == number)]
        net = heads.fit(number)
        shift = reject_shift(net, heads.negatives, heads.seed)
        crops = np.stack([cut(pictures[i].picture, pictures[i].face) for i in own])
        logits, face = predict_crops(net, crops, shift)
        for row, i in enumerate(own):
            p = pictures[i]
            said[i] = FoldPrediction(
                p.source,
                p.name,
                p.person,
                p.label or "",
                p.pose,
                number,
                tuple(map(float, logits[row])),
                float(face[row]),
            )
    return [said[i] for i in sorted(said)]


def save(
    path: Path, raw: Sequence[FoldPrediction], seed: int, shift: float, valid: Sequence[FoldPrediction] = ()
) -> VectorScaling:
    """Write the predictions, each calibrated by the other folds, and return the calibration of the shipped model.

    Args:
        valid: what the shipped model said of FER+'s validation faces, none of which any layer has seen.
    """
    shipped = calibrate(raw, valid)
    made = {
        "command": "emo-face train fer",
        "seed": seed,
        "folds": FOLDS,
        "shipped_temperature": round(shipped.temperature, 4),
        "shipped_shift": round(shift, 4),
        "held": "photos and clip: judged by a net trained on all other people",
        "shipped_bias": [round(float(b), 4) for b in shipped.bias],
    }
    write_folds(path, calibrated_by_others(raw, valid), 1.0, made)
    return shipped
