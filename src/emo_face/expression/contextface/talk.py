"""Free-form answers, piece by piece: situations, reasons, chat. Never on the way to an expression."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from emo_face.core.errors import UserError
from emo_face.core.types import Box, ImageArray
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.answer import Answer
from emo_face.expression.contextface.model import ContextFace
from emo_face.expression.contextface.prompts import Perspective, Piece, Pieces, Turn
from emo_face.expression.contextface.tokens import TokenBuilder
from emo_face.expression.contextface.vision import Eyes, NoEyes


def stream(
    model: ContextFace,
    builder: TokenBuilder,
    eyes: Eyes | NoEyes,
    question: Pieces,
    picture: ImageArray | None = None,
    max_new_tokens: int = 96,
    stop: Callable[[], bool] = lambda: False,
    turns: Sequence[Turn] = (),
) -> Iterator[str]:
    """Answer a question greedily; each piece as it is made, whole characters only.

    Args:
        picture: for a question or turn with an image piece. stop: asked before every token; newer work goes first.
        turns: what was said before.

    Raises:
        UserError: the prompt is longer than the model's ``max_tokens``.
    """
    prompt = builder.dialogue((*turns, Turn(question, ())), answered=False).ids if turns else builder.prompt(question)
    if len(prompt) >= model.config.max_tokens:
        raise UserError(f"prompt: {len(prompt)} tokens, at most {model.config.max_tokens} fit")
    made: list[int] = []
    shown = ""
    for token in _tokens(model, eyes, prompt, picture, max_new_tokens, stop):
        if token == builder.tokenizer.eos_token_id:
            break
        made.append(token)
        text = builder.tokenizer.decode(made, skip_special_tokens=False)
        if not text.endswith("\ufffd"):  # a character may take several tokens
            yield text[len(shown) :]
            shown = text


def _tokens(
    model: ContextFace,
    eyes: Eyes | NoEyes,
    prompt: tuple[int, ...],
    picture: ImageArray | None,
    limit: int,
    stop: Callable[[], bool],
) -> Iterator[int]:
    """Greedy tokens with a cache, one at a time."""
    from transformers import DynamicCache

    device = model.device
    cache: Any = DynamicCache(config=model.base.config.get_text_config())
    ids = torch.tensor([prompt], device=device)
    vision = eyes.tensors([picture]) if picture is not None else {}
    position, room = first_free(model, ids, vision), model.config.max_tokens - len(prompt)
    options: dict[str, Any] = {}
    for _ in range(min(limit, room)):
        if stop():
            return
        with torch.inference_mode():
            states = model.hidden(ids, vision, cache=cache, use_cache=True, **options).last_hidden_state
            token = int(model.logits(states[0, -1]).argmax())
        yield token
        ids, vision = torch.tensor([[token]], device=device), {}
        if model.placed:  # others count on from their cache
            options = {"position_ids": torch.full((3, 1, 1), position, device=device)}
        position += 1


def first_free(model: ContextFace, ids: torch.Tensor, vision: dict[str, torch.Tensor]) -> int:
    """Position of the first token behind a prompt; a picture may count less than its tokens."""
    if not model.placed or "image_grid_thw" not in vision:
        return int(ids.shape[1])
    kinds = (ids == model.image_id).int()
    grid = vision["image_grid_thw"].to(ids.device)
    places, _ = model.core.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grid)
    return int(places.max()) + 1


@dataclass
class Conversation:
    """Interactive prompting (the paper's figure 7): one picture, what was said, and what the model made of it so far.

    A face is asked for in a form that was trained, with the situation that the model itself has told; free questions
    see the turns before them.

    Attributes:
        engine: an :class:`~emo_face.expression.contextface.engine.Engine`. image: BGR, or None. box: the person asked
            about, px of the image. quote, situation: as they stand now. turns: questions and answers until now.
    """

    engine: Any
    image: ImageArray | None = None
    box: Box | None = None
    quote: str = ""
    situation: str = ""
    turns: list[Turn] = field(default_factory=list)

    def tell(self, quote: str, max_new_tokens: int = 96) -> Iterator[str]:
        """Somebody says ``quote``: the situation behind it and the emotion, piece by piece. Starts a new scene.

        Raises:
            UserError: nothing is left of the quote.
        """
        if not prompts.safe(quote):
            raise UserError("quote: nothing was said; give a sentence")
        self.quote, self.situation = quote, ""
        self.turns.clear()
        yield from self._said(prompts.situation_question(quote, self.image is not None), max_new_tokens)
        self.situation = prompts.situation_of(self._last)

    def ask(self, question: str, max_new_tokens: int = 96) -> Iterator[str]:
        """A free question about all that was said before. Raises UserError if it is empty."""
        if not prompts.safe(question):
            raise UserError("question: nothing was asked")
        picture = self.image is not None and not self.turns
        yield from self._said(prompts.vqa_question(question, picture), max_new_tokens)

    def face(self, perspective: Perspective) -> Answer:
        """Emotion and face of who speaks or of who hears it, from the picture, the quote and the situation as told.

        Raises:
            UserError: there is nothing yet to go by.
        """
        answer: Answer = self.engine.answer(self.quote, self.situation, self.image, self.box, perspective)
        return answer

    @property
    def _last(self) -> str:
        return "".join(piece.text for piece in self.turns[-1].answer)

    def _said(self, question: prompts.Pieces, limit: int) -> Iterator[str]:
        said = []
        for piece in self.engine.say(question, self.image, self.box, limit, turns=tuple(self.turns)):
            said.append(piece)
            yield piece
        self.turns.append(Turn(question, (Piece("slot", "".join(said).strip()),)))
