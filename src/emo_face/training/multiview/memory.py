"""What Stage 1 needs of a GPU, before it fails: an estimate, and the settings that would fit."""

from dataclasses import dataclass
from typing import Any

from emo_face.core.errors import UserError

RESERVE = 1.5e9
"""Bytes of CUDA context and allocator slack."""
QUESTION, ANSWER = 256, 128
"""Tokens of the longest question and answer by default."""


@dataclass(frozen=True)
class Need:
    """Bytes: weights of the frozen and trained parts with optimiser, and activations of one person."""

    weights: float
    person: float

    def total(self, batch: int) -> float:
        """Bytes for a micro-batch of ``batch`` people."""
        return self.weights + batch * self.person + RESERVE


def estimate(
    vlm: Any,
    question: int = QUESTION,
    answer: int = ANSWER,
    checkpointing: bool = False,
    precision: str = "bf16",
) -> Need:
    """Estimate from the model's shapes; ``question`` and ``answer`` in tokens.

    Weights as they are; trained ones with gradient and two float32 moments. Activations of a decoder layer are about
    34 values a token and width for a transformer layer's backward (Korthikanti et al., "Reducing activation
    recomputation in large transformer models", 2022, without the attention matrix); recomputed layers keep two.
    """
    weights = sum(p.numel() * p.element_size() for p in vlm.parameters())
    weights += sum(b.numel() * b.element_size() for b in vlm.buffers())
    trained = sum(p.numel() for p in vlm.parameters() if p.requires_grad)
    weights += trained * 12
    size = 2 if precision == "bf16" else 4
    text, qformer = vlm.base.config.text_config, vlm.base.config.qformer_config
    views, queries = len(vlm.config.views), vlm.encoder.tokens_per_view
    kept = 2 if checkpointing else 17
    tokens = question + answer + views * queries
    person = kept * size * tokens * text.hidden_size * text.num_hidden_layers
    person += kept * size * views * (queries + question) * qformer.hidden_size * qformer.num_hidden_layers
    person += 3 * 4 * (answer + 1) * text.vocab_size  # logits of the answer, their float32 copy and gradient
    if checkpointing:
        person += 17 * size * tokens * text.hidden_size  # the layer being recomputed
    return Need(float(weights), float(person))


def check(
    free: float,
    vlm: Any,
    batch: int,
    checkpointing: bool,
    precision: str,
    question: int = QUESTION,
    answer: int = ANSWER,
) -> None:
    """Raise UserError where ``free`` bytes will not do, and say which batch and settings would."""
    need = estimate(vlm, question, answer, checkpointing, precision)
    if need.total(batch) <= free:
        return
    options = []
    for recompute in (checkpointing, True):
        found = estimate(vlm, question, answer, recompute, "bf16")
        fits = int((free - found.weights - RESERVE) // found.person)
        if fits >= 1:
            more = (" --checkpointing" if recompute else "") + ("" if precision == "bf16" else " --precision bf16")
            options.append(f"--batch-size {min(fits, batch)}{more}")
    least = estimate(vlm, question, answer, True).total(1) / 1e9
    advice = f"even one person needs {least:.1f} GB; use a larger GPU or a smaller language model"
    if options:
        advice = f"try {' or '.join(dict.fromkeys(options))}"
    needed = need.total(batch) / 1e9
    raise UserError(f"this GPU has {free / 1e9:.1f} GB free, a batch of {batch} needs about {needed:.1f} GB; {advice}")
