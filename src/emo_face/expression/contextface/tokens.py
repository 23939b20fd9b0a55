"""Pieces of a prompt -> token ids. Text from outside never becomes a special token; pictures take fixed places."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from emo_face.core.errors import ConfigError, ModelError, UserError
from emo_face.expression.contextface.prompts import FACE, Piece, Pieces, Turn, table

_SMOLVLM = ("<image>", "<fake_token_around_image><global-img>", "<fake_token_around_image>")
PICTURE_TEXTS = {
    "smolvlm": _SMOLVLM,
    "idefics3": _SMOLVLM,
    "gemma3": ("<start_of_image>", "\n\n<start_of_image>", "<end_of_image>\n\n"),
}
"""What a family's chat template writes for a picture, and what its processor then puts before and behind the picture's
tokens (transformers' processing code). Others write the picture's token itself and nothing around it."""
SYSTEMS = {"llama2": "<<SYS>>\n{}\n<</SYS>>\n\n", "vicuna": "{} ", "plain": "{}\n"}
SYSTEMS["chatml"] = "<|im_start|>system\n{}<|im_end|>\n"
"""How a format wraps its system prompt, which Llama 2 has inside the first question (LLaVA's conversation.py)."""
MAX_SLOT_TOKENS = 384
"""Tokens of a quote, situation or question that are used: a character outside a vocabulary takes up to four."""
_QUESTION, _ANSWER = "\u0001Q\u0001", "\u0001A\u0001"


@dataclass(frozen=True)
class Tokens:
    """A dialogue as ids.

    Attributes:
        ids: token ids, each picture as a run of image tokens. learned: which of them a training loss counts.
    """

    ids: tuple[int, ...]
    learned: tuple[bool, ...]


class TokenBuilder:
    """Turns pieces into ids for one checkpoint.

    Args:
        tokenizer: fast tokenizer that knows ``<FACE>``. model_type: of the checkpoint's config.
        image_id: id of the image placeholder, negative if the model has none. image_tokens: how many a picture takes.
        chat, system: see :class:`~emo_face.expression.contextface.config.ContextFaceConfig`.
    """

    def __init__(
        self, tokenizer: Any, model_type: str, image_id: int, image_tokens: int, chat: str = "auto", system: str = ""
    ) -> None:
        self.tokenizer, self.image_id, self.image_tokens = tokenizer, image_id, image_tokens
        self.face_id = int(tokenizer.convert_tokens_to_ids(FACE))
        self.image_text = str(tokenizer.convert_ids_to_tokens(image_id)) if image_id >= 0 else ""
        self._picture_texts = PICTURE_TEXTS.get(model_type, (self.image_text, "", ""))
        self._system = system
        self._formats = table()["formats"]
        if chat == "auto" and not getattr(tokenizer, "chat_template", None):
            raise ConfigError(
                "chat: auto needs a checkpoint with a chat template; this one has none, set chat to one of "
                + ", ".join(self._formats)
            )
        if chat != "auto" and chat not in self._formats:
            raise ConfigError(f"chat: expected auto or one of {', '.join(self._formats)}, got {chat!r}")
        self._chat = chat
        added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        self.special = (added | set(tokenizer.all_special_ids) | {image_id}) - {tokenizer.unk_token_id}
        self._end = tokenizer.eos_token_id
        start = tokenizer.bos_token_id
        self._start = (start,) if start is not None and tokenizer("a")["input_ids"][:1] == [start] else ()
        self.continuation = lru_cache(4096)(self._continuation)
        self._fixed = lru_cache(64)(self._render)

    def prompt(self, question: Pieces, lead: Pieces = ()) -> tuple[int, ...]:
        """Ids up to where the answer begins, and ``lead``, the part of the answer that is already known."""
        return tuple(
            i
            for part in self.template(question, lead)
            for i in (self._piece(part)[:MAX_SLOT_TOKENS] if isinstance(part, Piece) else part)
        )

    def template(self, question: Pieces, lead: Pieces = ()) -> tuple[tuple[int, ...] | Piece, ...]:
        """The parts of :meth:`prompt`: runs of ids, and between them the slots as they are."""
        before, after, _ = self._fixed(1, self._shows(question))
        pieces = _blanks_first(_spaced(_unpictured(question), before))
        return (
            tuple(self._start_of(before.rstrip(" "))),
            *(piece if piece.kind == "slot" else self._piece(piece) for piece in pieces),
            (*self._format(after.rstrip(" ")), *self.body(_spaced(lead, after))),
        )

    def dialogue(self, turns: Sequence[Turn], answered: bool = True) -> Tokens:
        """Ids of whole turns; answers and the end of each are learned. ``answered`` False stops where the last answer
        begins: a prompt that knows what was said before."""
        if not turns:
            raise UserError("dialogue: expected at least one question and answer")
        fixed = self._fixed(len(turns), self._shows(*(t.question for t in turns)))
        ids = list(self._start_of(fixed[0].rstrip(" ")))
        learned = [False] * len(ids)
        for turn, before, after, behind in zip(turns, fixed[::2], fixed[1::2], fixed[2::2], strict=False):
            asked = self.body(_spaced(_unpictured(turn.question), before))
            question = (*asked, *self._format(after.rstrip(" ")))
            if not answered and turn is turns[-1]:
                return Tokens((*ids, *question), (*learned, *[False] * len(question)))
            answer = self.body(_spaced(turn.answer, after))
            closing = self._format(behind.rstrip(" "))
            ended = self._chat == "auto" and self.special.intersection(closing[:1])  # by a mark of the template's own
            if self._end not in closing and not ended:
                closing = (self._end, *closing)
            ends = closing.index(self._end) + 1 if self._end in closing else 1
            ids += [*question, *answer, *closing]
            learned += [False] * len(question) + [True] * (len(answer) + ends) + [False] * (len(closing) - ends)
        return Tokens(tuple(ids), tuple(learned))

    def body(self, pieces: Pieces) -> tuple[int, ...]:
        """Ids of the pieces of an answer, or of a question whose picture is in the text of the format; slots whole."""
        return tuple(i for piece in _blanks_first(pieces) for i in self._piece(piece))

    def opening(self, pieces: Pieces) -> Pieces:
        """The first pieces of an answer, with the blank that the format puts before them."""
        return _spaced(pieces, self._fixed(1, False)[1])

    def _shows(self, *questions: Pieces) -> bool:
        """Whether there is a picture. Raises UserError if this model has no eyes: it would be left out in silence."""
        shown = any(_pictures(question) for question in questions)
        if shown and not self.image_text:
            raise UserError("picture: this language model reads text alone; leave the picture out")
        return shown

    def _piece(self, piece: Piece) -> tuple[int, ...]:
        if piece.kind == "face":
            return (self.face_id,)
        if piece.kind == "image":
            return self._picture()
        # nothing from outside is special, whatever a tokenizer makes of it
        return tuple(i for i in self.continuation(piece.text) if i not in self.special)

    def _picture(self) -> tuple[int, ...]:
        return (self.image_id,) * self.image_tokens

    def _continuation(self, text: str, special: bool = False) -> tuple[int, ...]:
        """Ids of ``text`` as they are in the middle of a line: without the mark that some tokenizers start a text with.

        ``special``: markers in it become special tokens; only ever for text of the format.
        """
        return continued(lambda words: self._ids(words, special), text)

    def _ids(self, text: str, special: bool) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=not special)["input_ids"])

    def _start_of(self, text: str) -> tuple[int, ...]:
        """Ids of the format before the first question, with BOS if this tokenizer sets it."""
        ids = self._format(text, True)
        return (*self._start, *ids) if ids[:1] != self._start else ids

    def _format(self, text: str, first: bool = False) -> tuple[int, ...]:
        """Ids of text of the format, in which special tokens count and a picture is a run of image tokens."""
        ids: list[int] = []
        for number, part in enumerate(text.split(self.image_text) if self.image_text else [text]):
            if number:
                ids += self._picture()
            ids += self._ids(part, True) if first and not number and part else self.continuation(part, True)
        return tuple(ids)

    def _render(self, turns: int, image: bool) -> tuple[str, ...]:
        """The text around ``turns`` questions and answers: one more part than there are of both."""
        written, open_, close = self._picture_texts
        text = self._by_hand(turns, image) if self._chat != "auto" else self._by_template(turns, image)
        if image and text.count(written) != 1:
            raise ModelError(
                f"chat template: shows a picture by {text.count(written)} x {written!r}, expected 1: "
                "the model would not see it; set chat by name, or take another backbone"
            )
        if image:
            text = text.replace(written, f"{open_}{self.image_text}{close}")
        if re.findall(f"{_QUESTION}|{_ANSWER}", text) != [_QUESTION, _ANSWER] * turns:
            raise ModelError("chat template: a question or answer is not once in its output; set chat by name")
        return tuple(re.split(f"{_QUESTION}|{_ANSWER}", text))

    def _by_hand(self, turns: int, image: bool) -> str:
        ask, answer = self._formats[self._chat]
        system = SYSTEMS[self._chat].format(self._system) if self._system else ""
        later = {"llama2": self.tokenizer.bos_token if self._start else "", "chatml": "\n"}.get(self._chat, "")
        picture = f"{self._picture_texts[0]}\n" if image else ""
        first = ask + system + picture if self._chat == "llama2" else system + ask + picture
        asks = (first, *[later + ask] * (turns - 1))
        return "".join(f"{before}{_QUESTION}{answer}{_ANSWER}" for before in asks)

    def _by_template(self, turns: int, image: bool) -> str:
        messages: list[dict[str, Any]] = []
        if self._system:
            messages.append({"role": "system", "content": self._content(self._system)})
        for number in range(turns):
            messages.append({"role": "user", "content": self._content(_QUESTION, image and not number)})
            messages.append({"role": "assistant", "content": self._content(_ANSWER)})
        try:
            text: str = self.tokenizer.apply_chat_template(messages, tokenize=False)
        except Exception as error:  # a template is a program: Gemma's and others raise for a system prompt
            raise ModelError(f"chat template: {error}; set chat by name, or leave the system prompt out") from None
        return text

    def _content(self, text: str, image: bool = False) -> Any:
        """A message's content as templates expect it: parts for models that see, plain text for those that do not."""
        if not self.image_text:
            return text
        return [{"type": "image"}] * image + [{"type": "text", "text": text}]


