"""The training loop of the face student."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from emo_face.core.labels import basic7
from emo_face.training.fer.batches import Batch, Batches
from emo_face.training.fer.model import LABELS, FaceNet
from emo_face.training.fer.progress import progress

POSED = [basic7().index(name) for name in ("Anger", "Happy", "Sad", "Neutral")]
"""The labels real training faces were asked to pose: their truth decides among these, the renders among all seven."""


@dataclass(frozen=True)
class Weights:
    """Share of each loss; ``alone`` and ``beside``: the teachers' word on real faces without and with a label."""

    truth: float = 1.0
    posed: float = 0.6
    adapted: float = 1.0
    lessons: float = 1.0
    soft: float = 0.3
    alone: float = 1.0
    beside: float = 0.3
    arkit: float = 4.0
    reject: float = 0.5
    smoothing: float = 0.1


def loss_of(out: dict[str, torch.Tensor], batch: Batch, w: Weights) -> torch.Tensor:
    """Scalar loss; every part counts only the rows that have its target."""
    known = torch.isfinite(batch.truth[:, 0])
    real = torch.nan_to_num(batch.real) > 0.5
    log_p = functional.log_softmax(out["emotion"], dim=1)
    total = w.reject * functional.binary_cross_entropy_with_logits(out["reject"], 1 - batch.face)
    drawn = known & ~real
    if drawn.any():
        total = total - w.truth * (batch.truth[drawn] * log_p[drawn]).sum(1).mean()
    posed = known & real & (torch.nan_to_num(batch.truth)[:, POSED].sum(1) > 0.5)
    if posed.any():
        narrow = functional.log_softmax(out["emotion"][posed][:, POSED], dim=1)
        target = batch.truth[posed][:, POSED] * (1 - w.smoothing) + w.smoothing / len(POSED)
        total = (
            total - w.posed * (target * narrow).sum(1).mean() - 0.2 * (batch.truth[posed] * log_p[posed]).sum(1).mean()
        )
    told = torch.isfinite(batch.posed[:, 0])
    if told.any():
        narrow = functional.log_softmax(out["emotion"][told][:, POSED], dim=1)
        total = total - w.adapted * (batch.posed[told] * narrow).sum(1).mean()
    other = known & real & ~posed
    if other.any():
        total = total - 0.3 * (batch.truth[other] * log_p[other]).sum(1).mean()
    faces = batch.face > 0.5
    if faces.any():
        read = functional.log_softmax(out["teacher_logits"], dim=1)
        total = total - w.soft * (batch.soft[faces] * read[faces]).sum(1).mean()
        for rows, share in ((faces & real & ~known, w.alone), (faces & real & known, w.beside)):
            if rows.any():
                total = total - share * (batch.soft[rows] * log_p[rows]).sum(1).mean()
    asked = torch.isfinite(batch.lessons[:, 0])
    if asked.any():
        total = total + w.lessons * functional.mse_loss(out["teacher"][asked], batch.lessons[asked])
    shapes = torch.isfinite(batch.arkit[:, 0])
    if shapes.any():
        total = total + w.arkit * functional.mse_loss(torch.sigmoid(out["arkit"][shapes]), batch.arkit[shapes])
    flat = ~faces
    if flat.any():
        total = total - 0.2 * (log_p[flat] / LABELS).sum(1).mean()
    return total


def fit(
    net: FaceNet,
    batches: Batches,
    steps: int,
    rate: float,
    seed: int,
    weights: Weights | None = None,
    text: str = "training",
) -> FaceNet:
    """Train a copy of ``net`` and return the running mean of its weights (Polyak & Juditsky, 1992).

    Args:
        rate: peak learning rate of a one-cycle schedule. seed: of torch's dropout.
    """
    torch.manual_seed(seed)
    net = copy.deepcopy(net)
    mean: FaceNet = copy.deepcopy(net).eval()
    net.train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.15)
    running = []
    ahead = ThreadPoolExecutor(1)  # one thread draws in order, so the batches do not depend on timing
    coming = ahead.submit(batches.draw)
    for step in progress(range(steps), text):
        batch = coming.result()
        coming = ahead.submit(batches.draw)
        with torch.autocast("cpu", dtype=torch.bfloat16):  # halves the time
            out = net(batch.crops)
        loss = loss_of({name: value.float() for name, value in out.items()}, batch, weights or Weights())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        _follow(mean, net, 0.99 if step < 200 else 0.997)
        running.append(float(loss.detach()))
        if step % 200 == 199:
            print(f"{text}: step {step + 1}/{steps}, loss {np.mean(running[-200:]):.3f}", flush=True)
    ahead.shutdown(cancel_futures=True)
    return mean


def _follow(mean: FaceNet, net: FaceNet, keep: float) -> None:
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
            if old.dtype.is_floating_point:
                old.mul_(keep).add_(new, alpha=1 - keep)
            else:
                old.copy_(new)
