"""What is asked of ContextFace and how it answers: templates, the seven words, and slots nothing can break out of.

A prompt is a tuple of :class:`Piece`; a slot piece holds text from outside and is tokenised so that none of it becomes
a special token. Templates: ``data/contextface_prompts.yaml``. No torch here: data readers and annotation import this.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from emo_face.core.errors import UserError
from emo_face.core.paths import data_table
from emo_face.core.types import Box, FloatArray

FACE, IMAGE = "<FACE>", "<image>"
TASKS = ("situation", "expression", "vqa")
LABEL_SET = "caers7"
MAX_SLOT = 600
"""Characters of a quote, situation or question that are used; the rest is cut."""
Perspective = Literal["speaker", "listener"]
Source = Literal["situation", "quote", "image"]
PERSPECTIVES: tuple[Perspective, ...] = ("speaker", "listener")
Style = Literal["paper", "short"]
STYLES: tuple[Style, ...] = ("paper", "short")
"""Wording of the expression task: the paper's, or one as short as can be for small models of text alone."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a prompt. ``kind``: ``text`` of a template, ``slot`` from outside, ``image``, or the ``face`` token."""

    kind: Literal["text", "slot", "image", "face"]
    text: str = ""


Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer."""

    question: Pieces
    answer: Pieces


@dataclass(frozen=True, slots=True)
class FaceTarget:
    """A face to learn.

    Attributes:
        expression: (100,) coefficients, or (52,) ARKit activations. jaw: (3,) rad, axis-angle. eyelids: (2,) in [0, 1];
            None if not measured.
        basis: of the coefficients, for example ``flame2020``.
    """

    expression: FloatArray
    jaw: FloatArray | None = None
    eyelids: FloatArray | None = None
    basis: str = "flame2020"


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: a dialogue about at most one picture.

    Attributes:
        task: one of :data:`TASKS`. image: the picture that an image piece stands for. box: the person asked about, px.
        label: of the set :data:`LABEL_SET`, empty if the task has none. target: for the ``<FACE>`` of the answer.
        form: name of the :class:`~emo_face.expression.contextface.conditions.Condition` of an expression.
        group: of examples that are not independent: one clip, one event. Empty: it is one by itself.
    """

    id: str
    task: str
    turns: tuple[Turn, ...]
    image: Path | None = None
    box: Box | None = None
    label: str = ""
    target: FaceTarget | None = None
    form: str = ""
    group: str = ""


def table() -> Mapping[str, Any]:
    """The packaged templates."""
    return data_table("contextface_prompts.yaml")


def words() -> tuple[str, ...]:
    """The seven words of the answers (``Angry`` ...), in the paper's order."""
    return tuple(table()["labels"]["order"])


def word_of(label: str) -> str:
    """The word that the answers use for a label (``Anger`` -> ``Angry``), any case. Raises ValueError listing them."""
    wanted = label.strip().casefold()
    labels: Mapping[str, str] = table()["labels"]["words"]
    for word, name in labels.items():
        if wanted in (word.casefold(), name.casefold(), *table()["labels"]["aliases"][word]):
            return word
    raise ValueError(f"label {label!r}: expected one of {', '.join(words())}")


def label_of(word: str) -> str:
    """The label of the set :data:`LABEL_SET` for an answer's word (``Angry`` -> ``Anger``)."""
    return str(table()["labels"]["words"][word_of(word)])


def parse_emotion(answer: str) -> str | None:
    """The emotion word a free answer names, or None.

    The last sentence that says "emotion ... is X" or "expresses X" counts; failing that, a single emotion word in the
    whole answer. Two different ones without such a sentence are no answer.
    """
    names: dict[str, str] = {alias: word for word, aliases in table()["labels"]["aliases"].items() for alias in aliases}
    choice = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    said = re.findall(rf"(?:emotion[^.]*?\b(?:is|be)|express(?:es|ing)|feel(?:s|ing))\W+({choice})\b", answer, re.I)
    if not said:
        said = re.findall(rf"\b({choice})\b", answer, re.I)
        if len({names[s.casefold()] for s in said}) != 1:
            return None
    return names[said[-1].casefold()]


_ROLE = re.compile(r"(?i)\b(user|assistant|system|human|gpt|model|instruction|response)(\s*)[:\uff1a]")
_LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("<\uff1c", "\u2039"),
        **dict.fromkeys(">\uff1e", "\u203a"),
        **dict.fromkeys("[{", "("),
        **dict.fromkeys("]}", ")"),
        "|": "/",
        "#": "-",
        **dict.fromkeys('`\u201c\u201d\u201e\u201f\u00ab\u00bb"\uff02', "'"),
    }
)


def safe(text: str, limit: int = MAX_SLOT) -> str:
    """Text from outside, fit for a slot: one line, at most ``limit`` characters, nothing that ends the slot.

    Characters that build markers (``< > [ ] { } | #``) and double quotes become look-alikes, role names lose their
    colon, control and private characters go. Letters of every script and emoji stay. Never raises.
    """
    shown = text[: 4 * limit]
    if not (shown.isascii() and shown.isprintable()):  # most texts are plain, and this is asked of every example
        kept = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in shown)
        gone = ("Cf", "Cs", "Co", "Cn")
        shown = "".join(c for c in kept if unicodedata.category(c) not in gone or c in "\u200c\u200d")
    plain = _ROLE.sub(r"\1\2,", shown.translate(_LOOKALIKES))
    return " ".join(plain.split())[:limit].strip()


