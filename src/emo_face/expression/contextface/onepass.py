"""One forward pass for the whole answer: every emotion's probability and every branch's face.

The form of the answer is known, "... the person expresses {emotion}. The 3D facial mesh is <FACE>". The prompt is
packed once and the seven endings behind it, side by side: each token sees the prompt and its own branch only (a tree
attention mask), at the position it would have if its branch stood alone. This equals seven separate passes, without
their cost. If a mask does not say all that a token sees (``tree_reach`` of the model), each branch has a row of the
batch to itself.
"""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from emo_face.core.errors import ModelError, UserError
from emo_face.core.types import FloatArray, ImageArray
from emo_face.expression.contextface.answer import Answer, answer_of
from emo_face.expression.contextface.conditions import CONDITIONS, Condition, condition_of
from emo_face.expression.contextface.model import ContextFace, tree_reach
from emo_face.expression.contextface.packed import Packed, additive, pack, seen, tree_mask
from emo_face.expression.contextface.picture import fingerprint
from emo_face.expression.contextface.prompts import (
    Perspective,
    Pieces,
    Source,
    branch_parts,
    words,
)
from emo_face.expression.contextface.tokens import TokenBuilder
from emo_face.expression.contextface.vision import Eyes, NoEyes


class Asked(NamedTuple):
    """A question of a form as ids: the prompt, its branches, each of which ends in ``<FACE>``, and its picture."""

    prompt: Sequence[int]
    branches: Sequence[Sequence[int]]
    picture: ImageArray | None = None
    form: Condition = CONDITIONS["quote"]


