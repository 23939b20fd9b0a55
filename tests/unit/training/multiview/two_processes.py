"""What each of two processes does in ``test_two_processes.py``: train, be stopped, go on, compare. No test itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import two_ranks

from emo_face.core.errors import UserError
from emo_face.datasets.qa.corpus import read_corpus
from emo_face.datasets.views import MultiViewCollator, Pictures
from emo_face.perception.multiview.checkpoint import load_base
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.vlm import MultiViewVLM
from emo_face.training.common.processes import process_group
from emo_face.training.multiview.config import Stage1Config
from emo_face.training.multiview.stage1 import Stage1


def stage1(root: Path, out: Path, batch: int, dropout: bool = True) -> Stage1:
    """A run on the corpus in ``root``; the same frozen model each time."""
    from transformers import AutoTokenizer

    base = load_base(root / "base")
    if not dropout:
        for module in base.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.0
    rows = read_corpus(root / "qa.jsonl")
    config = EncoderConfig(image_size=28)
    words = AutoTokenizer.from_pretrained(root / "base")
    collate = MultiViewCollator(Pictures.of(root / "images", config, [row.record for row in rows]), words, words)
    settings = Stage1Config(
        epochs=2,
        batch_size=batch,
        gradient_accumulation=2,
        learning_rate=3e-3,
        warmup=2,
        validate_every=3,
        save_every=2,
        validation_rows=4,
    )
    parts = ([row for row in rows if row.record.split == split] for split in ("train", "val"))
    return Stage1(MultiViewVLM(base, config), collate, *parts, settings, out)


def main(root: Path) -> None:
    """Leave in ``root`` what the test compares; refuse to train where the processes see different folders."""
    two_ranks.work(
        root,
        lambda name, dropout: stage1(root, root / name, 2, dropout),
        lambda run: run.validate()["loss"],
        lambda run: run.encoder,
    )
    refusal = ""
    try:  # as on two machines without a common disk
        stage1(root, root / ("killed" if os.environ["RANK"] == "0" else "elsewhere"), 2).run()
    except UserError as error:
        refusal = str(error)
    assert "all machines see" in refusal


if __name__ == "__main__":
    with process_group():
        main(Path(sys.argv[1]))
