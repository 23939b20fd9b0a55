"""Text of a language model piece by piece, while it is made."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor


def streamed(generate: Callable[..., Any], tokenizer: Any, skip_prompt: bool = False) -> Iterator[str]:
    """Run transformers' ``generate`` in a thread and yield its text. Raises what it raised.

    A generator that is closed or dropped early ends the generation with the token in the making.
    """
    from transformers import TextIteratorStreamer

    streamer = TextIteratorStreamer(tokenizer, skip_prompt=skip_prompt, skip_special_tokens=True)
    failure: list[BaseException] = []
    given_up = threading.Event()

    def stop(ids: Tensor, _: Any, **__: Any) -> Tensor:
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
