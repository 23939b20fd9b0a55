"""One training run: loop, micro-batches, validation, checkpoints, resume, bars. A model brings its loss and batches.

One process or many (``accelerate launch``), on CPU or GPUs. A run that was killed goes on from its newest checkpoint,
bit for bit, when it is started again with the same arguments.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch

from emo_face.core.errors import UserError
from emo_face.runtime.progress import bar
from emo_face.runtime.runners.prefetch import prefetch
from emo_face.training.common import checkpoints
from emo_face.training.common.board import board
from emo_face.training.common.config import RunConfig
from emo_face.training.common.ranks import check_launch
from emo_face.training.common.schedule import learning_rate_at

Example = TypeVar("Example")
BEST = "best"
"""Folder below a run's that holds the model with the least validation loss."""


class TrainingRun(ABC, Generic[Example]):
    """Examples in, the best model in ``out/best``.

    A subclass sets ``rounds`` and ``length`` (micro-batches of a round on each process) before it trains, and says
    what is learned, from what, and by which loss.
    """

    title: ClassVar[str]
    counted: ClassVar[tuple[str, ...]] = ("loss",)
    """Names of the losses that are validated."""
    regroups: ClassVar[bool] = False
    """Whether micro-batches are slices of one order, so that a run may go on in another number of processes."""
    depth: ClassVar[int] = 0
    """Batches that are collated while another one trains."""
    rounds: int
    length: int

    def __init__(
        self,
        model: Any,
        collate: Callable[[Sequence[Example]], Any],
        validation: Sequence[Example],
        config: RunConfig,
        out: Path,
    ) -> None:
        """Prepare model and optimiser. Raises UserError for no validation examples or a sharded launch."""
        from accelerate import Accelerator, DistributedDataParallelKwargs

        check_launch(os.environ)
        if not validation:
            raise UserError(f"{self.title}: no validation examples; the best checkpoint could not be told")
        # A batch may leave a part of the model unused: nobody shows a face, or no example has a target.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        # Left to itself accelerate makes of several processes without GPUs as many runs of one, all in one folder.
        cpu = not torch.cuda.is_available()
        # Accumulation is counted here, as the last step of a round may hold fewer micro-batches.
        self.accelerator = Accelerator(mixed_precision=config.precision, cpu=cpu, kwargs_handlers=[unused])
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.config, self.out, self.collate, self.validation = config, out, collate, list(validation)
        self.progress = checkpoints.RunProgress()
        torch.manual_seed(config.seed + self.rank)
        groups = self.trainable(model)
        for parameter in model.parameters():
            if parameter.requires_grad:  # small steps would be lost in half precision
                parameter.data = parameter.data.float()
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)

    @abstractmethod
    def trainable(self, model: Any) -> list[dict[str, Any]]:
        """Say what of ``model`` learns; its parameter groups. ``share`` of a group multiplies the learning rate."""

    @abstractmethod
    def batches(self, number: int, start: int) -> Iterable[Sequence[Example]]:
        """This process' micro-batches of round ``number`` from ``start`` on: a function of these and the seed alone."""

    @abstractmethod
    def losses(self, model: Any, batch: Any) -> dict[str, torch.Tensor]:
        """Means over a batch by name; ``loss`` is what is minimised."""

    @abstractmethod
    def counts(self, examples: Sequence[Example], batch: Any) -> Sequence[float]:
        """How many things each of :attr:`counted` is a mean over in this batch."""

    def validated(self, means: dict[str, float]) -> dict[str, float]:
        """The validation's values from its means; ``loss`` decides which model is best."""
        return means

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What a resumed run must share with the run it continues: hashes of ``data``, settings of the ``model``."""

    @abstractmethod
    def own_state(self) -> dict[str, torch.Tensor]:
        """The tensors that are trained."""

    @abstractmethod
    def load_state(self, state: dict[str, torch.Tensor], path: Path) -> None:
        """Put back what :meth:`own_state` gave; ``path`` is for error messages."""

    @abstractmethod
    def save_best(self, folder: Path, values: dict[str, float]) -> None:
        """Write the model whole."""

    def stepped(self) -> None:
        """What follows an optimiser step."""

    @property
    def bare(self) -> Any:
        """The model without what accelerate wraps around it."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def total(self) -> int:
        """Optimiser steps of the whole run."""
        return self.rounds * -(-self.length // self.config.gradient_accumulation)

    def run(self, stop_after: int | None = None) -> checkpoints.RunProgress:
        """Resume an earlier run, if there is one, and train to the end (or for ``stop_after`` optimiser steps)."""
        self._resume()
        progress, first = self.progress, self.accelerator.is_main_process
        with bar(self.title, self.total, progress.step, first) as tick, board(self.out / "tensorboard", first) as add:
            while progress.epoch < self.rounds:
                means: list[dict[str, float]] = []
                for examples, batch in self._collated(progress.epoch, progress.position):
                    progress.position += 1
                    means.append(self._micro_step(examples, batch))
                    if not self._closes_step():
                        continue
                    progress.step += 1
                    for name in means[0]:
                        add(f"train/{name}", sum(row[name] for row in means) / len(means), progress.step)
                    tick(progress.step, sum(row["loss"] for row in means) / len(means))
                    means.clear()
                    self._validate_and_save(add)
                    if stop_after is not None and progress.step >= stop_after:
                        return progress
                progress.epoch, progress.position = progress.epoch + 1, 0
            if progress.step % self.config.validate_every:
                self._validate(add)
            self._save()
        return progress

    def _collated(self, number: int, start: int) -> Iterator[tuple[Sequence[Example], Any]]:
        return prefetch(lambda rows: (rows, self.collate(rows)), self.batches(number, start), self.depth)

    def _closes_step(self) -> bool:
        """Whether the micro-batch just done closes an optimiser step."""
        position = self.progress.position
        return position % self.config.gradient_accumulation == 0 or position == self.length

    def _micro_batches(self) -> int:
        """How many micro-batches the current step holds: the last one of a round may hold fewer."""
        size = self.config.gradient_accumulation
        return min(size, self.length - (self.progress.position - 1) // size * size)

    def _micro_step(self, examples: Sequence[Example], batch: Any) -> dict[str, float]:
        self.model.train()
        last = self._closes_step()
        batch = batch.to(self.accelerator.device)
        with nullcontext() if last else self.accelerator.no_sync(self.model):
            with self.accelerator.autocast():
                losses = self.losses(self.model, batch)
            loss = losses["loss"]
            if not bool(torch.isfinite(loss)):
                raise UserError(
                    f"{self.title}: loss is {float(loss.detach())} at step {self.progress.step} (examples "
                    f"{', '.join(map(name_of, examples[:3]))}); lower the learning rate or check these examples"
                )
            self.accelerator.backward(loss / self._micro_batches())
        if last:
            rate = learning_rate_at(self.progress.step, self.total, self.config)
            for group in self.optimizer.param_groups:
                group["lr"] = group.get("share", 1.0) * rate
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.stepped()
        return {name: float(value.detach()) for name, value in losses.items()}

    @torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
    def validate(self) -> dict[str, float]:
        """Losses over the whole validation set, all processes together, in eval mode."""
        self.model.eval()
        size, mine = self.validation_batch, self.validation[self.rank :: self.world]
        sums = torch.zeros(len(self.counted), 2, dtype=torch.float64, device=self.accelerator.device)
        for start in range(0, len(mine), size):
            examples = mine[start : start + size]
            batch = self.collate(examples).to(self.accelerator.device)
            with self.accelerator.autocast():
                losses = self.losses(self.bare, batch)
            counts = self.counts(examples, batch)
            rows = [[float(losses[name]) * n, n] for name, n in zip(self.counted, counts, strict=True)]
            sums += torch.tensor(rows, dtype=sums.dtype, device=sums.device)
        sums = self.accelerator.reduce(sums, "sum")
        means = (sums[:, 0] / sums[:, 1].clamp(min=1)).tolist()
        return self.validated(dict(zip(self.counted, means, strict=True)))

    @property
    def validation_batch(self) -> int:
        """Examples that are validated at once."""
        return self.config.batch_size

    def _validate_and_save(self, add: Callable[[str, float, int], None]) -> None:
        if self.progress.step % self.config.validate_every == 0:
            self._validate(add)
        if self.progress.step % self.config.save_every == 0:
            self._save()

    def _validate(self, add: Callable[[str, float, int], None]) -> None:
        values, progress = self.validate(), self.progress
        for name, value in values.items():
            add(f"validation/{name}", value, progress.step)
        if values["loss"] < progress.best:
            progress.best, progress.best_step = values["loss"], progress.step
            if self.accelerator.is_main_process:
                self.save_best(self.out / BEST, values)

    def _resume(self) -> None:
        """Go on from the newest checkpoint. Raises UserError if processes do not find the same one."""
        folder = checkpoints.newest(self.out)
        seen = self._gathered([folder.name if folder else "none"])
        if len(set(seen)) > 1:
            raise UserError(
                f"{self.out}: the processes find different checkpoints ({', '.join(sorted(set(seen)))}); "
                "--out must be one folder that all machines see"
            )
        if folder is not None:
            self.progress = checkpoints.load(
                folder, self.load_state, self.optimizer, self._settings, self.rank, self.regroups
            )
            self.progress.position = min(self.progress.position, self.length)

    def _save(self) -> None:
        states = self._gathered([checkpoints.random_state()])
        if self.accelerator.is_main_process:
            checkpoints.save(self.out, self.progress, self.own_state(), self.optimizer, self._settings, states)
        self.accelerator.wait_for_everyone()

    def _gathered(self, items: list[Any]) -> list[Any]:
        """The items of all processes."""
        if self.world == 1:
            return items
        from accelerate.utils import gather_object

        return list(gather_object(items))

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """What a resumed run must share with the run it continues; as it reads back from JSON. Hashes the data once."""
        settings = {**asdict(self.config), **self.identity(), "processes": self.world}
        found: dict[str, Any] = json.loads(json.dumps(settings))
        return found


def name_of(example: Any) -> str:
    """What to call an example in a message."""
    return str(getattr(example, "id", "") or getattr(getattr(example, "record", None), "id", "") or "?")
