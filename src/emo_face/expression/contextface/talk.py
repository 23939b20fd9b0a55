"""Free-form answers, piece by piece: situations, reasons, chat. Never on the way to an expression."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from emo_face.core.errors import UserError
from emo_face.core.types import ImageArray
from emo_face.expression.contextface.model import ContextFace
from emo_face.expression.contextface.prompts import Pieces
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
) -> Iterator[str]:
    """Answer a question greedily; each piece as it is made, whole characters only.

    Args:
        picture: for a question with an image piece. stop: asked before every token; newer work goes first.

    Raises:
        UserError: the prompt is longer than the model's ``max_tokens``.
    """
    prompt = builder.prompt(question)
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
