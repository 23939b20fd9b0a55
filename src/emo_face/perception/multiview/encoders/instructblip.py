"""InstructBLIP's eyes for three views: one frozen image encoder, shared Q-Formers, own queries and projections."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emo_face.core.errors import ModelError
from emo_face.perception.multiview.config import EncoderConfig

Instructions = Mapping[str, tuple[Tensor, Tensor]]
"""View -> token ids and mask, each (rows of that view, length)."""


class MultiViewEncoder(nn.Module):
    """Image encoder, Q-Formers, queries and projections, taken from (not copied out of) a loaded InstructBLIP.

    Before training every view computes what the original computes on that crop. The image encoder and the first
    Q-Former are the base model's own modules; only what a view must own is copied.
    """

    def __init__(self, base: Any, config: EncoderConfig) -> None:
        super().__init__()
        check_base(base, config)
        self.config = config
        self.vision = base.vision_model
        self.vision.requires_grad_(False)
        self.qformers = nn.ModuleDict()
        for view in config.views:
            group = config.group(view)
            if group not in self.qformers:
                self.qformers[group] = copy.deepcopy(base.qformer) if len(self.qformers) else base.qformer
        self.queries = nn.ParameterDict(
            {view: nn.Parameter(base.query_tokens.detach().clone().float()) for view in config.views}
        )
        self.projections = nn.ModuleDict({view: copy.deepcopy(base.language_projection) for view in config.views})
        self.register_buffer("instruction", torch.tensor(config.instruction_ids, dtype=torch.long), persistent=False)

    @property
    def tokens_per_view(self) -> int:
        """Number of query tokens (32 in the released checkpoints)."""
        return int(self.queries[self.config.views[0]].shape[1])

    @property
    def feature_size(self) -> int:
        """Length of one view's pooled feature."""
        first = self.projections[self.config.views[0]]
        size = first.out_features if self.config.feature == "projected" else first.in_features
        return int(size * self.tokens_per_view) if self.config.pool == "flatten" else int(size)

    def forward(self, images: Mapping[str, Tensor], instructions: Instructions | None = None) -> dict[str, Tensor]:
        """Encode all views in one pass of the image encoder.

        Args:
            images: view -> (k, 3, size, size); a view may be absent or have k = 0. (Sizes are read by ``shape``, not
                ``len``, which would fix them when exporting.)
            instructions: what the Q-Former is told, a row each; None uses the configured one for all.

        Returns:
            view -> (k, queries, hidden) Q-Former outputs, for the views given.
        """
        given = views_given(images, self.config)
        if not given:
            return {}
        pixels = torch.cat([images[view] for view in given])
        with torch.no_grad():  # frozen in both stages
            dtype = self.vision.embeddings.patch_embedding.weight.dtype
            seen = self.vision(pixel_values=pixels.to(dtype)).last_hidden_state
        parts = dict(zip(given, torch.split(seen, [images[view].shape[0] for view in given]), strict=True))
        return self._query(parts, instructions)

    def _query(self, parts: Mapping[str, Tensor], instructions: Instructions | None) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for group, qformer in self.qformers.items():
            members = [view for view in parts if self.config.group(view) == group]
            if not members:
                continue
            seen = torch.cat([parts[view] for view in members])
            queries = torch.cat([self.queries[view].expand(parts[view].shape[0], -1, -1) for view in members])
            ids, mask = self._instruction(members, instructions, seen.shape[0])
            if mask is not None:
                mask = torch.cat([mask.new_ones(seen.shape[0], queries.shape[1]), mask], 1)
            answer = qformer(
                input_ids=ids,
                attention_mask=mask,
                query_embeds=queries,
                encoder_hidden_states=seen.to(qformer.encoder.layer[0].intermediate_query.dense.weight.dtype),
            ).last_hidden_state[:, : queries.shape[1]]
            out.update(zip(members, torch.split(answer, [parts[view].shape[0] for view in members]), strict=True))
        return {view: out[view] for view in parts}

    def _instruction(
        self, members: list[str], given: Instructions | None, rows: int
    ) -> tuple[Tensor | None, Tensor | None]:
        """Token ids and mask of the rows of one Q-Former; no mask where every token counts."""
        if given is not None:
            return torch.cat([given[view][0] for view in members]), torch.cat([given[view][1] for view in members])
        if not len(self.instruction):
            return None, None
        return self.instruction.expand(rows, -1), None

    def project(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Q-Former outputs -> what the language model reads, (k, queries, language width) a view."""
        return {view: self.projections[view](found) for view, found in tokens.items()}

    def pool(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Q-Former outputs -> (k, feature_size) float32 a view, as configured for Stage 2."""
        found = self.project(tokens) if self.config.feature == "projected" else dict(tokens)
        how = self.config.pool
        if how == "mean":
            return {view: value.float().mean(1) for view, value in found.items()}
        return {view: (value.flatten(1) if how == "flatten" else value[:, 0]).float() for view, value in found.items()}

    @staticmethod
    def owns(name: str) -> bool:
        """Whether a tensor is the encoder's own and not the frozen image encoder's."""
        return name.startswith(("qformers.", "queries.", "projections."))

    def folded(self) -> MultiViewEncoder:
        """Itself: nothing is added to other weights."""
        return self

    def set_trainable(self) -> list[str]:
        """Freeze all but what the config trains; returns the names of the trainable parameters."""
        self.requires_grad_(False)
        parts = {"qformer": self.qformers, "queries": self.queries, "projection": self.projections}
        for name in self.config.train:
            parts[name].requires_grad_(True)
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]


