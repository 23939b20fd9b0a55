"""Stage 1: instruction tuning of the multi-view encoder, the language model frozen.

One process or many: ``python export/train_multiview.py stage1 ...``, or the same after ``accelerate launch``.
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
from emo_face.datasets.qa.corpus import QARow
from emo_face.datasets.views import Collator
from emo_face.perception.multiview.checkpoint import save_encoder
from emo_face.perception.multiview.vlm import Batch, MultiViewVLM
from emo_face.training.common import checkpoints as stage1_state
from emo_face.training.common.order import Order, prefetch
from emo_face.training.common.schedule import learning_rate_at
from emo_face.training.multiview.config import Stage1Config

PREFETCH = 2
"""Batches that are decoded while another one trains."""


class Stage1:
    """One run: rows in, the best encoder in ``out/best``."""

    def __init__(
        self,
        vlm: MultiViewVLM,
        collate: Collator,
        train: Sequence[QARow],
        validation: Sequence[QARow],
        config: Stage1Config,
        out: Path,
        base: str = "",
    ) -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs

        if not train or not validation:
            raise UserError(f"Stage 1: {len(train)} training and {len(validation)} validation rows; both are needed")
        # A batch where nobody shows a face leaves the face projection unused.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        # Accumulation is counted here, as the last step of an epoch may hold fewer micro-batches.
        self.accelerator = Accelerator(mixed_precision=config.precision, kwargs_handlers=[unused])
        check_launch(str(self.accelerator.distributed_type.value))
        self.config, self.out, self.base = config, out, base
        self.collate, self.train_rows, self.validation_rows = (
            collate,
            train,
            _spread(validation, config.validation_rows),
        )
        torch.manual_seed(config.seed + self.accelerator.process_index)
        self.trained = vlm.set_trainable()
        for parameter in vlm.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        if config.checkpointing:
            # transformers renames this within version 5; both names take the same first argument.
            old = vlm.base.gradient_checkpointing_enable
            getattr(vlm.base, "activation_checkpointing_enable", old)({"use_reentrant": False})
        optimizer = torch.optim.AdamW(_groups(vlm, config.weight_decay), lr=config.learning_rate)
        self.model, self.optimizer = self.accelerator.prepare(vlm, optimizer)
        self.order = Order(
            len(train), config.batch_size, config.seed, self.accelerator.process_index, self.accelerator.num_processes
        )
        self.total = config.epochs * -(-self.order.steps // config.gradient_accumulation)
        self.progress = stage1_state.Progress()

    @property
    def encoder(self) -> Any:
        return self.accelerator.unwrap_model(self.model).encoder

    def run(self, stop_after: int | None = None) -> stage1_state.Progress:
        """Train to the end (or ``stop_after`` optimiser steps, as a killed run would), resuming where one was."""
        folder = self._newest()
        if folder is not None:
            self.progress = stage1_state.load(
                folder, self.encoder, self.optimizer, self._settings(), self.accelerator.process_index
            )
        progress = self.progress
        with self._bar() as tick, self._board() as board:
            while progress.epoch < self.config.epochs:
                losses: list[float] = []
                order = self.order.epoch(progress.epoch, progress.position)
                todo = ([self.train_rows[i] for i in rows] for rows in order)
                for batch in prefetch(self.collate, todo, PREFETCH):
                    progress.position += 1
                    losses.append(self._micro_step(batch))
                    if not self._boundary():
                        continue
                    progress.step += 1
                    tick(progress.step, sum(losses) / len(losses))
                    board("train/loss", sum(losses) / len(losses), progress.step)
                    losses.clear()
                    self._validate_and_save(board)
                    if stop_after is not None and progress.step >= stop_after:
                        return progress
                progress.epoch, progress.position = progress.epoch + 1, 0
            self._finish(board)
        return progress

    def _newest(self) -> Path | None:
        """The checkpoint to go on from. Raises UserError where processes do not find the same one."""
        folder = stage1_state.newest(self.out)
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            seen = gather_object([folder.name if folder else "none"])
            if len(set(seen)) > 1:
                raise UserError(
                    f"{self.out}: the processes find different checkpoints ({', '.join(sorted(set(seen)))}); "
                    "--out must be one folder that all machines see"
                )
        return folder

    def _boundary(self) -> bool:
        """Whether the micro-batch just done closes an optimiser step."""
        return (
            self.progress.position % self.config.gradient_accumulation == 0
            or self.progress.position == self.order.steps
        )

    def _micro_step(self, batch: Batch) -> float:
        self.model.train()
        last = self._boundary()
        batch = batch.to(self.accelerator.device)
        with nullcontext() if last else self.accelerator.no_sync(self.model):
            with self.accelerator.autocast():
                loss = self.model(batch).loss
            self.accelerator.backward(loss / self._micro_batches())
        if last:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate_at(self.progress.step, self.total, self.config)
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return float(loss.detach())

    def _micro_batches(self) -> int:
        """How many micro-batches the current step holds: the last one of an epoch may hold fewer."""
        first = (self.progress.position - 1) // self.config.gradient_accumulation * self.config.gradient_accumulation
        return min(self.config.gradient_accumulation, self.order.steps - first)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def validation_loss(self) -> float:
        """Mean loss over the validation rows, all processes together."""
        self.model.eval()
        rank, world, size = self.order.rank, self.order.world, self.config.batch_size
        total = torch.zeros(2, device=self.accelerator.device, dtype=torch.float64)
        mine = self.validation_rows[rank::world]
        for start in range(0, len(mine), size):
            rows = mine[start : start + size]
            batch: Batch = self.collate(rows).to(self.accelerator.device)
            with self.accelerator.autocast():
                loss = self.accelerator.unwrap_model(self.model)(batch).loss
            total += torch.tensor([float(loss) * len(rows), len(rows)], device=total.device, dtype=total.dtype)
        total = self.accelerator.reduce(total, "sum")
        return float(total[0] / total[1])

    def _validate_and_save(self, board: Any) -> None:
        step = self.progress.step
        if step % self.config.validate_every == 0:
            self._validate(board)
        if step % self.config.save_every == 0:
            self._save()

    def _validate(self, board: Any) -> None:
        loss = self.validation_loss()
        board("validation/loss", loss, self.progress.step)
        if loss < self.progress.best:
            self.progress.best, self.progress.best_step = loss, self.progress.step
            if self.accelerator.is_main_process:
                tasks = sorted({row.task for row in self.train_rows})
                extra = {"step": self.progress.step, "validation_loss": loss, "tasks": tasks}
                extra["stage1"] = asdict(self.config)
                save_encoder(self.out / "best", self.encoder, self.base, extra)

    def _save(self) -> None:
        states = [stage1_state.random_state()]
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            states = gather_object(states)
        if self.accelerator.is_main_process:
            stage1_state.save(self.out, self.progress, self.encoder, self.optimizer, self._settings(), states)
        self.accelerator.wait_for_everyone()

    def _finish(self, board: Any) -> None:
        if self.progress.step % self.config.validate_every:
            self._validate(board)
        self._save()

    def _settings(self) -> dict[str, Any]:
        """What a resumed run must share with the run it continues."""
        shape = {"rows": len(self.train_rows), "processes": self.accelerator.num_processes}
        return {**asdict(self.config), **shape}

    def _bar(self) -> Any:
        from emo_face.runtime.progress import bar

        return bar("stage 1", self.total, self.progress.step, self.accelerator.is_main_process)

    def _board(self) -> Any:
        from emo_face.training.common.board import board

        return board(self.out / "tensorboard", self.accelerator.is_main_process)


def check_launch(kind: str) -> None:
    """Refuse (UserError) accelerate's sharded kinds: checkpoints here hold whole tensors."""
    if kind.upper() in ("FSDP", "DEEPSPEED", "MEGATRON_LM", "TP"):
        raise UserError(
            f"accelerate's configuration asks for {kind}; Stage 1 is data-parallel: launch with --multi_gpu instead "
            "(the frozen 7B model in bfloat16 fits one 40 GB GPU with --checkpointing)"
        )


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