def fill(template: str, **slots: str | Pieces) -> Pieces:
    """Pieces of a template. Strings fill slots safely; pieces are put in as they are.

    Raises:
        KeyError: the template has a slot that is not given.
    """
    result: list[Piece] = []
    for part in re.split(r"(\{\w+\}|<image>\s*|<FACE>)", template):
        if not part:
            continue
        if part.startswith("{"):
            value = slots[part[1:-1]]
            result += [Piece("slot", safe(value))] if isinstance(value, str) else value
        elif part.startswith(IMAGE):
            result.append(Piece("image"))
        else:
            result.append(Piece("face", FACE) if part == FACE else Piece("text", part))
    return tuple(result)


def plain(pieces: Sequence[Piece]) -> str:
    """The pieces as one text, with ``<image>`` for a picture: for golden files, logs and people."""
    return "".join("<image>\n" if p.kind == "image" else p.text for p in pieces)


_SECTIONS: Mapping[Style, str] = {"paper": "expression", "short": "short"}
"""Style -> section of the templates."""


def _text(value: str) -> Pieces:
    return (Piece("text", value),)


def situation_question(quote: str, image: bool = True) -> Pieces:
    """Ask for the situation behind a quote and the emotion (Situation Generation)."""
    pieces = fill(table()["situation"]["ask"], quote=quote, options=_text(", ".join(words())))
    return pieces if image else tuple(p for p in pieces if p.kind != "image")


def situation_answer(situation: str, label: str) -> Pieces:
    """The answer to :func:`situation_question`."""
    return fill(table()["situation"]["answer"], situation=situation, emotion=_text(word_of(label)))


def situation_of(answer: str) -> str:
    """The situation that an answer to :func:`situation_question` tells, without the sentence about the emotion."""
    return answer.partition(table()["situation"]["answer"].partition("{situation}")[2].split(",")[0].strip())[0].strip()


def expression_question(
    quote: str = "",
    situation: str = "",
    image: bool = False,
    perspective: Perspective = "speaker",
    style: Style = "paper",
) -> Pieces:
    """Ask for the face that fits a situation, a quote or a picture (Expression Generation).

    If both are given the situation leads and the quote stands before its instruction.

    Raises:
        ValueError: nothing is given, the perspective is unknown, or a short question is to have a picture.
    """
    if perspective not in PERSPECTIVES:
        raise ValueError(f"perspective: {perspective!r}, expected one of {', '.join(PERSPECTIVES)}")
    source = context_kind(quote, situation, image)
    name = f"from_{source}" + ("_listener" if perspective == "listener" else "")
    if style == "short" and image:
        raise ValueError("style short: has no picture; train with the paper's style")
    pieces = fill(table()[_SECTIONS[style]][name], quote=quote, situation=situation)
    if source == "situation" and safe(quote):
        pieces = (Piece("text", "“"), Piece("slot", safe(quote)), Piece("text", "” "), *pieces)
    return (Piece("image"), *pieces) if image else pieces


def context_kind(quote: str, situation: str, image: bool) -> Source:
    """What an answer says it considered. Raises ValueError if nothing is left after :func:`safe`."""
    if safe(situation):
        return "situation"
    if safe(quote):
        return "quote"
    if image:
        return "image"
    raise ValueError("context: a quote, a situation or an image is needed, all are empty")


def expression_answer(source: Source, label: str, style: Style = "paper") -> Pieces:
    """The answer to :func:`expression_question`, with the ``<FACE>`` token."""
    lead, word, tail = branch_parts(source, label, style)
    return (*lead, *word, *tail)


def branch_parts(source: Source, label: str, style: Style = "paper") -> tuple[Pieces, Pieces, Pieces]:
    """The answer in three: what all branches share, the emotion word with its space, and what follows it."""
    lead, tail = table()[_SECTIONS[style]]["answer"].split("{emotion}")
    space = " " if lead else ""
    return fill(lead.rstrip(" "), context=_text(source)), _text(f"{space}{word_of(label)}"), fill(tail)


def vqa_question(question: str, image: bool = True) -> Pieces:
    """A question of LLaVA-Instruct; ``<image>`` in it only marks where the picture goes, first."""
    pieces = (Piece("slot", " ".join(question.replace(IMAGE, " ").split())),)
    return (Piece("image"), *pieces) if image else pieces


def vqa_answer(answer: str) -> Pieces:
    """An answer of LLaVA-Instruct, as it is: it is learned, so nothing may be cut; still no special tokens."""
    return (Piece("slot", answer.strip()),)


def free_question(question: str, quote: str, image: bool, boxed: bool) -> Pieces:
    """What `~/ask` asks: the question, else for the situation behind the quote. Raises UserError if both are empty."""
    if safe(question):
        return chat_question(question, quote, image, boxed)
    if not safe(quote):
        raise UserError("question: a question or a quote is needed, both are empty")
    return situation_question(quote, image)


def chat_question(question: str, quote: str = "", image: bool = True, boxed: bool = True) -> Pieces:
    """A free question about what is seen and was said, in the form of the VQA task.

    ``boxed``: the picture has a red box; without a picture there is none.
    """
    name = "boxed" if image and boxed else "unboxed"
    asked, said = safe(question), safe(quote)
    text = str(table()["chat"][name]).format(quote=said, question=asked) if said else asked
    pieces = (Piece("slot", text),)
    return (Piece("image"), *pieces) if image else pieces
