"""A question and its answer: both with words in them, the answer piece by piece while it is made."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

from emo_face.core.errors import UserError
from emo_face.core.types import ImageArray

MAX_QUESTION = 500
"""Characters of a question that are used; the rest is cut, as the service says."""


def streamed(generate: Callable[..., Any], tokenizer: Any, skip_prompt: bool = False) -> Iterator[str]:
    """Run transformers' ``generate`` in a thread and yield its text. Raises what it raised.

    A generator that is closed or dropped early ends the generation with the token in the making.
    """
    import torch
    from transformers import TextIteratorStreamer

    streamer = TextIteratorStreamer(tokenizer, skip_prompt=skip_prompt, skip_special_tokens=True)
    failure: list[BaseException] = []
    given_up = threading.Event()

    def stop(ids: Any, _: Any, **__: Any) -> Any:
        return torch.full((len(ids),), given_up.is_set(), device=ids.device)

    def work() -> None:
        try:
            generate(streamer=streamer, stopping_criteria=[stop])
        except BaseException as error:
            failure.append(error)
            streamer.end()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        yield from (piece for piece in streamer if piece)
    finally:
        given_up.set()
        worker.join()
    if failure:
        raise failure[0]


def question_of(question: str, frame: ImageArray) -> str:
    """The question as it is asked. Raises UserError if it is empty, or the picture is."""
    text = " ".join(question.split())[:MAX_QUESTION]
    if not text:
        raise UserError('question: is empty; ask for example "Why is the person feeling this way?"')
    if not frame.size:
        raise UserError("image: has no pixels")
    return text


def never_empty(pieces: Iterator[str]) -> Iterator[str]:
    """The same; raises UserError at its end if no piece held a word."""
    said = False
    for piece in pieces:
        said = said or bool(piece.strip())
        yield piece
    if not said:
        raise UserError("the model answered nothing; ask otherwise, or train Stage 1 on such questions")