def check_base(base: Any, config: EncoderConfig) -> None:
    """Assert the checkpoint's picture size. Raises ModelError with expected and got."""
    size = getattr(base.config, "vision_config", base.config).image_size
    if size != config.image_size:
        raise ModelError(
            f"checkpoint: image_size is {size}, the encoder is configured for {config.image_size}; "
            "set image_size to the checkpoint's"
        )


def views_given(images: Mapping[str, Tensor], config: EncoderConfig) -> list[str]:
    """Views with at least one picture, in the configured order. Raises as :func:`check_pixels`."""
    given = [view for view in config.views if view in images and images[view].shape[0] > 0]
    for view in given:
        check_pixels(images[view], config)
    return given


def check_pixels(pixels: Tensor, config: EncoderConfig) -> None:
    """Assert (k, 3, size, size). Raises ModelError: BLIP's processor class defaults to 384, the weights want 224."""
    expected = (3, config.image_size, config.image_size)
    if tuple(pixels.shape[1:]) != expected:
        raise ModelError(f"pixels: expected (n, {', '.join(map(str, expected))}), got {tuple(pixels.shape)}")


def gather(features: Mapping[str, Tensor], rows: Tensor, views: tuple[str, ...]) -> Tensor:
    """(people, views, ...) out of per-view rows; missing views (row -1) are zero and must be masked by the caller."""
    some = next(iter(features.values()))
    out = some.new_zeros((rows.shape[0], len(views), *some.shape[1:]))
    for v, view in enumerate(views):
        seen = rows[:, v] >= 0
        if view in features and bool(seen.any()):
            out[seen, v] = features[view][rows[seen, v]]
    return out


def load(base: Path, dtype: str = "float32") -> Any:
    """The checkpoint without its language model. Raises ModelError as :func:`.checkpoint.load_base`."""
    from emo_face.perception.multiview.checkpoint import load_base

    loaded = load_base(base, dtype)
    loaded.language_model = None  # by far the largest part, and no part of the encoder
    return loaded


def build(base: Any, config: EncoderConfig) -> MultiViewEncoder:
    """The encoder around a loaded checkpoint."""
    return MultiViewEncoder(base, config)
