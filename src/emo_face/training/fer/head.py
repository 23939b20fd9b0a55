"""The last layers of the FER student alone, fitted to people who posed, on features that a crowd's votes have shaped.

A few hundred posed faces spoil a deep net; a log-linear layer on its features learns from them what differs between
people who pose and people who are photographed, and keeps the rest.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.datasets.faces.augment import degrade, not_a_face, view
from emo_face.perception.nano.facecrop import normalise
from emo_face.training.common.loglinear import log_linear, log_linear_from
from emo_face.training.fer.bank import HELD_OUT, NOT_JUDGED, Bank
from emo_face.training.fer.batches import seen
from emo_face.training.fer.model import LABELS, FerNet
from emo_face.training.fer.recipe import FerRecipe

POSED = [basic7().index(name) for name in ("Anger", "Happy", "Sad", "Neutral")]
"""The labels that people were asked to pose: their truth decides among these alone."""
SHARES = {"posed": 1.0, "crowd": 4.0, "told": 0.3}  # of the loss
ROUNDS = 60
NEVER = -1e9


@dataclass(frozen=True)
class HeadRows:
    """What the layer is fitted to.

    Attributes:
        index: (n,) rows of the bank. features: (n, f). target: (n, 7) distributions.
        group: (n,) of :data:`SHARES`: labelled people, faces with votes, or people of HELD_OUT without a label, of whom
            the older nets told something.
        narrow: (n,) bool, the person was asked for one of four emotions, so only these compete.
    """

    index: NDArray[np.intp]
    features: FloatArray
    target: FloatArray
    group: NDArray[np.str_]
    narrow: NDArray[np.bool_]


def head_rows(net: FerNet, bank: Bank, recipe: FerRecipe, rng: np.random.Generator) -> HeadRows:
    """Features of all labelled and told faces and of a part of the crowd, each seen once, as the base saw faces."""
    known = np.isfinite(bank.truth[:, 0])
    posed = np.flatnonzero(known)
    crowd = np.flatnonzero(~known & (bank.fold == NOT_JUDGED))
    crowd = np.sort(rng.permutation(crowd)[: recipe.head_faces])
    told = np.flatnonzero(~known & (bank.fold == HELD_OUT) & (bank.other == HELD_OUT))
    index = np.concatenate([posed, crowd, told])
    group = np.repeat(list(SHARES), [len(posed), len(crowd), len(told)])
    features = _features(net, np.stack([seen(bank.wide[i], recipe, rng) for i in index]))
    labelled = group == "posed"
    target = np.where(labelled[:, None], np.nan_to_num(bank.truth[index]), bank.soft[index]).astype(np.float64)
    return HeadRows(index, features, target, group, labelled & (target[:, POSED].sum(axis=1) > 0.5))


def refit(net: FerNet, rows: HeadRows, allowed: NDArray[np.intp], recipe: FerRecipe) -> FerNet:
    """A copy of ``net`` whose emotion layer has the least penalised log loss over the rows in ``allowed``."""
    keep = np.isin(rows.index, allowed)
    x, target = rows.features[keep], rows.target[keep]
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-3
    x = (x - mean) / spread
    share = _share(target, rows.group[keep], recipe.head_rare)
    mask = np.where(rows.narrow[keep][:, None] & ~np.isin(np.arange(LABELS), POSED), NEVER, 0.0)
    old_weight = net.emotion.weight.detach().numpy().astype(np.float64)
    old_bias = net.emotion.bias.detach().numpy() + old_weight @ mean
    start = np.concatenate([old_bias, (old_weight * spread).ravel()])

    bias, weight = log_linear_from(start, x, target, recipe.head_penalty, share, ROUNDS, mask)
    weight = weight / spread
    fitted: FerNet = copy.deepcopy(net).eval()
    with torch.no_grad():
        fitted.emotion.weight.copy_(torch.from_numpy(weight))
        fitted.emotion.bias.copy_(torch.from_numpy(bias - weight @ mean))
    return fitted


def refit_reject(
    net: FerNet, bank: Bank, negatives: list[NDArray[np.uint8]], recipe: FerRecipe, rng: np.random.Generator
) -> FerNet:
    """A copy of ``net`` whose reject layer separates faces, half of them hardly visible, from what is not a face."""
    crowd = rng.permutation(np.flatnonzero(bank.fold == NOT_JUDGED))[: recipe.reject_faces]
    faces = [view(bank.wide[i], rng, recipe.jitter) for i in crowd]
    faces = [degrade(crop, rng) if k % 2 else crop for k, crop in enumerate(faces)]
    others = [not_a_face(rng, negatives) for _ in range(recipe.reject_non_faces)]
    x = _features(net, np.stack(faces + others))
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-3
    target = np.eye(2)[np.repeat([0, 1], [len(faces), len(others)])]
    bias, weight = log_linear((x - mean) / spread, target, recipe.reject_penalty)
    slope = (weight[1] - weight[0]) / spread
    fitted: FerNet = copy.deepcopy(net).eval()
    with torch.no_grad():
        fitted.reject.weight.copy_(torch.from_numpy(slope[None]))
        fitted.reject.bias.fill_(float(bias[1] - bias[0] - slope @ mean))
    return fitted


def _features(net: FerNet, crops: NDArray[np.uint8]) -> FloatArray:
    net.eval()
    with torch.no_grad():
        parts = [net.features(part) for part in torch.from_numpy(normalise(crops)).split(256)]
    return np.asarray(torch.cat(parts).numpy().astype(np.float64))


def _share(target: FloatArray, group: NDArray[np.str_], evenness: float) -> FloatArray:
    """(n,) weight of each row, so that the groups weigh as :data:`SHARES` say and rare labels count more in each."""
    label = target.argmax(axis=1)
    share = np.zeros(len(label))
    for name, total in SHARES.items():
        rows = group == name
        rare = np.bincount(label[rows], minlength=LABELS).clip(1)[label[rows]] ** -evenness
        share[rows] = total * rare / max(float(rare.sum()), 1e-12)
    return share
