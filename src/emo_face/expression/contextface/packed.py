"""A prompt and the branches of its answer as one sequence, and which token sees which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packed:
    """A prompt and its branches as one sequence.

    Attributes:
        ids: all tokens. positions: of each, as if its branch stood alone. prompt: number of prompt tokens.
        branch: (n,) number of the branch of each token, -1 in the prompt. starts: first place of each branch.
        lengths: tokens of each branch.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    prompt: int
    branch: tuple[int, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    def reading(self, offset: int) -> tuple[list[int], list[int], list[int], list[int]]:
        """Where an answer is read: the places whose states predict a token, each once; for every branch token which of
        them does, and its id; the place of each branch's face, ``offset`` from its last token."""
        places, which = [self.prompt - 1], []
        for start, length in zip(self.starts, self.lengths, strict=True):
            which += [0, *range(len(places), len(places) + length - 1)]
            places += range(start, start + length - 1)
        faces = [start + length - 1 + offset for start, length in zip(self.starts, self.lengths, strict=True)]
        return places, which, list(self.ids[self.prompt :]), faces


def pack(prompt: Sequence[int], branches: Sequence[Sequence[int]]) -> Packed:
    """Put branches side by side behind a prompt. Raises ValueError for an empty prompt or branch."""
    if not prompt or not branches or not all(branches):
        raise ValueError("pack: the prompt and every branch need at least one token")
    ids, positions = list(prompt), list(range(len(prompt)))
    owner, starts = [-1] * len(prompt), []
    for number, branch in enumerate(branches):
        starts.append(len(ids))
        ids += branch
        positions += range(len(prompt), len(prompt) + len(branch))
        owner += [number] * len(branch)
    return Packed(tuple(ids), tuple(positions), len(prompt), tuple(owner), tuple(starts), tuple(map(len, branches)))


def seen(owner: Tensor, skip: int = 0) -> Tensor:
    """(n - skip, n) whether a token sees another: what is earlier, of the prompt (owner -1) or of its own branch.

    ``owner``: (n,) as :attr:`Packed.branch`.
    """
    places = torch.arange(owner.shape[0], device=owner.device)
    related = (owner[None, :] == -1) | (owner[None, :] == owner[skip:, None])
    return (places[None, :] <= places[skip:, None]) & related


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """(1, 1, m, n) attention mask: 0 if a token sees another, the lowest number elsewhere."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[None, None]


def tree_mask(packed: Packed, skip: int, dtype: torch.dtype, device: Any) -> Tensor:
    """(1, 1, n - skip, n) mask of the tokens from ``skip`` on."""
    return additive(seen(torch.tensor(packed.branch, device=device), skip), dtype)
