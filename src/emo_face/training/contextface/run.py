"""Instruction tuning of ContextFace: three tasks, one joint loss (paper, sections 3.2 and 3.3).

Full precision, bf16 or over a quantised backbone (QLoRA).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from emo_face.datasets.contexts.content import hashes
from emo_face.datasets.contexts.mixture import Mixture
from emo_face.datasets.contexts.tasks import kind_of
from emo_face.expression.contextface.checkpoint import CARD, adapter_state, put_adapter, put_back, save_model
from emo_face.expression.contextface.model import ContextFace
from emo_face.expression.contextface.prompts import Example
from emo_face.runtime.store import sha256_of
from emo_face.training.common import checkpoints
from emo_face.training.common.run import TrainingRun
from emo_face.training.contextface.config import ContextFaceTraining
from emo_face.training.contextface.data import ContextFaceCollator, all_targets
from emo_face.training.contextface.loss import face_loss


class ContextFaceRun(TrainingRun[Example]):
    """One run: a mixture of tasks in, the best model in ``out/best``."""

    title = "contextface"
    counted = ("text", "face")
    config: ContextFaceTraining

    def __init__(
        self,
        model: ContextFace,
        collate: ContextFaceCollator,
        train: Mixture[Example],
        validation: Sequence[Example],
        config: ContextFaceTraining,
        out: Path,
        backbone: str = "",
        start: Path | None = None,
    ) -> None:
        """Prepare; ``start``: a trained model to begin with. Raises UserError if there are no validation examples."""
        self.mixture, self.backbone, self.start = train, backbone, start
        self.states: list[torch.Tensor] = []
        super().__init__(model, collate, validation, config, out)
        if start is not None:  # a checkpoint of this run, if there is one, is put over it
            put_back(start, self.bare)
        epoch = min(len(train), config.epoch_batches) if config.epoch_batches else len(train)
        self.rounds, self.length = 1, config.epochs * -(-epoch // self.world)

    def trainable(self, model: ContextFace) -> list[dict[str, Any]]:
        config = self.config
        faces = [e for name, made in self.mixture.tasks.items() if kind_of(name) == "expression" for e in made]
        if not checkpoints.newest(self.out) and faces:
            model.head.set_statistics(*all_targets(faces, model.config))
        if config.centring:
            model.head.centre = torch.zeros_like(model.head.inner.bias)
        if config.checkpointing:
            model.base.get_decoder().gradient_checkpointing_enable({"use_reentrant": False})
        text = [p for p in model.vlm.parameters() if p.requires_grad]
        parts = ((text, 1.0), (list(model.head.parameters()), config.head_rate_share))
        return [{"params": part, "share": share, "betas": config.betas} for part, share in parts]

    def batches(self, number: int, start: int) -> Iterator[Sequence[Example]]:
        return (self.mixture[position * self.world + self.rank] for position in range(start, self.length))

    def losses(self, model: Any, batch: Any) -> dict[str, torch.Tensor]:
        output, bare, config = model(batch), self.bare, self.config
        if model.training and bare.head.centre is not None:
            self.states.append(output.states.detach())
        known = (batch.targets, batch.present, bare.head.std, bare.config)
        face = face_loss(output.faces, *known, config.face_loss, config.group_weights)
        return {"loss": output.text_loss + config.face_weight * face, "text": output.text_loss, "face": face}

    def stepped(self) -> None:
        """Move the head's centre towards the mean of the step's states, those of all processes."""
        if (centre := self.bare.head.centre) is None:
            return
        states, self.states = torch.cat(self.states).float(), []
        total = self.accelerator.reduce(torch.cat([states.sum(0), states.new_tensor([len(states)])]), "sum")
        if total[-1] > 0:
            mean = total[:-1] / total[-1]
            centre.copy_(centre.lerp(mean, self.config.centring) if centre.any() else mean)

    def counts(self, examples: Sequence[Example], batch: Any) -> tuple[float, ...]:
        return int((batch.labels[:, 1:] >= 0).sum()), int(batch.present.any(1).sum())

    @property
    def validation_batch(self) -> int:
        return self.config.validation_batch

    def validated(self, means: dict[str, float]) -> dict[str, float]:
        return {**means, "loss": means["text"] + self.config.face_weight * means["face"]}

    def identity(self) -> dict[str, Any]:
        start = sha256_of(self.start / CARD)[:16] if self.start else ""
        model = {**asdict(self.bare.config), "backbone": Path(self.backbone).name, "start": start}
        data = hashes(self.mixture.tasks, self.validation)
        return {"mixture": self.mixture.state(0), "data": data, "model": model}

    def own_state(self) -> dict[str, torch.Tensor]:
        """Adapter, token rows and head with its statistics and its centre."""
        head = self.bare.head
        state = head.state_dict() | ({} if head.centre is None else {"centre": head.centre})
        named = {f"head.{name}": value.detach().cpu().contiguous() for name, value in state.items()}
        return {**adapter_state(self.bare), **named}

    def load_state(self, state: dict[str, torch.Tensor], path: Path) -> None:
        put_adapter(self.bare, {n: v for n, v in state.items() if not n.startswith("head.")}, path)
        head = {n.removeprefix("head."): v for n, v in state.items() if n.startswith("head.")}
        if (centre := head.pop("centre", None)) is not None:
            self.bare.head.centre.copy_(centre)
        self.bare.head.load_state_dict(head)

    def save_best(self, folder: Path, values: dict[str, float]) -> None:
        extra = {"step": self.progress.step, "validation": values, "training": asdict(self.config)}
        save_model(folder, self.bare, self.backbone, extra)


def prepare_quantised(base: Any) -> Any:
    """Make a 4-bit or 8-bit backbone trainable through (QLoRA): frozen, what is not quantised in float32.

    Without peft's own checkpointing: it sends gradients through the vision encoder too, where nothing is trained. The
    run checkpoints the language model without it.
    """
    from peft import prepare_model_for_kbit_training

    return prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