class OnePass:
    """Runs a model on situations. Thread-safe: one pass at a time.

    Args:
        model: in eval mode; merged for speed. cache: keep the keys and values of the last prompt, so that an unchanged
            system prompt and picture cost nothing while only the speech changes.
    """

    def __init__(self, model: ContextFace, builder: TokenBuilder, eyes: Eyes | NoEyes, cache: bool = True) -> None:
        self.model, self.builder, self.eyes = model, builder, eyes
        self._keep = cache
        self._keys: tuple[Any, ...] = ()
        self._cache: Any = None
        self._lock = threading.Lock()

    def answer(
        self,
        quote: str = "",
        situation: str = "",
        picture: ImageArray | None = None,
        perspective: Perspective = "speaker",
    ) -> Answer:
        """The emotions and faces that fit a situation.

        Args:
            quote, situation: any text; only their slot changes. picture: from :meth:`Eyes.fitted`, or None.

        Raises:
            UserError: nothing is given or the prompt is longer than the model's ``max_tokens``.
            ModelError: the model gave a number that is not finite.
        """
        result: Answer = self.run(self.asked(quote, situation, picture, perspective))
        return result

    def asked(
        self, quote: str, situation: str, picture: ImageArray | None = None, perspective: Perspective = "speaker"
    ) -> Asked:
        """What :meth:`answer` runs. Raises UserError if nothing is given."""
        form = condition_of(quote, situation, picture is not None, perspective)
        question = form.question(quote, situation, self.model.config.style)
        return Asked(*self.endings(question, form.source), picture, form)

    def endings(self, question: Pieces, source: Source) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
        """Ids of the prompt with the lead of the answer, and of each emotion's ending up to ``<FACE>``."""
        parts = [branch_parts(source, word, self.model.config.style) for word in words()]
        # an answer that begins with the word has the format's blank before it
        said = [word if lead else self.builder.opening(word) for lead, word, _ in parts]
        branches = [
            (*self.builder.body(w), *self.builder.body(tail)) for w, (_, _, tail) in zip(said, parts, strict=True)
        ]
        ends = [branch[: branch.index(self.model.face_id) + 1] for branch in branches]
        return self.builder.prompt(question, parts[0][0]), ends

    @torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
    def run(self, asked: Asked) -> Answer:
        """One pass over a tokenised question; see :meth:`answer`."""
        prompt, branches, picture, form = asked
        packed = pack(prompt, branches)
        if max(packed.positions) >= self.model.config.max_tokens:
            raise UserError(f"prompt: {max(packed.positions) + 1} tokens, at most {self.model.config.max_tokens} fit")
        keys = self._keys_of(prompt, picture)
        with self._lock:
            whole = max(packed.positions) < tree_reach(self.model.base, picture is not None)
            skip = self._shared(keys) if whole else 0
            try:
                states = self._pass(packed, skip, picture) if whole else self._apart(packed, picture)
            except BaseException:
                self.forget()
                raise
            if whole:
                self._keys = keys if self._keep else ()
            log_probs, faces = self._read(packed, skip, states)
        try:
            return answer_of(self.model.config, form, log_probs, faces, len(packed.ids) - skip, skip)
        except ModelError:
            self.forget()
            raise

    @torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
    def several(self, asked: Sequence[Asked]) -> list[Answer]:
        """Answers to several questions, as :meth:`run` gives each, from one pass side by side."""
        parts = [pack(one.prompt, one.branches) for one in asked]
        pictures = [one.picture for one in asked if one.picture is not None]
        reach = tree_reach(self.model.base, bool(pictures))
        if max(max(part.positions) for part in parts) >= min(reach, self.model.config.max_tokens):
            return [self.run(one) for one in asked]
        device, dtype = self.model.device, self.model.base.dtype
        rows = [torch.tensor([part.ids], device=device) for part in parts]
        each = [self._positions(*one) for one in zip(parts, rows, (one.picture for one in asked), strict=True)]
        alone = torch.block_diag(*(seen(torch.tensor(part.branch, device=device)) for part in parts)).bool()
        options = {"attention_mask": additive(alone, dtype), "position_ids": torch.cat(each, -1), "use_cache": False}
        with self._lock:
            states = self.model.hidden(torch.cat(rows, 1), self.eyes.tensors(pictures), **options).last_hidden_state[0]
            own = states.split([len(part.ids) for part in parts])
            read = [self._read(part, 0, found) for part, found in zip(parts, own, strict=True)]
        given = zip(asked, parts, read, strict=True)
        return [answer_of(self.model.config, one.form, *found, len(part.ids)) for one, part, found in given]

    def forget(self) -> None:
        """Drop the prefix cache and its memory."""
        self._keys, self._cache = (), None

    def _keys_of(self, prompt: Sequence[int], picture: ImageArray | None) -> tuple[Any, ...]:
        """What makes each prompt token's state what it is: its id, and for a picture its pixels."""
        mark = fingerprint(picture) if picture is not None else ""
        return tuple((i, mark) if i == self.model.image_id else i for i in prompt)

    def _shared(self, keys: tuple[Any, ...]) -> int:
        """Leading tokens whose states are in the cache; never a part of a picture, never the whole prompt."""
        if self._cache is None:
            return 0
        count = 0
        for mine, theirs in zip(keys[:-1], self._keys, strict=False):
            if mine != theirs:
                break
            count += 1
        while count > 0 and isinstance(keys[count], tuple) and isinstance(keys[count - 1], tuple):
            count -= 1
        return count

    def _pass(self, packed: Packed, skip: int, picture: ImageArray | None) -> Tensor:
        """(n - skip, d) states of the tokens from ``skip`` on; the cache then holds the prompt."""
        from transformers import DynamicCache

        model, device = self.model, self.model.device
        if self._cache is None or not skip:
            self._cache = DynamicCache()  # not by the config: a window's cache would forget, and cannot be cropped
        _trim(self._cache, skip)
        ids = torch.tensor([packed.ids], device=device)
        new = ids[:, skip:]
        unseen = picture is not None and bool((new == model.image_id).any())
        vision = self.eyes.tensors([picture]) if unseen and picture is not None else {}
        output = model.hidden(
            new,
            vision,
            attention_mask=tree_mask(packed, skip, model.base.dtype, device),
            position_ids=self._positions(packed, ids, picture)[..., skip:],
            cache=self._cache,
            use_cache=True,
        )
        _trim(self._cache, packed.prompt)
        if not self._keep:
            self.forget()
        states: Tensor = output.last_hidden_state[0]
        return states

    def _apart(self, packed: Packed, picture: ImageArray | None) -> Tensor:
        """(n, d) states of all tokens, each branch behind a prompt of its own; nothing is kept."""
        parts = list(zip(packed.starts, packed.lengths, strict=True))
        rows = [(*packed.ids[: packed.prompt], *packed.ids[start : start + length]) for start, length in parts]
        width = max(map(len, rows))  # what fills a row lies behind its branch, which does not see it
        ids = torch.tensor([[*row, *row[-1:] * (width - len(row))] for row in rows], device=self.model.device)
        vision = self.eyes.tensors([picture] * len(rows)) if picture is not None else {}
        states = self.model.hidden(ids, vision, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state
        ends = [row[packed.prompt : packed.prompt + length] for row, (_, length) in zip(states, parts, strict=True)]
        return torch.cat([states[0, : packed.prompt], *ends])

    def _positions(self, packed: Packed, ids: Tensor, picture: ImageArray | None) -> Tensor:
        """(1, n) positions, or (3, 1, n) for models that place picture tokens in time, height and width."""
        plain = torch.tensor([packed.positions], device=ids.device)
        if not self.model.placed:
            return plain
        index = self.model.core.get_rope_index
        if picture is None:
            return plain[None].expand(3, -1, -1)
        prompt = ids[:, : packed.prompt]
        grid = self._grid(picture).to(ids.device)
        placed, _ = index(prompt, mm_token_type_ids=(prompt == self.model.image_id).int(), image_grid_thw=grid)
        # behind a picture the count goes on from its longest side, not from its number of tokens
        behind = plain[:, packed.prompt :] - packed.prompt + placed.max() + 1
        return torch.cat([placed.to(plain.dtype), behind[None].expand(3, -1, -1)], dim=-1)

    def _grid(self, picture: ImageArray) -> Tensor:
        """Rows and columns of patches; the same for every picture, as all have one size."""
        if not hasattr(self, "_grid_of"):
            self._grid_of: Tensor = self.eyes.tensors([picture])["image_grid_thw"]
        return self._grid_of

    def _read(self, packed: Packed, skip: int, states: Tensor) -> tuple[FloatArray, FloatArray]:
        """(k,) log-probabilities of the branches and (k, outputs) their faces."""
        device, count = states.device, len(packed.starts)
        places, which, targets, faces = (
            torch.tensor(part, device=device) for part in packed.reading(self.model.config.hidden_offset)
        )
        token = torch.log_softmax(self.model.logits(states[places - skip]), dim=-1)[which, targets]
        owners = torch.tensor(packed.branch[packed.prompt :], device=device)
        total = torch.zeros(count, device=device).index_add(0, owners, token)
        values = self.model.head(states[faces - skip])
        return total.double().cpu().numpy(), values.double().cpu().numpy()


def _trim(cache: Any, length: int) -> None:
    """Keep the first ``length`` tokens of a cache."""
    extra = cache.get_seq_length() - length
    if extra > 0:
        cache.crop(-extra)  # a positive number is refused from transformers 5.2x on
