"""Stage 2: the fusion head on cached features; selection, thresholds and calibration from validation only."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.labelled import Labelled, predict
from emo_face.evaluation.metrics import multilabel, scaling
from emo_face.perception.multiview.config import FusionConfig
from emo_face.perception.multiview.fusion_head import FusionHead, drop_views
from emo_face.perception.multiview.head_file import HeadCard
from emo_face.training.multiview.config import Stage2Config
from emo_face.training.multiview.losses import asymmetric_loss, classification_loss, vad_loss


@dataclass
class Trained:
    """The selected head, its card, and the validation metric of each epoch."""

    head: FusionHead
    card: HeadCard
    history: list[float] = field(default_factory=list)


def train(
    data: Labelled,
    validation: Labelled,
    fusion: FusionConfig,
    config: Stage2Config | None = None,
    tick: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train, keep the epoch with the best validation mAP (accuracy for single-label sets), calibrate, set thresholds.

    The same seed gives the same head. ``tick`` gets epoch and metric. Raises UserError for an empty split.
    """
    config = config or Stage2Config()
    if not len(data) or not len(validation):
        raise UserError(f"Stage 2: {len(data)} training and {len(validation)} validation people; both are needed")
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    head = FusionHead(fusion)
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps = -(-len(data) // config.batch_size) * config.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    tensors = _tensors(data)
    history: list[float] = []
    best: dict[str, Any] = {}
    for epoch in range(config.epochs):
        head.train()
        for rows in torch.randperm(len(data), generator=generator).split(config.batch_size):
            loss = _loss(head, [tensor[rows] for tensor in tensors], fusion, config, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        history.append(_metric(head, validation, fusion))
        if history[-1] == max(history):
            best = copy.deepcopy(head.state_dict())
        if tick is not None:
            tick(epoch + 1, history[-1])
    head.load_state_dict(best)
    return Trained(head.eval(), _card(head, validation, fusion, config), history)


def _tensors(data: Labelled) -> list[torch.Tensor]:
    arrays = (data.features.features, data.features.present, data.truth, data.vad)
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def _loss(
    head: FusionHead,
    batch: list[torch.Tensor],
    fusion: FusionConfig,
    config: Stage2Config,
    generator: torch.Generator,
) -> torch.Tensor:
    features, present, truth, vad = batch
    seen = drop_views(present.float(), fusion.view_dropout, generator)
    logits, affect = head(features.float(), seen)
    name = config.loss
    if name == "auto":
        name = "asymmetric" if label_set(fusion.label_set).multi else "cross_entropy"
    if name == "asymmetric":
        loss = asymmetric_loss(logits, truth, config.gamma_neg, config.gamma_pos, config.margin)
    else:
        loss = classification_loss(name)(logits, truth)
    return loss if affect is None else loss + config.vad_weight * vad_loss(affect, vad)


def _metric(head: FusionHead, data: Labelled, fusion: FusionConfig) -> float:
    logits, _ = predict(head, data.features)
    if label_set(fusion.label_set).multi:
        return multilabel.mean_average_precision(logits, data.truth).value
    return multilabel.accuracy(logits, data.truth)


def _card(head: FusionHead, validation: Labelled, fusion: FusionConfig, config: Stage2Config) -> HeadCard:
    multi = label_set(fusion.label_set).multi
    logits, _ = predict(head, validation.features)
    found = scaling.fit(logits, validation.truth, config.calibration, multi)
    probabilities = found.apply(logits)
    thresholds = multilabel.fit_thresholds(probabilities, validation.truth, config.threshold_rule)
    metrics = {"val": multilabel.summary(probabilities, validation.truth, thresholds, multi)}
    return HeadCard(fusion, thresholds, found.scale, found.shift, metrics=metrics, training=asdict(config))
