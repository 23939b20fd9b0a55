"""What speech recognisers write that is not what was said: their conventions of text, confidence and language.

Sources, one per rule: marks of sounds are those of whisper.cpp (``[BLANK_AUDIO]``, ``[MUSIC]``), Kaldi and vosk
(``[unk]``, ``<unk>``), subtitles (``(crying)``, notes) and chat (``*sighs*``); JSON is read by the names of fields that
recognisers share, a table of which is below; phrases in silence are those that users of Whisper report
(McCloudS/subgen#21, adamcohenhillel/ADeus#7).
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NO_SPEECH = 0.6
"""Whisper's own threshold of ``no_speech_prob`` (openai/whisper, ``transcribe``)."""
MAX_JSON = 65536
IN_SILENCE = frozenset(
    {
        "you",
        "thanks for watching",
        "thank you for watching",
        "thank you so much for watching",
        "thanks for listening",
        "thank you for listening",
        "please subscribe",
        "please subscribe to my channel",
        "like and subscribe",
        "please like and subscribe",
        "dont forget to subscribe",
        "dont forget to like and subscribe",
        "see you in the next video",
        "ill see you in the next video",
        "thanks for watching please subscribe",
        "subtitles by the amaraorg community",
        "transcribed by httpsotterai",
    }
)
"""Whole utterances that Whisper makes of silence, in small letters without punctuation."""

SURE = -1.0
"""Whisper's own ``logprob_threshold``: words that are as likely are speech, whatever ``no_speech_prob`` says."""
TEXT = ("text", "displaytext", "display", "transcript", "content", "word")
"""Fields that hold words: most; Azure; Google, Riva, Deepgram, Watson, AWS; Speechmatics; DeepSpeech."""
BEST = ("alternatives", "alternative", "nbest", "hypotheses", "transcripts", "utterances")
"""Lists of hypotheses, the best one first: vosk, Google, Azure, Kaldi's server, DeepSpeech, OVOS."""
PARTS = (
    *("segments", "transcription", "channel", "channels", "results", "result", "transcript", "data"),
    *("combinedphrases", "words", "logprobs"),
)
"""Where the pieces are: OpenAI's servers and WhisperLive, whisper.cpp, Deepgram, Google, vosk, AWS, OVOS, Azure."""
LANGUAGE = ("language", "lang", "languagecode", "detectedlanguage")
FINAL = ("isfinal", "final", "completed", "endofturn")
DEEPEST = 20
_JSON = re.compile(r"\s*(?:\{|\[\s*\{)")
_EARLY = re.compile(r"partial|interim|^realtime$|\.delta$")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07\u0092\u0091", "'"))
_ACCENT = re.compile(r"(?<=\w)[\u00b4`](?=\w)")
_MARK = re.compile(r"\[[^\[\]]{0,60}\]|<[^<>]{0,60}>|[\u2669-\u266c\U0001f3b5\U0001f3b6]")
_ASIDE = re.compile(r"\(([^()]{1,60})\)|\*([^*]{1,60})\*")
_SOUND = re.compile(
    r"\b(music|laugh|chuckl|giggl|cry|cries|sob|sigh|cough|sneez|applau|clap|cheer|gasp|groan|moan|scream|shout|breath|"
    r"inhal|exhal|whisper|humm|sing|silen|noise|blank|inaudible|unintelligible|indistinct|foreign|beep|static|bark|"
    r"snor|sniff|background|audio|instrumental|footstep|thud|knock|ring|whistl|clear|pause)",
    re.IGNORECASE,
)
_ENGLISH_NAMES = {
    "arabic": "ar",
    "chinese": "zh",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "polish": "pl",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
}


class NotSpeech(ValueError):
    """Text that is not used, mostly because nothing was said; ``reason`` is the name of its counter."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recogniser heard.

    Attributes:
        text: words alone. confidence: [0, 1], or None if it gives none. language: ISO 639 code, or empty.
    """

    text: str
    confidence: float | None = None
    language: str = ""


