"""Cleans what was said and cuts it into word pieces, in plain Python.

The tokeniser is the uncased BERT scheme (Devlin et al. 2019, section 3; greedy longest match first, Wu et al. 2016),
so the vocabulary of any uncased BERT or MiniLM checkpoint works. What comes before it is ours: speech recognisers,
chats and subtitles write the same sentence differently, and none of that is emotion.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence

MAX_CHARACTERS = 4000
"""Longer text keeps its first and last half of this many characters: 100 kB must not cost a second."""

MASKS = {"[NAME]": "alex", "[PERSON]": "alex", "[LOCATION]": "paris", "[RELIGION]": "church"}
"""Anonymised corpora mask names; speech has names, so a mask reads as one."""

_MASK = re.compile(r"\[(?:NAME|PERSON|LOCATION|RELIGION)\]")
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)
_DROP = re.compile(r"[\"“”„«»]|(?<!\S)[-–—]+(?!\S)")
_SPACE_BEFORE = re.compile(r"\s+([.,!?;:)\]'’])")
_ASCII_CONTROLS = dict.fromkeys((*range(32), 127), " ")
_ASCII_WORD = re.compile(r"[0-9A-Za-z]+|[^0-9A-Za-z\s]")
_BRAILLE = range(0x2800, 0x2900)
_IDEOGRAPHS = (range(0x3400, 0x4DC0), range(0x4E00, 0xA000), range(0xF900, 0xFB00), range(0x20000, 0x2FA20))
_VOCABULARY_PREFIX = "##"
_MAX_WORD = 100  # characters, as in BERT's own tokeniser: a longer word is one unknown piece


def clip_characters(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Keep the first and the last ``limit / 2`` characters of a longer text."""
    return text if len(text) <= limit else text[: limit // 2] + " " + text[-(limit // 2) :]


def clean(text: str) -> str:
    """Normalise an utterance to lower case words, sentence marks and emoji spelled out by their Unicode names.

    Quotes and free dashes go, because recognisers rarely write them and corpora disagree on them; a space before a
    full stop goes for the same reason. More than three equal characters in a row become three.

    Args:
        text: any string, also with control characters, lone surrogates or other scripts.

    Returns:
        Cleaned text; empty if nothing is left.
    """
    text = _MASK.sub(lambda found: MASKS[found.group()], clip_characters(text))
    text = _RUN.sub(r"\1\1\1", text)
    if text.isascii():
        text = text.translate(_ASCII_CONTROLS)
    else:
        text = "".join(_spell(character) for character in unicodedata.normalize("NFKC", text))
    text = _DROP.sub(" ", text)
    text = " ".join(text.split())
    return _SPACE_BEFORE.sub(r"\1", text).lower()


def _spell(character: str) -> str:
    """One character as the model reads it: emoji by name, control and format characters as nothing or a space."""
    code = ord(character)
    if code < 0x7F:
        return character if code >= 0x20 else " "
    category = unicodedata.category(character)
    if category == "So":
        return " " if code in _BRAILLE else f" {unicodedata.name(character, '').lower()} "
    if category == "Cc":
        return " "
    if category[0] == "C" or category == "Sk" or 0xFE00 <= code <= 0xFE0F:
        return ""  # joiners, variation selectors, skin tones, private use, surrogates
    return character


def readable_shares(cleaned: str, scripts: Collection[str] = ()) -> tuple[float, float]:
    """Shares of a cleaned text's letters and digits that are Latin, and of ``scripts``, in [0, 1]; 0 if it has none.

    A sentence in a script that a student was not trained on is not read, however many pieces it has.

    Args:
        scripts: others than Latin, by the first word of their letters' Unicode names: ``CYRILLIC``, ``CJK``.
    """
    if cleaned.isascii():
        return float(any(c.isalnum() for c in cleaned)), 0.0
    letters = [c for c in unicodedata.normalize("NFD", cleaned) if c.isalnum()]
    latin = sum(map(is_latin, letters))
    other = sum(not is_latin(c) and unicodedata.name(c, "").partition(" ")[0] in scripts for c in letters)
    return latin / max(len(letters), 1), other / max(len(letters), 1)


def is_latin(character: str) -> bool:
    """Latin letters and the digits that are written with them."""
    return ord(character) < 0x250


class WordPiece:
    """Greedy longest-match-first tokeniser over an uncased BERT vocabulary.

    Args:
        vocabulary: one piece per id, in order; must hold ``[PAD] [UNK] [CLS] [SEP]``.

    Raises:
        ValueError: a special piece is missing.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.ids = {piece: index for index, piece in enumerate(vocabulary)}
        missing = [piece for piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if piece not in self.ids]
        if missing:
            raise ValueError(f"the vocabulary lacks {' '.join(missing)}")
        self.pad, self.unknown = self.ids["[PAD]"], self.ids["[UNK]"]
        self.start, self.end = self.ids["[CLS]"], self.ids["[SEP]"]
        self._marks = frozenset(self.ids[mark] for mark in ".!?" if mark in self.ids)

    def pieces(self, cleaned: str) -> list[int]:
        """Ids of a cleaned text, without start and end marks."""
        return [piece for word in _words(cleaned) for piece in self._pieces(word)]

    def encode(self, cleaned: str, max_length: int) -> list[int]:
        """Ids of a cleaned text with start and end marks, at most ``max_length`` long; for training.

        A longer text keeps its head and tail (Sun et al., "How to fine-tune BERT for text classification", 2019,
        section 5.3.1): feeling is as often in the last words as in the first.
        """
        pieces, room = self.pieces(cleaned), max_length - 2
        if len(pieces) > room:
            pieces = pieces[: room - room // 2] + pieces[-(room // 2) :]
        return [self.start, *pieces, self.end]

    def windows(self, pieces: Sequence[int], max_length: int) -> list[list[int]]:
        """All pieces in as few windows as hold them, of about equal length, each with start and end marks.

        A window ends behind a sentence mark if one is near, so that sentences stay whole.
        """
        room, start = max_length - 2, 0
        windows: list[list[int]] = []
        while start < len(pieces) or not windows:
            left = -(-(len(pieces) - start) // room)
            end = start + (-(-(len(pieces) - start) // left) if left else 0)
            if left > 1:
                marks = (at for at in range(min(start + room, end + room // 4), end - room // 4, -1))
                end = next((at for at in marks if pieces[at - 1] in self._marks), end)
            windows.append([self.start, *pieces[start:end], self.end])
            start = end
        return windows

    def _pieces(self, word: str) -> list[int]:
        if len(word) > _MAX_WORD:
            return [self.unknown]
        found: list[int] = []
        start = 0
        while start < len(word):
            prefix = _VOCABULARY_PREFIX if start else ""
            for end in range(len(word), start, -1):
                piece = self.ids.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return [self.unknown]
            found.append(piece)
            start = end
        return found


def _words(text: str) -> list[str]:
    """Words without accents; every punctuation mark and CJK ideograph is a word of its own."""
    if text.isascii():
        return _ASCII_WORD.findall(text)
    out = []
    for character in unicodedata.normalize("NFD", text):
        category = unicodedata.category(character)
        if category == "Mn":
            continue
        alone = category[0] == "P" or (category[0] == "S" and character.isascii()) or _is_ideograph(ord(character))
        out.append(f" {character} " if alone else character)
    return "".join(out).split()


def _is_ideograph(code: int) -> bool:
    return any(code in block for block in _IDEOGRAPHS)
