"""Stage 1: instruction tuning of the multi-view encoder, the language model frozen."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from emo_face.core.errors import UserError
from emo_face.datasets.qa.corpus import QARow
from emo_face.datasets.views import MultiViewCollator
from emo_face.perception.multiview.checkpoint import load_own, own_state, save_encoder
from emo_face.perception.multiview.vlm import MultiViewVLM
from emo_face.runtime.store import digest
from emo_face.training.common.order import Order
from emo_face.training.common.run import TrainingRun
from emo_face.training.multiview.config import Stage1Config


class Stage1(TrainingRun[QARow]):
    """One run: rows in, the best encoder in ``out/best``."""

    title = "stage 1"
    depth = 2
    regroups = True
    config: Stage1Config

    def __init__(
        self,
        vlm: MultiViewVLM,
        collate: MultiViewCollator,
        train: Sequence[QARow],
        validation: Sequence[QARow],
        config: Stage1Config,
        out: Path,
        base: str = "",
    ) -> None:
        """Prepare. Raises UserError if there are no training or no validation rows."""
        if not train or not validation:
            raise UserError(f"Stage 1: {len(train)} training and {len(validation)} validation rows; both are needed")
        self.train_rows, self.base = train, base
        super().__init__(vlm, collate, _spread(validation, config.validation_rows), config, out)
        self.order = Order(len(train), config.batch_size, config.seed, self.rank, self.world)
        self.rounds, self.length = config.epochs, self.order.steps

    @property
    def encoder(self) -> Any:
        """What is trained."""
        return self.bare.encoder

    def trainable(self, model: MultiViewVLM) -> list[dict[str, Any]]:
        model.set_trainable()
        if self.config.checkpointing:
            # transformers renames this within version 5; both names take the same first argument.
            old = model.base.gradient_checkpointing_enable
            getattr(model.base, "activation_checkpointing_enable", old)({"use_reentrant": False})
        return _groups(model, self.config.weight_decay)

    def batches(self, number: int, start: int) -> Iterator[Sequence[QARow]]:
        return ([self.train_rows[i] for i in rows] for rows in self.order.epoch(number, start))

    def losses(self, model: Any, batch: Any) -> dict[str, torch.Tensor]:
        return {"loss": model(batch).loss}

    def counts(self, examples: Sequence[QARow], batch: Any) -> tuple[float, ...]:
        return (len(examples),)

    def identity(self) -> dict[str, Any]:
        data = {"corpus": digest(map(repr, self.train_rows)), "validation": digest(map(repr, self.validation))}
        return {"data": data, "model": asdict(self.encoder.config)}

    def own_state(self) -> dict[str, torch.Tensor]:
        return own_state(self.encoder)

    def load_state(self, state: dict[str, torch.Tensor], path: Path) -> None:
        load_own(self.encoder, state, path)

    def save_best(self, folder: Path, values: dict[str, float]) -> None:
        tasks = sorted({row.task for row in self.train_rows})
        extra = {"step": self.progress.step, "validation_loss": values["loss"], "tasks": tasks}
        save_encoder(folder, self.encoder, self.base, {**extra, "stage1": asdict(self.config)})


def _spread(rows: Sequence[QARow], limit: int) -> list[QARow]:
    """At most ``limit`` rows, evenly spread and always the same."""
    if len(rows) <= limit:
        return list(rows)
    return [rows[i * len(rows) // limit] for i in range(limit)]


def _groups(vlm: MultiViewVLM, decay: float) -> list[dict[str, Any]]:
    """Trainable parameters; biases, norms and queries without weight decay."""
    named = [(n, p) for n, p in vlm.named_parameters() if p.requires_grad]
    plain = [p for n, p in named if p.ndim < 2 or ".queries." in n]
    heavy = [p for n, p in named if not (p.ndim < 2 or ".queries." in n)]
    groups = [{"params": heavy, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
