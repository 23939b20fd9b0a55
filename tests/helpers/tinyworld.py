"""A tiny random ContextFace of any family, with everything around it; torch is imported only when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

PICTURE = np.random.default_rng(7).integers(0, 255, (90, 120, 3), dtype=np.uint8)


@dataclass
class Tiny:
    """A model to be trained (``model``) and its parts."""

    family: str
    model: Any
    tokenizer: Any
    eyes: Any
    builder: Any

    def onepass(self, cache=True):
        from emo_face.expression.contextface.onepass import OnePass

        return OnePass(self.model.eval(), self.builder, self.eyes, cache)


def tiny(family="llava", config=None, tied=False, seed=0, stir=True, width=32, layers=2, texts=()):
    """``stir`` moves adapter, token rows and statistics away from their neutral start."""
    import torch

    from emo_face.expression.contextface.config import ContextFaceConfig
    from emo_face.expression.contextface.model import build_model
    from emo_face.expression.contextface.tokens import TokenBuilder
    from emo_face.expression.contextface.vision import eyes_of
    from fixtures import tiny_contextface as source

    torch.set_num_threads(1)
    config = config or ContextFaceConfig(groups=("expression", "jaw"))
    tokenizer = source.tiny_tokenizer(family, texts)
    base = source.tiny_base(family, tokenizer, width, layers, seed, tied)
    eyes = eyes_of(base, source.tiny_image_processor(family))
    model = build_model(base, tokenizer, config, seed)
    if stir:
        stirred(model, seed)
    builder = TokenBuilder(tokenizer, family, model.image_id, eyes.tokens, config.chat, config.system)
    return Tiny(family, model, tokenizer, eyes, builder)


def stirred(model, seed=0):
    """The model with adapter, token rows and statistics moved away from their neutral start."""
    import torch

    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.requires_grad and "head" not in name.split(".")[0]:
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
        model.head.mean.normal_(generator=generator)
        model.head.std.uniform_(0.5, 2.0, generator=generator)
    return model


def separately(world, quote="", situation="", picture=None, perspective="speaker"):
    """The reference of one pass: every branch alone behind the prompt, causal attention, the model's own positions."""
    import torch

    from emo_face.expression.contextface.prompts import expression_question, words

    style = world.model.config.style
    question = expression_question(quote, situation, picture is not None, perspective, style)
    source = "situation" if situation else "quote" if quote else "image"
    prompt, endings = world.onepass().endings(question, source)
    log_probs, faces = [], []
    with torch.inference_mode():
        for ending in endings:
            ids = torch.tensor([[*prompt, *ending]])
            vision = {} if picture is None else world.eyes.tensors([picture])
            states = world.model.hidden(ids, vision, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            scores = torch.log_softmax(world.model.logits(states), -1)
            places = range(len(prompt), ids.shape[1])
            log_probs.append(float(sum(scores[i - 1, ids[0, i]] for i in places)))
            faces.append(world.model.head(states[None, -1 + world.model.config.hidden_offset])[0].numpy())
    assert len(endings) == len(words())
    return np.array(log_probs), np.array(faces)


def context_tasks(samples):
    """The paper's three tasks about moments of the made-up world, without pictures; sums stand for VQA."""
    from dataclasses import replace
    from pathlib import Path

    from emo_face.datasets.contexts import tasks
    from emo_face.expression.contextface.prompts import Example, Turn, vqa_answer, vqa_question
    from fixtures import contexts as synthetic

    records = [replace(synthetic.record(sample, "train"), image="") for sample in samples]
    made = tasks.build(records, Path(), synthetic.targets(samples), ("quote", "situation")).by_name
    turns = [(vqa_question(f"How many are {n} and 2 cups?", False), vqa_answer(f"{n + 2} cups.")) for n in range(5)]
    return {
        "situation": list(made["situation/quote"]),
        "expression": [made[f"expression/{('situation', 'quote')[n % 2]}"][n] for n in range(len(samples))],
        "vqa": [Example(s.id, "vqa", (Turn(*turns[n % 5]),)) for n, s in enumerate(samples)],
    }
