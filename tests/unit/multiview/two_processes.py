"""What each of two processes does in ``test_two_processes.py``: train, be stopped, go on, compare. No test itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from emo_face.core.errors import UserError
from emo_face.datasets.qa.corpus import read_corpus
from emo_face.perception.multiview.checkpoint import load_base, own_state
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.vlm import MultiViewVLM
from emo_face.training.multiview_data import Collator, Pictures
from emo_face.training.stage1 import Stage1, Stage1Config


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
    collate = Collator(Pictures.of(root / "images", config, [row.record for row in rows]), words, words)
    settings = Stage1Config(
        epochs=2, batch=batch, accumulate=2, rate=3e-3, warmup=2, validate_every=3, save_every=2, validation_rows=4
    )
    parts = ([row for row in rows if row.record.split == split] for split in ("train", "val"))
    return Stage1(MultiViewVLM(base, config), collate, *parts, settings, out)


def keep_first_gradients(run: Stage1) -> dict[str, torch.Tensor]:
    """What the first optimiser step sees, after clipping; filled while ``run`` runs."""
    step, found = run.optimizer.step, {}

    def record() -> None:
        if not found:
            found.update({n: p.grad.clone() for n, p in run.encoder.named_parameters() if p.grad is not None})
        step()

    run.optimizer.step = record
    return found


def main(root: Path) -> None:
    """Leave what the test compares in ``root``: the losses and first gradients of the run without dropout."""
    from accelerate.utils import gather_object

    plain = stage1(root, root / "plain", 2, dropout=False)
    assert plain.accelerator.num_processes == 2
    rank = plain.accelerator.process_index
    first = plain.validation_loss()
    gradients = keep_first_gradients(plain)
    progress = plain.run()

    whole = stage1(root, root / "whole", 2)
    whole.run()
    stage1(root, root / "killed", 2).run(stop_after=5)  # saved at 4: one step is lost and done again
    torch.rand(7 + rank)
    again = stage1(root, root / "killed", 2)
    with torch.no_grad():
        for parameter in (*again.encoder.qformers.parameters(), *again.encoder.queries.parameters()):
            parameter.normal_()
    again.run()
    weights = own_state(whole.encoder)
    equal = all(torch.equal(value, weights[name]) for name, value in own_state(again.encoder).items())
    states = gather_object([{"rank": rank, "equal": equal, "best": [whole.progress.best, again.progress.best]}])
    refusal = ""
    try:  # as on two machines without a common disk
        stage1(root, root / ("killed" if rank == 0 else "elsewhere"), 2).run()
    except UserError as error:
        refusal = str(error)
    assert "all machines see" in refusal
    if plain.accelerator.is_main_process:
        result = {"first": first, "best": progress.best, "steps": progress.step, "resumed": states}
        (root / "result.json").write_text(json.dumps(result))
        save_file(gradients, str(root / "gradients.safetensors"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
