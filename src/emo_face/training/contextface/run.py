"""Instruction tuning of ContextFace: three tasks, one joint loss (paper, sections 3.2 and 3.3).

One process or many (``accelerate launch``), on CPU or GPUs, full precision, bf16 or over a quantised backbone (QLoRA).
A run that was killed goes on from its newest checkpoint, bit for bit, when it is started again with the same arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from emo_face.core.errors import UserError
from emo_face.datasets.contexts.mixture import Mixture
from emo_face.expression.contextface.checkpoint import adapter_state, put_adapter, save_model
from emo_face.expression.contextface.model import ContextFace
from emo_face.expression.contextface.prompts import Example
from emo_face.training.common import checkpoints as stage1_state
from emo_face.training.common.schedule import learning_rate_at
from emo_face.training.contextface.config import ContextFaceTraining
from emo_face.training.contextface.data import Collator, all_targets
from emo_face.training.contextface.loss import face_loss


class ContextFaceRun:
    """One run: a mixture of tasks in, the best model in ``out/best``."""

    def __init__(
        self,
        model: ContextFace,
        collate: Collator,
        train: Mixture[Example],
        validation: Sequence[Example],
        config: ContextFaceTraining,
        out: Path,
        backbone: str = "",
    ) -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs

        if not validation:
            raise UserError("training: no validation examples; the best checkpoint could not be told")
        # A micro-batch without faces leaves the head unused.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        # Accumulation is counted here, as the last step may hold fewer micro-batches.
        self.accelerator = Accelerator(mixed_precision=config.precision, kwargs_handlers=[unused])
        self.config, self.out, self.backbone, self.collate = config, out, backbone, collate
        self.mixture, self.validation = train, list(validation)
        torch.manual_seed(config.seed + self.accelerator.process_index)
        if not stage1_state.newest(out) and "expression" in train.tasks:
            model.head.set_statistics(*all_targets(list(train.tasks["expression"]), model.config))
        _float_trainable(model)
        if config.checkpointing:
            model.base.get_decoder().gradient_checkpointing_enable({"use_reentrant": False})
        text = [p for p in model.vlm.parameters() if p.requires_grad]
        groups = [
            {"params": text, "share": 1.0},
            {"params": list(model.head.parameters()), "share": config.head_rate_share},
        ]
        optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.world = self.accelerator.num_processes
        self.micro_batches = config.epochs * -(-len(train) // self.world)
        self.total = -(-self.micro_batches // config.gradient_accumulation)
        self.progress = stage1_state.Progress()

    @property
    def bare(self) -> ContextFace:
        """The model without what accelerate wraps around it."""
        model: ContextFace = self.accelerator.unwrap_model(self.model)
        return model

    def run(self, stop_after: int | None = None) -> stage1_state.Progress:
        """Train to the end (or ``stop_after`` optimiser steps, as a killed run would), resuming where one was."""
        folder = stage1_state.newest(self.out)
        if folder is not None:
            rank = self.accelerator.process_index
            self.progress = stage1_state.load(folder, self.bare, self.optimizer, self._settings(), rank, _put)
        progress = self.progress
        with self._bar() as tick, self._board() as board:
            losses: list[tuple[float, float]] = []
            while progress.position < self.micro_batches:
                number = progress.position * self.world + self.accelerator.process_index
                progress.position += 1
                losses.append(self._micro_step(self.mixture[number]))
                if not self._boundary():
                    continue
                progress.step += 1
                text, face = (sum(part) / len(losses) for part in zip(*losses, strict=True))
                tick(progress.step, text + self.config.face_weight * face)
                board("train/text", text, progress.step)
                board("train/face", face, progress.step)
                losses.clear()
                self._validate_and_save(board)
                if stop_after is not None and progress.step >= stop_after:
                    return progress
            self._finish(board)
        return progress

    def _boundary(self) -> bool:
        """Whether the micro-batch just done closes an optimiser step."""
        return (
            self.progress.position % self.config.gradient_accumulation == 0
            or self.progress.position == self.micro_batches
        )

    def _micro_step(self, examples: Sequence[Example]) -> tuple[float, float]:
        self.model.train()
        last = self._boundary()
        batch = self.collate(examples).to(self.accelerator.device)
        with nullcontext() if last else self.accelerator.no_sync(self.model):
            with self.accelerator.autocast():
                text, face = self._losses(self.model, batch)
            loss = text + self.config.face_weight * face
            if not bool(torch.isfinite(loss)):
                raise UserError(
                    f"training: loss is {float(loss.detach())} at step {self.progress.step} (examples "
                    f"{', '.join(e.id for e in examples[:3])}); lower the learning rate or check these examples"
                )
            self.accelerator.backward(loss / self._in_step())
        if last:
            for group in self.optimizer.param_groups:
                group["lr"] = group["share"] * learning_rate_at(self.progress.step, self.total, self.config)
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return float(text.detach()), float(face.detach())

    def _losses(self, model: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        output = model(batch)
        bare, config = self.bare, self.config
        error = face_loss(
            output.faces,
            batch.targets,
            batch.present,
            bare.head.std,
            bare.config,
            config.face_loss,
            config.group_weights,
        )
        return output.text_loss, error

    def _in_step(self) -> int:
        """How many micro-batches the current step holds: the last one may hold fewer."""
        first = (self.progress.position - 1) // self.config.gradient_accumulation * self.config.gradient_accumulation
        return int(min(self.config.gradient_accumulation, self.micro_batches - first))

    @torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
    def validate(self) -> dict[str, float]:
        """Text, face and joint loss over the whole validation set, all processes together, in eval mode."""
        self.model.eval()
        mine = self.validation[self.accelerator.process_index :: self.world]
        sums = torch.zeros(4, dtype=torch.float64, device=self.accelerator.device)
        for start in range(0, len(mine), self.config.validation_batch):
            batch = self.collate(mine[start : start + self.config.validation_batch]).to(self.accelerator.device)
            with self.accelerator.autocast():
                text, face = self._losses(self.bare, batch)
            words, faces = int((batch.labels[:, 1:] >= 0).sum()), int(batch.present.any(1).sum())
            row = [float(text) * words, words, float(face) * faces, faces]
            sums += torch.tensor(row, dtype=sums.dtype, device=sums.device)
        sums = self.accelerator.reduce(sums, "sum")
        text, face = float(sums[0] / max(sums[1], 1)), float(sums[2] / max(sums[3], 1))
        return {"text": text, "face": face, "joint": text + self.config.face_weight * face}

    def _validate_and_save(self, board: Any) -> None:
        if self.progress.step % self.config.validate_every == 0:
            self._validate(board)
        if self.progress.step % self.config.save_every == 0:
            self._save()

    def _validate(self, board: Any) -> None:
        values = self.validate()
        for name, value in values.items():
            board(f"validation/{name}", value, self.progress.step)
        if values["joint"] < self.progress.best:
            self.progress.best, self.progress.best_step = values["joint"], self.progress.step
            if self.accelerator.is_main_process:
                extra = {"step": self.progress.step, "validation": values, "training": asdict(self.config)}
                save_model(self.out / "best", self.bare, self.backbone, extra)

    def _save(self) -> None:
        states = [stage1_state.random_state()]
        if self.world > 1:
            from accelerate.utils import gather_object

            states = gather_object(states)
        if self.accelerator.is_main_process:
            stage1_state.save(self.out, self.progress, self.bare, self.optimizer, self._settings(), states, _state)
        self.accelerator.wait_for_everyone()

    def _finish(self, board: Any) -> None:
        if self.progress.best_step != self.progress.step:
            self._validate(board)
        self._save()

    def _settings(self) -> dict[str, Any]:
        """What a resumed run must share with the run it continues; as it reads back from JSON."""
        settings = {**asdict(self.config), "mixture": self.mixture.state(0), "processes": self.world}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}

    def _bar(self) -> Any:
        from emo_face.runtime.progress import bar

        return bar("contextface", self.total, self.progress.step, self.accelerator.is_main_process)

    def _board(self) -> Any:
        from emo_face.training.common.board import board

        return board(self.out / "tensorboard", self.accelerator.is_main_process)


def _state(model: ContextFace) -> dict[str, torch.Tensor]:
    """Adapter, token rows and head with its statistics."""
    head = {f"head.{name}": value.detach().cpu().contiguous() for name, value in model.head.state_dict().items()}
    return {**adapter_state(model), **head}


def _put(model: ContextFace, state: dict[str, torch.Tensor], path: Path) -> None:
    put_adapter(model, {n: v for n, v in state.items() if not n.startswith("head.")}, path)
    model.head.load_state_dict({n.removeprefix("head."): v for n, v in state.items() if n.startswith("head.")})


def _float_trainable(model: ContextFace) -> None:
    """Keep what is trained in float32 over a bf16 or quantised backbone: small steps would be lost."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def prepare_quantised(base: Any) -> Any:
    """Make a 4-bit or 8-bit backbone trainable through (QLoRA): frozen, what is not quantised in float32.

    Without peft's own checkpointing: it sends gradients through the vision encoder too, where nothing is trained. The
    run checkpoints the language model without it.
    """
    from peft import prepare_model_for_kbit_training

    return prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
