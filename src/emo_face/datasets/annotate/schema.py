"""What an answer must look like: two bracketed sentences, or the judge's JSON object."""

import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emo_face.core.paths import data_table
from emo_face.expression.contextface.prompts import word_of
from emo_face.runtime.net.chat import json_in

Model = TypeVar("Model", bound=BaseModel)
Score = Annotated[float, Field(ge=0, le=5)]


class Context(BaseModel):
    """A situation and a quote, one sentence each."""

    model_config = ConfigDict(frozen=True)
    situation: str = Field(min_length=8, max_length=600)
    quote: str = Field(min_length=1, max_length=600)


class Listening(BaseModel):
    """What somebody who hears the quote is in, and feels: a word of the answers."""

    model_config = ConfigDict(frozen=True)
    situation: str = Field(min_length=8, max_length=600)
    reaction: str


class Judgement(BaseModel):
    """The supplement's four metrics (0 to 5) and two verdicts."""

    model_config = ConfigDict(frozen=True)
    emotional_alignment: Score
    coherence: Score
    realism: Score
    overall: Score
    sufficient: bool
    ambiguous: bool
    reason: str = Field("", max_length=1000)


def table() -> dict[str, Any]:
    """The packaged prompts and word lists."""
    return data_table("context_annotation.yaml")


def is_refusal(text: str) -> bool:
    """True for an answer that begins as a refusal and has neither key nor JSON."""
    start = text.strip().lower()
    return "[expected" not in start and "{" not in start and start.startswith(tuple(table()["refusal"]))


def parse_context(text: str) -> Context:
    """The two texts of an answer; order, case, line breaks, asterisks and quotation marks do not matter.

    Raises:
        ValueError: a key is missing or repeated, or a text is too short or long; says which.
    """
    return _validated(Context, _expected(text, ("situation", "quote")))


def parse_listening(text: str) -> Listening:
    """The listener's situation and reaction; the reaction is a word of the answers, in any of their spellings.

    Raises:
        ValueError: a key is missing or repeated, the situation is too short or long, the reaction is none of the seven.
    """
    found = _expected(text, ("situation", "reaction"))
    found["reaction"] = word_of(found["reaction"].strip(" .!"))
    return _validated(Listening, found)


def _expected(text: str, names: tuple[str, ...]) -> dict[str, str]:
    """The texts behind ``[Expected NAME]``. Raises ValueError for one that is missing or there twice."""
    parts = re.split(rf"[*_]*\[\s*expected\s+({'|'.join(names)})\s*\][*_]*\s*[:\uff1a]?[*_]*", text, flags=re.I)
    found: dict[str, str] = {}
    for name, value in zip(parts[1::2], parts[2::2], strict=True):
        if name.lower() in found:
            raise ValueError(f"[Expected {name.lower()}] appears twice")
        found[name.lower()] = _clean(value, name.lower() == "quote")
    for name in names:
        if not found.get(name):
            raise ValueError(f"[Expected {name}] is missing or empty")
    return found


def parse_judgement(text: str) -> Judgement:
    """The judge's object, also inside a code fence. Raises ValueError naming the field that is wrong."""
    return _validated(Judgement, json_in(text))


def _validated(model: type[Model], body: dict[str, Any]) -> Model:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _clean(text: str, quote: bool) -> str:
    plain = " ".join(text.replace("*", "").split())
    return plain.strip('"“”„«» ').strip() if quote else plain
