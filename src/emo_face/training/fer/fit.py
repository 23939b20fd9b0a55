"""The training loop of the FER student's base."""

import copy
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.nn import functional

from emo_face.runtime.progress import bar
from emo_face.training.fer.batches import FerBatch, FerBatches
from emo_face.training.fer.model import FerNet
from emo_face.training.fer.recipe import FerRecipe

EARLY_STEPS = 200
"""Steps in which the mean of the weights follows faster."""


def loss_of(emotion: torch.Tensor, reject: torch.Tensor, batch: FerBatch, recipe: FerRecipe) -> torch.Tensor:
    """Scalar loss of logits (n, 7) and reject logits (n,): faces by their soft labels, the rest as flat and rejected.

    The labels of a crowd (FER+) go in whole, as Barsoum et al. (ICMI 2016) found best.
    """
    faces = len(batch.soft)
    no_face = (torch.arange(len(reject)) >= faces).float()
    log_p = functional.log_softmax(emotion, dim=1)
    loss = recipe.reject_weight * functional.binary_cross_entropy_with_logits(reject, no_face)
    loss = loss - (batch.soft * log_p[:faces]).sum(1).mean()
    if faces < len(log_p):
        loss = loss - recipe.flat_weight * log_p[faces:].mean(1).mean()
    return loss


def fit(net: FerNet, batches: FerBatches, recipe: FerRecipe, seed: int) -> FerNet:
    """Train a copy of ``net`` and return the running mean of its weights (Polyak & Juditsky, 1992).

    ``seed``: of torch's dropout.
    """
    torch.manual_seed(seed)
    net = copy.deepcopy(net)
    mean: FerNet = copy.deepcopy(net).eval()
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=recipe.warmup
    )
    drawer = ThreadPoolExecutor(1)  # one thread draws in order, so the batches do not depend on timing
    coming = drawer.submit(batches.draw)
    with bar("FER base", recipe.steps) as tick:
        for step in range(recipe.steps):
            batch = coming.result()
            coming = drawer.submit(batches.draw)
            with torch.autocast("cpu", dtype=torch.bfloat16):  # halves the time
                emotion, reject = net(batch.crops)
            loss = loss_of(emotion.float(), reject.float(), batch, recipe)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.max_grad_norm)
            optimizer.step()
            schedule.step()
            _follow(mean, net, recipe.averaging_start if step < EARLY_STEPS else recipe.averaging)
            tick(step + 1, float(loss.detach()))
    drawer.shutdown(cancel_futures=True)
    return mean


def _follow(mean: FerNet, net: FerNet, keep: float) -> None:
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
            if old.dtype.is_floating_point:
                old.mul_(keep).add_(new, alpha=1 - keep)
            else:
                old.copy_(new)
