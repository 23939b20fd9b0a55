"""LoRA on an encoder without a language model: it learns with the head, from labels, and the head is dropped after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emo_face.core.errors import UserError
from emo_face.core.labels import label_set
from emo_face.datasets.records import Record
from emo_face.datasets.views import Pictures, stack_views
from emo_face.perception.multiview.checkpoint import save_encoder
from emo_face.perception.multiview.config import FusionConfig
from emo_face.perception.multiview.encoders.instructblip import gather
from emo_face.perception.multiview.fusion_head import FusionHead, drop_views
from emo_face.runtime import weights
from emo_face.runtime.store import digest
from emo_face.training.common.order import Order
from emo_face.training.common.run import TrainingRun
from emo_face.training.multiview.config import Stage1Config
from emo_face.training.multiview.losses import asymmetric_loss, cross_entropy


@dataclass
class LabelledBatch:
    """Pixels per view, (b, views) rows into them (-1: missing), (b, classes) truth."""

    images: dict[str, Tensor]
    rows: Tensor
    truth: Tensor

    def to(self, device: Any) -> LabelledBatch:
        """The batch on another device."""
        images = {view: value.to(device) for view, value in self.images.items()}
        return LabelledBatch(images, self.rows.to(device), self.truth.to(device))


class Recogniser(nn.Module):
    """Encoder and head together."""

    def __init__(self, encoder: Any, fusion: FusionConfig) -> None:
        super().__init__()
        self.encoder, self.head = encoder, FusionHead(fusion)

    def forward(self, batch: LabelledBatch) -> Tensor:
        """Logits (b, classes)."""
        pooled = self.encoder.pool(self.encoder(batch.images))
        present = (batch.rows >= 0).float()
        if self.training:
            present = drop_views(present, self.head.config.view_dropout)
        logits: Tensor = self.head(gather(pooled, batch.rows, self.encoder.config.views), present)[0]
        return logits


class Adapt(TrainingRun[Record]):
    """One run: people in, the best encoder in ``out/best``."""

    title = "adapt"
    depth = 2
    regroups = True
    config: Stage1Config

    def __init__(
        self, encoder: Any, pictures: Pictures, records: Sequence[Record], config: Stage1Config, out: Path, base: str
    ) -> None:
        """Prepare. Raises UserError if there are no training or no validation people."""
        parts = {name: [record for record in records if record.split == name] for name in ("train", "val")}
        self.people, self.pictures, self.base = parts["train"], pictures, base
        if not self.people or not parts["val"]:
            raise UserError(f"adapt: {len(self.people)} training and {len(parts['val'])} validation people; needs both")
        names = self.people[0].label_set
        self.multi = label_set(names).multi
        fusion = FusionConfig(names, views=encoder.config.views, in_features=encoder.feature_size)
        torch.manual_seed(config.seed)
        super().__init__(Recogniser(encoder, fusion), self.batch, parts["val"][: config.validation_rows], config, out)
        self.order = Order(len(self.people), config.batch_size, config.seed, self.rank, self.world)
        self.rounds, self.length = config.epochs, self.order.steps

    def batch(self, people: Sequence[Record]) -> LabelledBatch:
        """Decode the views of some people."""
        images, rows = stack_views([self.pictures.views(record) for record in people], self.pictures.config.views)
        return LabelledBatch(images, rows, torch.from_numpy(np.array([record.one_hot() for record in people])))

    def trainable(self, model: Recogniser) -> list[dict[str, Any]]:
        """Adapters and head; the head starts from nothing and learns faster."""
        model.encoder.set_trainable()
        adapters = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
        if self.config.checkpointing:
            model.encoder.vision.gradient_checkpointing_enable({"use_reentrant": False})
        return [{"params": adapters}, {"params": list(model.head.parameters()), "share": 10.0}]

    def batches(self, number: int, start: int) -> Iterator[Sequence[Record]]:
        """See :class:`TrainingRun`."""
        return ([self.people[i] for i in rows] for rows in self.order.epoch(number, start))

    def losses(self, model: Any, batch: LabelledBatch) -> dict[str, Tensor]:
        """The head's loss."""
        loss = asymmetric_loss if self.multi else cross_entropy
        return {"loss": loss(model(batch), batch.truth)}

    def counts(self, examples: Sequence[Record], batch: LabelledBatch) -> tuple[float, ...]:
        """People."""
        return (len(examples),)

    def identity(self) -> dict[str, Any]:
        """Who learns what."""
        data = {"people": digest(map(repr, self.people)), "validation": digest(map(repr, self.validation))}
        return {"data": data, "model": asdict(self.bare.encoder.config)}

    def own_state(self) -> dict[str, Tensor]:
        """Adapters and head."""
        state = self.bare.state_dict()
        names = [n for n in state if n.startswith("head.") or self.bare.encoder.owns(n)]
        return {name: state[name].detach().cpu().contiguous() for name in names}

    def load_state(self, state: dict[str, Tensor], path: Path) -> None:
        """Put back what :meth:`own_state` gave."""
        weights.check_state_dict(self.own_state(), state, path)
        self.bare.load_state_dict(state, strict=False)

    def save_best(self, folder: Path, values: dict[str, float]) -> None:
        """Write the encoder alone: Stage 2 trains a head on its features."""
        extra = {"step": self.progress.step, "validation_loss": values["loss"], "adapt": asdict(self.config)}
        save_encoder(folder, self.bare.encoder, self.base, extra)
