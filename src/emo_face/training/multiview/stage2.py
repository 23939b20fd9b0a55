"""Stage 2: the fusion head on cached features; selection, thresholds and calibration from validation only."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from emo_face.core.errors import ConfigError, UserError
from emo_face.core.labels import label_set
from emo_face.datasets.records import Record
from emo_face.evaluation.metrics import multilabel, platt
from emo_face.perception.multiview.config import FusionConfig
from emo_face.perception.multiview.fusion_head import FusionHead, drop_views
from emo_face.perception.multiview.head_file import HeadCard
from emo_face.perception.multiview.losses import asymmetric_loss, classification_loss, vad_loss
from emo_face.training.feature_cache import Features

Array = NDArray[Any]


@dataclass(frozen=True)
class Stage2Config:
    """Settings of the head's training. The paper prints none.

    Attributes:
        loss: ``auto`` is asymmetric for multi-label sets and cross-entropy else; or ``bce``.
        gamma_neg, gamma_pos, margin: of the asymmetric loss. vad_weight: of the VAD loss, where the head has one.
        calibration, threshold_rule: see :mod:`emo_face.evaluation.metrics.platt` and ``multilabel.fit_thresholds``.
    """

    epochs: int = 10
    batch: int = 256
    rate: float = 1e-3
    weight_decay: float = 1e-2
    loss: Literal["auto", "asymmetric", "bce", "cross_entropy"] = "auto"
    gamma_neg: float = 4.0
    gamma_pos: float = 1.0
    margin: float = 0.05
    vad_weight: float = 1.0
    calibration: platt.Kind = "platt"
    threshold_rule: Literal["max_f1", "p_equals_r"] = "max_f1"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1:
            raise ConfigError("epochs and batch: expected at least 1")


@dataclass(frozen=True)
class Labelled:
    """Features with truth: (n, classes) 0/1 and (n, 3) VAD in [-1, 1], NaN where not annotated."""

    features: Features
    truth: Array
    vad: Array

    def __len__(self) -> int:
        return len(self.truth)


@dataclass
class Trained:
    """The selected head, its card, and the validation metric of each epoch."""

    head: FusionHead
    card: HeadCard
    history: list[float] = field(default_factory=list)


def labelled(features: Features, records: Sequence[Record], name: str) -> Labelled:
    """Join features and labels. Raises UserError for no records or another label set."""
    if not records:
        raise UserError("Stage 2: no records in this split; the split is empty")
    other = {record.label_set for record in records} - {name}
    if other:
        raise UserError(f"Stage 2: records of label set {', '.join(sorted(other))}, the head is for {name!r}")
    truth = np.array([record.one_hot() for record in records], np.uint8)
    vad = np.array([(np.nan,) * 3 if r.vad is None else [(x - 5.5) / 4.5 for x in r.vad] for r in records], np.float32)
    return Labelled(features.of(records), truth, vad)


def with_views(data: Labelled, views: Sequence[str], all_views: Sequence[str]) -> Labelled:
    """Only some views of the features: the ablation of the paper's table 6."""
    columns = [list(all_views).index(view) for view in views]
    found = Features(data.features.ids, data.features.features[:, columns], data.features.present[:, columns])
    return Labelled(found, data.truth, data.vad)


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
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    steps = -(-len(data) // config.batch) * config.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    tensors = _tensors(data)
    history: list[float] = []
    best: dict[str, Any] = {}
    for epoch in range(config.epochs):
        head.train()
        order = torch.randperm(len(data), generator=generator)
        for rows in order.split(config.batch):
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


@torch.no_grad()  # type: ignore[untyped-decorator]
def predict(head: FusionHead, features: Features, batch: int = 4096) -> tuple[Array, Array | None]:
    """Logits (n, classes) and VAD (n, 3) or None, in eval mode."""
    head.eval()
    logits, affect = [], []
    for start in range(0, len(features.ids), batch):
        rows = slice(start, start + batch)
        found, vad = head(torch.from_numpy(features.features[rows]).float(), torch.from_numpy(features.present[rows]))
        logits.append(found.numpy())
        if vad is not None:
            affect.append(vad.numpy())
    return np.concatenate(logits), np.concatenate(affect) if affect else None


def _metric(head: FusionHead, data: Labelled, fusion: FusionConfig) -> float:
    logits, _ = predict(head, data.features)
    if label_set(fusion.label_set).multi:
        return multilabel.mean_average_precision(logits, data.truth).value
    return multilabel.accuracy(logits, data.truth)


def _card(head: FusionHead, validation: Labelled, fusion: FusionConfig, config: Stage2Config) -> HeadCard:
    multi = label_set(fusion.label_set).multi
    logits, _ = predict(head, validation.features)
    found = platt.fit(logits, validation.truth, config.calibration, multi)
    probabilities = found.apply(logits)
    thresholds = multilabel.fit_thresholds(probabilities, validation.truth, config.threshold_rule)
    metrics = {"val": multilabel.summary(probabilities, validation.truth, thresholds, multi)}
    return HeadCard(fusion, thresholds, found.scale, found.shift, metrics=metrics, training=asdict(config))
