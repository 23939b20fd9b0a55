"""The Stage-2 head (paper, section 3.5): a fully connected layer per view, self-attention, flatten, fully connected."""

import torch
from torch import Tensor, nn

from emo_face.core.labels import label_set
from emo_face.perception.multiview.config import FusionConfig

MASKED = -1e4
"""Added to the score of a missing view. Finite, so that no NaN guard enters the exported graph, and inside float16."""


class ViewAttention(nn.Module):
    """Multi-head self-attention over views with a residual and LayerNorm; missing views are never attended to."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def weights(self, views: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """(b, heads, v, v) attention, rows summing to 1, and the values it mixes, (b, heads, v, width / heads)."""
        b, v, width = views.shape
        query, key, value = (
            part.reshape(b, v, self.heads, width // self.heads).transpose(1, 2) for part in self.qkv(views).chunk(3, -1)
        )
        scores = query @ key.transpose(2, 3) * (width // self.heads) ** -0.5
        weights = torch.softmax((scores + ((1 - present) * MASKED)[:, None, None, :]).float(), -1).to(value.dtype)
        return weights, value

    def forward(self, views: Tensor, present: Tensor) -> Tensor:
        """(b, v, width) and (b, v) of 0/1 -> (b, v, width)."""
        b, v, width = views.shape
        weights, value = self.weights(views, present)
        mixed = (self.drop(weights) @ value).transpose(1, 2).reshape(b, v, width)
        return self.norm(views + self.out(mixed))


class FusionHead(nn.Module):
    """Features of a person's views -> label logits and, where configured, valence, arousal, dominance.

    A missing view is masked out of the attention and its place in the flattened vector holds a learned
    "not seen" vector: a zero would be a feature value like any other.
    """

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        count, width = len(config.views), config.width
        self.inputs = nn.ModuleList(nn.Linear(config.in_features, width) for _ in config.views)
        self.missing = nn.Parameter(torch.zeros(count, width))
        self.activation = nn.GELU() if config.activation == "gelu" else nn.Identity()
        self.drop = nn.Dropout(config.dropout)
        self.attention = ViewAttention(width, config.heads, config.dropout) if config.attention else None
        self.classifier = nn.Linear(count * width, len(label_set(config.label_set)))
        self.affect = nn.Linear(count * width, 3) if config.vad else None

    def forward(self, features: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score people.

        Args:
            features: (b, v, in_features); rows of missing views may hold anything finite.
            present: (b, v), 1 where the view was seen, else 0.

        Returns:
            logits (b, classes) and VAD (b, 3) in [-1, 1] or None.
        """
        seen = present.to(features.dtype)
        keep = seen[:, :, None]
        mapped = self._mapped(features, keep)
        if self.attention is not None:
            attended = self.attention(mapped, seen)
            mapped = attended * keep + self.missing * (1 - keep)
        flat = mapped.flatten(1)
        return self.classifier(flat), None if self.affect is None else torch.tanh(self.affect(flat))

    def attention_weights(self, features: Tensor, present: Tensor) -> Tensor:
        """(b, heads, v, v): what each view attends to. The head must have an attention."""
        seen = present.to(features.dtype)
        assert self.attention is not None
        return self.attention.weights(self._mapped(features, seen[:, :, None]), seen)[0]

    def _mapped(self, features: Tensor, keep: Tensor) -> Tensor:
        mapped = torch.stack([layer(features[:, i]) for i, layer in enumerate(self.inputs)], 1)
        return self.drop(self.activation(mapped)) * keep + self.missing * (1 - keep)


def drop_views(present: Tensor, chance: float, generator: torch.Generator | None = None) -> Tensor:
    """Hide each seen view with ``chance``, but never all of a person's views."""
    if chance <= 0:
        return present
    kept = present * (torch.rand(present.shape, generator=generator) >= chance).to(present)
    return torch.where(kept.sum(1, keepdim=True) > 0, kept, present)
