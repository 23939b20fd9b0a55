"""The Stage-1 model: the multi-view encoder in front of InstructBLIP's frozen language model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from emo_face.core.errors import ModelError
from emo_face.perception.multiview.checkpoint import load_encoder
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.encoders.instructblip import MultiViewEncoder, gather
from emo_face.perception.multiview.words.stream import streamed

IGNORED = -100
"""Label of tokens that the loss leaves out."""


@dataclass
class MultiViewBatch:
    """Tensors of some questions about some people.

    Attributes:
        images: view -> (k, 3, size, size). rows: (b, views) index into them, -1 where a view is missing.
        question_ids, question_mask: (b, q) for the Q-Former.
        input_ids, attention_mask: (b, t) text for the language model, without image placeholders.
        labels: (b, t) answer tokens, :data:`IGNORED` elsewhere; None when generating.
    """

    images: dict[str, Tensor]
    rows: Tensor
    question_ids: Tensor
    question_mask: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor | None = None

    def to(self, device: Any) -> MultiViewBatch:
        """The batch on another device."""
        return MultiViewBatch(
            images={name: value.to(device) for name, value in self.images.items()},
            rows=self.rows.to(device),
            question_ids=self.question_ids.to(device),
            question_mask=self.question_mask.to(device),
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            labels=None if self.labels is None else self.labels.to(device),
        )


class Scored(NamedTuple):
    """Loss of a batch if it has labels, and the scores of the vocabulary."""

    loss: Tensor | None
    logits: Tensor


class MultiViewVLM(nn.Module):
    """InstructBLIP with three views: the tokens of all views, in order, take the place of the one picture's."""

    def __init__(self, base: Any, config: EncoderConfig, encoder: MultiViewEncoder | None = None) -> None:
        """Put ``encoder`` (default: a new one around ``base``) before the language model of ``base``."""
        super().__init__()
        self.base = base
        self.encoder = MultiViewEncoder(base, config) if encoder is None else encoder
        self.config = config

    def set_trainable(self) -> list[str]:
        """Freeze all but what the config trains; returns those parameter names."""
        self.requires_grad_(False)
        return [f"encoder.{name}" for name in self.encoder.set_trainable()]

    def image_tokens(self, batch: MultiViewBatch) -> tuple[Tensor, Tensor]:
        """(b, views * queries, width) for the language model, and its mask, 0 if a view is missing."""
        views = self.config.views
        instructions = {}
        for v, view in enumerate(views):
            seen = batch.rows[:, v] >= 0
            instructions[view] = _per_row(batch, batch.rows[seen, v], seen, len(batch.images[view]))
        stacked = gather(self.encoder.project(self.encoder(batch.images, instructions)), batch.rows, views)
        mask = (batch.rows >= 0).long().repeat_interleave(self.encoder.tokens_per_view, 1)
        return stacked.flatten(1, 2), mask

    def forward(self, batch: MultiViewBatch) -> Scored:
        """Cross-entropy of the answers' tokens, whose scores (n, words) alone are made; without labels all scores."""
        embed, attention = self._inputs(batch)
        language = self.base.language_model
        states = language.get_decoder()(
            inputs_embeds=embed, attention_mask=attention, position_ids=_positions(attention), use_cache=False
        ).last_hidden_state
        score = language.get_output_embeddings()
        if batch.labels is None:
            return Scored(None, score(states))
        before = states[:, -batch.labels.shape[1] - 1 : -1]  # a state tells the token after it
        used = batch.labels != IGNORED
        logits = score(before[used]).float()
        return Scored(nn.functional.cross_entropy(logits, batch.labels[used]), logits)

    def _inputs(self, batch: MultiViewBatch) -> tuple[Tensor, Tensor]:
        """(b, tokens of all views + t, width) and which of them count."""
        tokens, mask = self.image_tokens(batch)
        embed = self.base.get_input_embeddings()(batch.input_ids)
        return torch.cat([tokens.to(embed.dtype), embed], 1), torch.cat([mask, batch.attention_mask], 1)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def generate(self, batch: MultiViewBatch, tokenizer: Any, **options: Any) -> Tensor:
        """Generated token ids, (b, new tokens). ``options`` go to the language model's ``generate``.

        The end is the tokenizer's, which training put after every answer: the generation config of Vicuna v1.1 names
        another token (1, while ``</s>`` is 2; LAVIS issue 509), and answers would never stop.

        Raises:
            ModelError: the tokenizer has no end token.
        """
        if tokenizer.eos_token_id is None:
            raise ModelError("tokenizer: has no eos_token, no answer could end; fetch the whole checkpoint again")
        pad = tokenizer.pad_token_id
        options.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id if pad is None else pad)
        embed, attention = self._inputs(batch)
        return self.base.language_model.generate(inputs_embeds=embed, attention_mask=attention, **options)

    def stream(self, batch: MultiViewBatch, tokenizer: Any, **options: Any) -> Iterator[str]:
        """Generate for one question and yield its text piece by piece; see :func:`.words.stream.streamed`."""
        return streamed(partial(self.generate, batch, tokenizer, **options), tokenizer)


def load_vlm(folder: Path | None, base: Any) -> Any:
    """What answers questions: a loaded base model behind the Stage-1 encoder of ``folder``.

    Without ``folder`` the untrained three-view model answers: the original InstructBLIP on three pictures.

    Raises ModelError as :func:`.checkpoint.load_encoder`.
    """
    if folder is None:
        return MultiViewVLM(base, EncoderConfig(image_size=int(base.config.vision_config.image_size)))
    encoder = load_encoder(folder, base)
    return MultiViewVLM(base, encoder.config, encoder)


def _positions(attention: Tensor) -> Tensor:
    """Places of the tokens that count, (b, t): those of a missing view take none, as in transformers' generation."""
    return (attention.long().cumsum(-1) - 1).masked_fill(attention == 0, 0)


def _per_row(batch: MultiViewBatch, rows: Tensor, seen: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Each image row's question. Raises ValueError if a picture serves two questions (its tokens would differ)."""
    if len(rows) != count or len(torch.unique(rows)) != count:
        raise ValueError("a picture must serve one question in a Stage-1 batch; repeat the pixels instead")
    ids = batch.question_ids.new_zeros((count, batch.question_ids.shape[1]))
    mask = batch.question_mask.new_zeros(ids.shape)
    ids[rows], mask[rows] = batch.question_ids[seen], batch.question_mask[seen]
    return ids, mask
