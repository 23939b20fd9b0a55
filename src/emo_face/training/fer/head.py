"""The last layers of the face student alone, fitted to people who posed, on features that a crowd's votes have shaped.

A few hundred posed faces spoil a deep net; a log-linear layer on its features learns from them what differs between
people who pose and people who are photographed, and keeps the rest.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emo_face.core.types import FloatArray
from emo_face.perception.nano.facecrop import normalise
from emo_face.training.common.loglinear import log_linear, log_linear_from
from emo_face.training.fer.augment import degrade, not_a_face, view
from emo_face.training.fer.data import HELD, Bank
from emo_face.training.fer.fit import POSED
from emo_face.training.fer.model import LABELS, FaceNet
from emo_face.training.fer.renders import ALWAYS

CROWD_ROWS = 12_000
SHARES = {"posed": 1.0, "crowd": 1.0, "told": 0.3}  # of the loss
RARE = 0.75  # 1: every label of a group counts the same; 0: every face does
REJECT_PENALTY = 1e-3
PULL = 0.03  # towards the layer as the base left it
ROUNDS = 60
FACES, NOT_FACES = 6000, 6000  # that the reject layer is fitted to
NEVER = -1e9


@dataclass(frozen=True)
class HeadRows:
    """What the layer is fitted to.

    Attributes:
        index: (n,) rows of the bank. features: (n, f). target: (n, 7) distributions.
        group: (n,) of :data:`SHARES`: labelled people, faces with votes, or people of HELD without a label, of whom
            the older nets told something.
        narrow: (n,) bool, the person was asked for one of four emotions, so only these compete.
    """

    index: NDArray[np.intp]
    features: FloatArray
    target: FloatArray
    group: NDArray[np.str_]
    narrow: NDArray[np.bool_]


def head_rows(net: FaceNet, bank: Bank, jitter: float, rng: np.random.Generator) -> HeadRows:
    """Features of all labelled and told faces and of a part of the crowd, each seen once with some jitter."""
    known = np.isfinite(bank.truth[:, 0])
    posed = np.flatnonzero(bank.real & known)
    crowd = np.flatnonzero(bank.real & ~known & (bank.fold == ALWAYS))
    crowd = np.sort(rng.permutation(crowd)[:CROWD_ROWS])
    told = np.flatnonzero(bank.real & ~known & (bank.fold == HELD) & (bank.other == HELD))
    index = np.concatenate([posed, crowd, told])
    group = np.repeat(list(SHARES), [len(posed), len(crowd), len(told)])
    features = _features(net, np.stack([view(bank.wide[i], rng, jitter) for i in index]))
    labelled = group == "posed"
    target = np.where(labelled[:, None], np.nan_to_num(bank.truth[index]), bank.soft[index]).astype(np.float64)
    return HeadRows(index, features, target, group, labelled & (target[:, POSED].sum(axis=1) > 0.5))


def refit(net: FaceNet, rows: HeadRows, allowed: NDArray[np.intp]) -> FaceNet:
    """A copy of ``net`` whose emotion layer has the least penalised log loss over the rows in ``allowed``."""
    keep = np.isin(rows.index, allowed)
    x, target = rows.features[keep], rows.target[keep]
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-3
    x = (x - mean) / spread
    share = _share(target, rows.group[keep])
    mask = np.where(rows.narrow[keep][:, None] & ~np.isin(np.arange(LABELS), POSED), NEVER, 0.0)
    old_weight = net.emotion.weight.detach().numpy().astype(np.float64)
    old_bias = net.emotion.bias.detach().numpy() + old_weight @ mean
    start = np.concatenate([old_bias, (old_weight * spread).ravel()])

    bias, weight = log_linear_from(start, x, target, PULL, share, ROUNDS, mask)
    weight = weight / spread
    fitted: FaceNet = copy.deepcopy(net).eval()
    with torch.no_grad():
        fitted.emotion.weight.copy_(torch.from_numpy(weight))
        fitted.emotion.bias.copy_(torch.from_numpy(bias - weight @ mean))
    return fitted


def refit_reject(
    net: FaceNet, bank: Bank, negatives: list[NDArray[np.uint8]], jitter: float, rng: np.random.Generator
) -> FaceNet:
    """A copy of ``net`` whose reject layer tells strangers' faces, half of them badly seen, from what is no face."""
    crowd = rng.permutation(np.flatnonzero(bank.real & (bank.fold == ALWAYS)))[:FACES]
    faces = [view(bank.wide[i], rng, jitter) for i in crowd]
    faces = [degrade(crop, rng) if k % 2 else crop for k, crop in enumerate(faces)]
    others = [not_a_face(rng, negatives) for _ in range(NOT_FACES)]
    x = _features(net, np.stack(faces + others))
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-3
    target = np.eye(2)[np.repeat([0, 1], [len(faces), len(others)])]
    bias, weight = log_linear((x - mean) / spread, target, REJECT_PENALTY)
    slope = (weight[1] - weight[0]) / spread
    fitted: FaceNet = copy.deepcopy(net).eval()
    with torch.no_grad():
        fitted.reject.weight.copy_(torch.from_numpy(slope[None]))
        fitted.reject.bias.fill_(float(bias[1] - bias[0] - slope @ mean))
    return fitted


def _features(net: FaceNet, crops: NDArray[np.uint8]) -> FloatArray:
    net.eval()
    with torch.no_grad():
        parts = [net.features(part) for part in torch.from_numpy(normalise(crops)).split(256)]
    return np.asarray(torch.cat(parts).numpy().astype(np.float64))


def _share(target: FloatArray, group: NDArray[np.str_]) -> FloatArray:
    """(n,) weight of each row, so that the groups weigh as :data:`SHARES` say and rare labels count more in each."""
    label = target.argmax(axis=1)
    share = np.zeros(len(label))
    for name, total in SHARES.items():
        rows = group == name
        rare = np.bincount(label[rows], minlength=LABELS).clip(1)[label[rows]] ** -RARE
        share[rows] = total * rare / max(float(rare.sum()), 1e-12)
    return share
