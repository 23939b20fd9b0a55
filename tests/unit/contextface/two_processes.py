"""What each of two processes does in ``test_two_processes.py``: train, be stopped, go on, compare. No test itself."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from tinyworld import tiny

from emo_face.datasets import synthetic_contexts
from emo_face.datasets.mixture import Mixture
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.training.contextface import ContextFaceRun, ContextFaceTraining
from emo_face.training.contextface_data import Collator

SETTINGS = ContextFaceTraining(epochs=1, accumulate=2, rate=2e-3, warmup=2, validate_every=3, save_every=2)


def a_run(out: Path, accumulate: int = 2, dropout: float = 0.1) -> ContextFaceRun:
    """A run on the synthetic world; the same start each time."""
    config = ContextFaceConfig(lora_dropout=dropout)
    world = tiny(config=config, stir=False, texts=synthetic_contexts.texts())
    mixture = Mixture(synthetic_contexts.tasks(synthetic_contexts.make(56, 1)), batch=4, seed=0)
    held = synthetic_contexts.tasks(synthetic_contexts.make(7, 2))
    collate = Collator(world.builder, world.eyes, world.model.config)
    settings = replace(SETTINGS, accumulate=accumulate)
    return ContextFaceRun(world.model, collate, mixture, held["expression"] + held["situation"], settings, out)


def keep_first_gradients(run: ContextFaceRun) -> dict[str, torch.Tensor]:
    """What the first optimiser step sees, after clipping; filled while ``run`` runs."""
    step, found = run.optimizer.step, {}

    def record() -> None:
        if not found:
            found.update({n: p.grad.clone() for n, p in run.bare.named_parameters() if p.grad is not None})
        step()

    run.optimizer.step = record
    return found


def weights(run: ContextFaceRun) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in run.bare.named_parameters() if p.requires_grad}


def main(root: Path) -> None:
    """Leave what the test compares in ``root``: losses and first gradients of the run without dropout."""
    from accelerate.utils import gather_object

    plain = a_run(root / "plain", dropout=0.0)
    assert plain.world == 2
    rank = plain.accelerator.process_index
    first = plain.validate()
    gradients = keep_first_gradients(plain)
    progress = plain.run()

    whole = a_run(root / "whole")
    whole.run()
    a_run(root / "killed").run(stop_after=5)  # saved at 4: one step is lost and done again
    torch.rand(7 + rank)
    again = a_run(root / "killed")
    again.run()
    own = weights(whole)
    equal = all(torch.equal(value, own[name]) for name, value in weights(again).items())
    states = gather_object([{"rank": rank, "equal": equal, "best": [whole.progress.best, again.progress.best]}])
    if plain.accelerator.is_main_process:
        result = {"first": first, "best": progress.best, "steps": progress.step, "resumed": states}
        (root / "result.json").write_text(json.dumps(result))
        save_file(gradients, str(root / "gradients.safetensors"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
