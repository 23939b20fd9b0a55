"""A tiny backbone that knows the language of the synthetic world, but not what its contexts mean.

Adapters are small changes to a model that can read; on random weights they have nothing to change. This stands for the
pretrained checkpoint of the real recipe: it learns the templates and words with emotions drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from emo_face.datasets.synthetic_contexts import Sample, tasks
from emo_face.expression.contextface.prompts import words
from emo_face.expression.contextface.tokens import TokenBuilder


def warm_up(base: Any, builder: TokenBuilder, samples: Sequence[Sample], steps: int, seed: int = 0) -> float:
    """Train all of ``base`` on the world's text with shuffled emotions; returns the last loss in nats a token."""
    rng = np.random.default_rng([seed, 5])
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(base.parameters(), lr=3e-3)
    base.train()
    loss = torch.zeros(())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 20) * (1 - step / steps)
        drawn = [samples[int(i)] for i in rng.integers(len(samples), size=6)]
        shuffled = [replace(s, word=words()[int(rng.integers(len(words())))]) for s in drawn]
        rows = [builder.dialogue(e.turns).ids for task in tasks(shuffled).values() for e in task]
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        loss = base(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    base.eval()
    base.requires_grad_(False)
    return float(loss.detach())
