"""What each of two processes does in ``test_two_processes.py``: train, be stopped, go on, compare. No test itself."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
import two_ranks
from tinyworld import context_tasks, tiny

from emo_face.core.errors import ModelError
from emo_face.datasets.contexts.mixture import Mixture
from emo_face.expression.contextface import checkpoint
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.training.common.processes import process_group
from emo_face.training.contextface import main as command
from emo_face.training.contextface.config import ContextFaceTraining
from emo_face.training.contextface.data import ContextFaceCollator
from emo_face.training.contextface.run import ContextFaceRun
from fixtures import contexts as synthetic_contexts

SETTINGS = ContextFaceTraining(
    epochs=1, gradient_accumulation=2, learning_rate=2e-3, warmup=2, validate_every=3, save_every=2
)


def a_run(out: Path, accumulate: int = 2, dropout: float = 0.1) -> ContextFaceRun:
    """A run on the synthetic world; the same start each time."""
    config = ContextFaceConfig(lora_dropout=dropout)
    world = tiny(config=config, stir=False, texts=synthetic_contexts.texts())
    mixture = Mixture(context_tasks(synthetic_contexts.make(56, 1)), batch=4, seed=0)
    held = context_tasks(synthetic_contexts.make(7, 2))
    collate = ContextFaceCollator(world.builder, world.eyes, world.model.config)
    settings = replace(SETTINGS, gradient_accumulation=accumulate)
    return ContextFaceRun(world.model, collate, mixture, held["expression"] + held["situation"], settings, out)


def where_it_would_load(out: Path) -> str:
    """Device and precision of the backbone in this process, if its machine had two GPUs: what the command asks for."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(["--backbone", "b", "--contexts", "c", "--out", str(out)])
    with (
        patch.object(checkpoint, "load_backbone", side_effect=ModelError("far enough")) as load,
        patch.object(command, "load_tasks", return_value=({}, [])),
        patch.object(torch.cuda, "device_count", return_value=2),
        suppress(ModelError),
    ):
        command.run(args)
    _, dtype, _, device = load.call_args.args
    return f"{dtype} on {device}"


def main(root: Path) -> None:
    """Leave in ``root`` what the test compares."""
    (root / f"device-{os.environ['RANK']}").write_text(where_it_would_load(root / "gpu"))

    def make(name: str, dropout: bool) -> ContextFaceRun:
        return a_run(root / name, dropout=0.1 if dropout else 0.0)

    two_ranks.work(root, make, ContextFaceRun.validate, lambda run: run.bare)


if __name__ == "__main__":
    with process_group():
        main(Path(sys.argv[1]))