def clean(text: str, max_bytes: int) -> str:
    """Text without control, format and surrogate characters, white space folded, at most ``max_bytes`` of UTF-8.

    Letters of every script stay; joiners that scripts and emoji need (ZWJ, ZWNJ) too. Apostrophes of all kinds become
    the one of the keyboard.
    """
    # a character is at most 4 bytes; cut first, so that the work is bounded
    short = text[: max_bytes + 1].translate(_APOSTROPHES)
    kept = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in short)
    shown = "".join(c for c in kept if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn") or c in "\u200c\u200d")
    return _ACCENT.sub("'", " ".join(shown.split())).encode("utf-8")[:max_bytes].decode("utf-8", "ignore").strip()


def read(text: str, max_bytes: int) -> Transcript:
    """The words of a recogniser's text or JSON, without marks of sounds.

    Raises:
        NotSpeech: nothing but marks, a partial or unknown JSON, or a phrase that recognisers make of silence.
    """
    found = (_json(text) if _JSON.match(text) else None) or Transcript(text)
    words = clean(without_marks(clean(found.text, max_bytes)), max_bytes)
    if not any(unicodedata.category(c)[0] in "LNS" for c in words):
        raise NotSpeech("speech_empty", "text without a letter, number or symbol")
    if re.sub(r"[^\w\s]", "", words).lower().strip() in IN_SILENCE:
        raise NotSpeech("speech_silence", f"{words!r} is what recognisers make of silence")
    return Transcript(words, found.confidence, found.language)


def without_marks(text: str) -> str:
    """Leave out marks of sounds: what stands in [] or <>, notes, and asides in () or ** that name a sound."""
    text = _MARK.sub(" ", text)
    whole = _ASIDE.fullmatch(text.strip())
    if whole and len(text.split()) <= 3:
        return ""
    return _ASIDE.sub(lambda aside: " " if _SOUND.search(aside.group()) else aside.group(), text)


def confidence(value: float) -> float | None:
    """A recogniser's confidence in [0, 1], whatever its convention; None if it was not filled.

    0 and -1 are fields that nobody filled; up to 1 a probability; up to 100 per cent; below 0 a logarithm. NaN and
    more than 100 are 0: never heard.
    """
    if value in (0.0, -1.0):
        return None
    if math.isnan(value) or value > 100:
        return 0.0
    if value < 0:
        return math.exp(value)
    return value if value <= 1 else min(1.0, value / 100 if value > 1.01 else 1.0)


def language(locale: str) -> str:
    """ISO 639 code of a locale (``en_GB``, ``de-DE``) or of a language's English name; empty if there is none."""
    word = re.split(r"[-_.@\s]", locale.strip().lower())[0][:32]
    return "" if word in ("und", "auto", "c", "posix") else _ENGLISH_NAMES.get(word, word)


def _json(text: str) -> Transcript | None:
    """What a recogniser says in JSON; None if it is no JSON but words in braces or brackets."""
    if len(text) > MAX_JSON:
        raise NotSpeech("speech_json", f"JSON of {len(text)} characters, at most {MAX_JSON}")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    said = {"segments": said} if isinstance(said, list) else said
    levels = list(_levels(said, 0))
    if any(map(_is_partial, levels)):
        raise NotSpeech("speech_partial", "a partial result; the final one follows")
    words = _words(said, 0)
    if words is None:
        raise NotSpeech("speech_json", f"JSON without a field text, it has {', '.join(map(str, list(said)[:5]))}")
    silent, sure = _mean(levels, "nospeechprob"), _mean(levels, "avglogprob", "logprob", least=-1e3, most=0.0)
    if silent is not None and silent > NO_SPEECH and (sure is None or sure < SURE):
        raise NotSpeech("speech_silence", f"no_speech_prob {silent:.2f} is above {NO_SPEECH:g}")
    told = (level[key] for level in levels for key in LANGUAGE if isinstance(level.get(key), str))
    # neither the sums that vosk and DeepSpeech call a confidence, nor Google's 0 for "not set"
    probability = _mean(levels, "confidence", "conf", least=1e-9)
    if probability is None and sure is not None:
        probability = math.exp(sure)
    return Transcript(words, probability, language(next(told, "").strip("<|>")))


def _fields(said: Mapping[str, Any]) -> dict[str, Any]:
    """Small letters and no underscores: the same field is ``is_final``, ``isFinal`` and ``IsFinal``."""
    return {key.lower().replace("_", ""): value for key, value in said.items()}


def _below(fields: Mapping[str, Any]) -> Iterator[Any]:
    """What may hold the words: of several hypotheses the first, of pieces each."""
    yield from (fields[key][:1] for key in BEST if isinstance(fields.get(key), list))
    yield from (fields[key] for key in PARTS if isinstance(fields.get(key), (list, dict)))


def _words(said: Any, depth: int) -> str | None:
    """The words in ``said``, whose pieces are joined; None if there is no field for them."""
    if isinstance(said, str) and depth:
        return said
    if not isinstance(said, (list, dict)) or depth > DEEPEST:
        return None
    if isinstance(said, list):
        return " ".join(piece.strip() for part in said if (piece := _words(part, depth + 1)))
    fields = _fields(said)
    words = [fields[key] for key in TEXT if isinstance(fields.get(key), str)][:1]
    return next((w for w in words or (_words(part, depth + 1) for part in _below(fields)) if w is not None), None)


def _levels(said: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The fields of ``said`` and of what is below it on the way to the words."""
    if depth > DEEPEST:
        return
    if isinstance(said, list):
        for part in said:
            yield from _levels(part, depth + 1)
    elif isinstance(said, dict):
        yield (fields := _fields(said))
        for part in _below(fields):
            yield from _levels(part, depth + 1)


def _is_partial(fields: Mapping[str, Any]) -> bool:
    """Whether a recogniser says that it is still listening, in any of its makers' ways."""
    return (
        ("partial" in fields and "text" not in fields)
        or any(fields.get(key) is False for key in FINAL)
        or fields.get("ispartial") is True
        or ("stability" in fields and "isfinal" not in fields)  # Google's JSON leaves out what is false
        or any(_EARLY.search(str(fields.get(key, "")).lower()) for key in ("type", "message", "messagetype"))
    )


def _mean(levels: Sequence[Mapping[str, Any]], *keys: str, least: float = 0.0, most: float = 1.0) -> float | None:
    """Mean of the first key that has numbers in [``least``, ``most``]."""
    for key in keys:
        found = [level[key] for level in levels if isinstance(level.get(key), (int, float))]
        numbers = [float(value) for value in found if least <= value <= most]
        if numbers:
            return sum(numbers) / len(numbers)
    return None
