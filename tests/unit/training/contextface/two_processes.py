"""What each of two processes does in ``test_two_processes.py``: train, be stopped, go on, compare. No test itself."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import two_ranks
from tinyworld import tiny

from emo_face.datasets.contexts import synthetic as synthetic_contexts
from emo_face.datasets.contexts.mixture import Mixture
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.training.common.processes import process_group
from emo_face.training.contextface.config import ContextFaceTraining
from emo_face.training.contextface.data import ContextFaceCollator
from emo_face.training.contextface.run import ContextFaceRun

SETTINGS = ContextFaceTraining(
    epochs=1, gradient_accumulation=2, learning_rate=2e-3, warmup=2, validate_every=3, save_every=2
)


def a_run(out: Path, accumulate: int = 2, dropout: float = 0.1) -> ContextFaceRun:
    """A run on the synthetic world; the same start each time."""
    config = ContextFaceConfig(lora_dropout=dropout)
    world = tiny(config=config, stir=False, texts=synthetic_contexts.texts())
    mixture = Mixture(synthetic_contexts.tasks(synthetic_contexts.make(56, 1)), batch=4, seed=0)
    held = synthetic_contexts.tasks(synthetic_contexts.make(7, 2))
    collate = ContextFaceCollator(world.builder, world.eyes, world.model.config)
    settings = replace(SETTINGS, gradient_accumulation=accumulate)
    return ContextFaceRun(world.model, collate, mixture, held["expression"] + held["situation"], settings, out)


def main(root: Path) -> None:
    """Leave in ``root`` what the test compares."""

    def make(name: str, dropout: bool) -> ContextFaceRun:
        return a_run(root / name, dropout=0.1 if dropout else 0.0)

    two_ranks.work(root, make, ContextFaceRun.validate, lambda run: run.bare)


if __name__ == "__main__":
    with process_group():
        main(Path(sys.argv[1]))