def _pictures(pieces: Pieces) -> int:
    return sum(piece.kind == "image" for piece in pieces)


def continued(ids_of: Callable[[str], tuple[int, ...]], text: str) -> tuple[int, ...]:
    """Ids of ``text`` behind other text, by what ``ids_of`` makes of a text that stands alone."""
    if not text:
        return ()
    for anchor in (":", "a", "\n"):
        start, both = ids_of(anchor), ids_of(anchor + text)
        if both[: len(start)] == start:
            return both[len(start) :]
    return ids_of(text)


def _unpictured(question: Pieces) -> Pieces:
    """A question without its picture, which the text of the format holds already."""
    return tuple(piece for piece in question if piece.kind != "image")


def _spaced(pieces: Pieces, before: str) -> Pieces:
    """A question or answer with the blank that its format puts before it: words and their blank are one token."""
    if not pieces or not before.endswith(" "):
        return pieces
    if pieces[0].kind == "face":
        return (Piece("text", " "), *pieces)
    return (Piece(pieces[0].kind, " " + pieces[0].text), *pieces[1:])


def _blanks_first(pieces: Pieces) -> Pieces:
    """The same text with each blank before a word moved into the word's piece.

    Words and their blank are one token: "is " and "Angry" apart would teach an answer in tokens no model ever writes.
    """
    result: list[Piece] = []
    for piece in pieces:
        joins = piece.kind in ("text", "slot") and piece.text[:1].strip()
        if joins and result and result[-1].text.endswith(" "):
            result[-1] = Piece(result[-1].kind, result[-1].text[:-1])
            piece = Piece(piece.kind, " " + piece.text)
        result.append(piece)
    return tuple(result)
