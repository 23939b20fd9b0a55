"""A prompt and the branches of its answer as one sequence, and who sees whom in it."""

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


def tree_mask(packed: Packed, skip: int, dtype: torch.dtype, device: Any) -> Tensor:
    """(1, 1, n - skip, n) additive mask: 0 if a token sees another, the lowest number elsewhere."""
    owner = torch.tensor(packed.branch, device=device)
    places = torch.arange(len(owner), device=device)
    earlier = places[None, :] <= places[skip:, None]
    related = (owner[None, :] == -1) | (owner[None, :] == owner[skip:, None])
    mask = torch.full(earlier.shape, torch.finfo(dtype).min, dtype=dtype, device=device)
    return mask.masked_fill(earlier & related, 0.0)[None, None]
