"""What Stage 1 needs of a GPU, before it fails: an estimate, and the settings that would fit."""

from dataclasses import dataclass, fields, replace
from typing import Any

from emo_face.core.errors import UserError
from emo_face.training.common.arguments import words_of
from emo_face.training.multiview import frozen
from emo_face.training.multiview.config import Stage1Config

RESERVE = 1.5e9
"""Bytes of CUDA context and allocator slack."""


@dataclass(frozen=True)
class Need:
    """Bytes: weights of the frozen and trained parts with optimiser, and activations of one person."""

    weights: float
    person: float

    def total(self, batch: int) -> float:
        """Bytes for a micro-batch of ``batch`` people."""
        return self.weights + batch * self.person + RESERVE


def estimate(vlm: Any, config: Stage1Config) -> Need:
    """Estimate from the shapes of a model whose language model is still whole.

    Weights as they are, or as ``config.quantisation`` makes them; trained ones with gradient and two float32 moments.
    Activations of a decoder layer are about 34 values per token and width for its backward (Korthikanti
    et al., "Reducing activation recomputation in large transformer models", 2022, without the attention matrix);
    recomputed layers keep two.
    """
    weights = float(sum(t.numel() * t.element_size() for part in (vlm.parameters(), vlm.buffers()) for t in part))
    if config.quantisation != "none":
        matrices = [layer.weight for layer in frozen.layers(vlm.base.language_model).values()]
        weights += sum(m.numel() * (frozen.BYTES[config.quantisation] - m.element_size()) for m in matrices)
    weights += 12 * sum(p.numel() for p in vlm.parameters() if p.requires_grad)
    size = 2 if config.precision == "bf16" else 4
    text, qformer = vlm.base.config.text_config, vlm.base.config.qformer_config
    views, queries = len(vlm.config.views), vlm.encoder.tokens_per_view
    kept = 2 if config.checkpointing else 17
    tokens = config.max_question + config.max_answer + views * queries
    person = kept * size * tokens * text.hidden_size * text.num_hidden_layers
    person += kept * size * views * (queries + config.max_question) * qformer.hidden_size * qformer.num_hidden_layers
    person += 3 * 4 * (config.max_answer + 1) * text.vocab_size  # logits of the answer, their float32 copy and gradient
    if config.checkpointing:
        person += 17 * size * tokens * text.hidden_size  # the layer being recomputed
    return Need(weights, float(person))


def check(free: float, vlm: Any, config: Stage1Config) -> None:
    """Raise UserError if ``free`` bytes do not suffice, and say which batch and settings would fit."""
    batch = config.batch_size
    if (need := estimate(vlm, config).total(batch)) <= free:
        return
    options = []
    own = config.quantisation
    for checkpointing, quantisation in ((config.checkpointing, own), (True, own), (True, "4bit")):
        one = replace(config, checkpointing=checkpointing, quantisation=quantisation, precision="bf16")
        found = estimate(vlm, one)
        if (fits := int((free - found.weights - RESERVE) // found.person)) >= 1:
            same = tuple(f.name for f in fields(one) if getattr(one, f.name) == getattr(config, f.name))
            options.append(" ".join([f"--batch-size {min(fits, batch)}", *words_of(one, same)]))
    least = estimate(vlm, replace(config, checkpointing=True, quantisation="4bit", precision="bf16")).total(1) / 1e9
    advice = f"even one person needs {least:.1f} GB; use a larger GPU or a smaller language model"
    if options:
        advice = f"try {' or '.join(dict.fromkeys(options))}"
    needed = f"a batch of {batch} needs about {need / 1e9:.1f} GB"
    raise UserError(f"this GPU has {free / 1e9:.1f} GB free, {needed}; {advice}")
