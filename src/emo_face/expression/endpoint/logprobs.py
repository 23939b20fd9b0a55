"""The seven emotions' probabilities from the log-probabilities of an answer's first word.

Format: OpenAI's chat completion object, ``choices[0].logprobs.content[i].top_logprobs[j]`` of ``token`` and ``logprob``
(OpenAI API reference, "Create chat completion"). vLLM, llama.cpp's server and Ollama from 0.12.11 on give the same.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.expression.contextface.prompts import table, words
from emo_face.runtime.net.chat import NO_ANSWER, choice_of

TOP = 20
"""Alternatives asked for: the most that OpenAI and vLLM give by default."""
LEAST = 0.01
"""Probability of all seven words together below which an answer says something else."""
OTHER_MODEL = "give a model that follows instructions and does not think aloud first"
MEND = "give a server that returns top_logprobs of chat completions: vLLM, llama.cpp's server, Ollama from 0.12.11"


def read_answer(raw: bytes, where: str) -> FloatArray:
    """(7,) probabilities in the order of :func:`~emo_face.expression.contextface.prompts.words`; sums to 1.

    A token counts for the word that it begins; one that begins several is shared by them.

    Raises:
        ModelError: no chat completion, one without log-probabilities, or one that says something else; names ``where``
            and what to do.
    """
    try:
        _, choice = choice_of(raw)
        places = list(_places(choice.get("logprobs") or {}))
    except NO_ANSWER as error:
        raise ModelError(f"{where}: the answer is no chat completion ({type(error).__name__}: {error})"[:300]) from None
    if not places:
        raise ModelError(f"{where}: the answer has no log-probabilities; {MEND}")
    # a space, a line break or a mark before the word is no answer yet
    said = next((place for place in places if _letters(max(place, key=lambda pair: pair[1])[0])), places[0])
    mass = np.zeros(len(words()))
    for token, log_prob in said:
        begun = _begun(_letters(token))
        for index in begun:
            mass[index] += math.exp(min(log_prob, 0.0)) / len(begun)
    total = float(mass.sum())
    if total < LEAST:
        first = max(said, key=lambda pair: pair[1])[0]
        raise ModelError(f"{where}: the answer begins with {first!r} and none of the seven words; {OTHER_MODEL}")
    return mass / total


def _places(logprobs: Mapping[str, Any]) -> Iterator[list[tuple[str, float]]]:
    """(token, log-probability) pairs of each place of the answer, those without alternatives left out."""
    for entry in logprobs.get("content") or ():
        pairs = {str(one["token"]): float(one["logprob"]) for one in (*(entry.get("top_logprobs") or ()), entry)}
        if entry.get("top_logprobs"):
            yield [(token, value) for token, value in pairs.items() if not math.isnan(value)]


def _letters(token: str) -> str:
    return "".join(letter for letter in token.casefold() if letter.isalpha())


def _begun(text: str) -> Sequence[int]:
    """Numbers of the words that ``text`` begins or is, by their own spelling or else by another one."""
    if not text:
        return ()
    own = [number for number, word in enumerate(words()) if word.casefold().startswith(text)]
    others = table()["labels"]["aliases"]
    return own or [n for n, word in enumerate(words()) if any(alias.startswith(text) for alias in others[word])]
