"""What speech recognisers write that is not what was said: their conventions of text, confidence and language.

Sources, one per rule: marks of sounds are those of whisper.cpp (``[BLANK_AUDIO]``, ``[MUSIC]``), Kaldi and vosk
(``[unk]``, ``<unk>``), subtitles (``(crying)``, notes) and chat (``*sighs*``); JSON is that of vosk's ``Result`` and
``PartialResult``, of servers with OpenAI's transcription answers (whisper.cpp, faster-whisper, gpt-4o-transcribe), of
whisper.cpp's ``--output-json``, of sherpa-onnx and of WhisperLive; phrases in silence are those that users of Whisper
report (McCloudS/subgen#21, adamcohenhillel/ADeus#7).
"""

import json
import math
import re
import unicodedata
from collections.abc import Mapping
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

PARTS = ("segments", "transcription")
"""Where the pieces of a text are: OpenAI's servers and WhisperLive, whisper.cpp's own files."""
_JSON = re.compile(r"\s*(?:\{|\[\s*\{)")
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
_ENGLISH_NAMES = {"english": "en", "dutch": "nl", "french": "fr", "german": "de", "spanish": "es", "italian": "it"}


class NotSpeech(ValueError):
    """Nothing was said; ``reason`` is the name of its counter."""

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
    folded = _ACCENT.sub("'", " ".join(shown.split()))
    return folded.encode("utf-8")[:max_bytes].decode("utf-8", "ignore").strip()


def read(text: str, max_bytes: int) -> Transcript:
    """The words of a recogniser's text or JSON, without marks of sounds.

    Raises:
        NotSpeech: nothing but marks, a partial or unknown JSON, or a phrase that recognisers make of silence.
    """
    heard = _json(text) if _JSON.match(text) else None
    found = heard or Transcript(text)
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
    if isinstance(said, list):  # segments alone
        said = {"segments": said}
    parts = next((said[key] for key in PARTS if isinstance(said.get(key), list)), None)
    if _is_partial(said, parts):
        raise NotSpeech("speech_partial", "a partial result; the final one follows")
    best = said["alternatives"][0] if isinstance(said.get("alternatives"), list) and said["alternatives"] else said
    words = best.get("text") if isinstance(best, dict) else None
    if words is None and parts is not None:
        texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
        words = " ".join(text.strip() for text in texts if isinstance(text, str))
    if not isinstance(words, str):
        raise NotSpeech("speech_json", f"JSON without a field text, it has {', '.join(map(str, list(said)[:5]))}")
    silent = _mean(parts, "no_speech_prob")
    if silent is not None and silent > NO_SPEECH:
        raise NotSpeech("speech_silence", f"no_speech_prob {silent:.2f} is above {NO_SPEECH:g}")
    return Transcript(words, _sure(said), _told_language(said))


def _is_partial(said: Mapping[str, Any], parts: list[Any] | None) -> bool:
    """vosk's ``partial``, ``type: partial`` or ``is_final: false`` of streaming servers, WhisperLive's last segment."""
    last = parts[-1] if parts else None
    return (
        ("partial" in said and "text" not in said)
        or said.get("type") == "partial"
        or said.get("is_final") is False
        or (isinstance(last, Mapping) and last.get("completed") is False)
    )


def _sure(said: Mapping[str, Any]) -> float | None:
    """Mean confidence of words (vosk), or what the mean logarithm of segments or tokens says; None without."""
    logarithms = (_mean(said.get("segments"), "avg_logprob"), _mean(said.get("logprobs"), "logprob"))
    told = [math.exp(min(0.0, value)) for value in logarithms if value is not None]
    conf = _mean(said.get("result"), "conf")
    return conf if conf is not None else next(iter(told), None)


def _told_language(said: Mapping[str, Any]) -> str:
    """Servers say ``language``, sherpa-onnx ``lang`` (``<|en|>`` of SenseVoice), whisper.cpp ``result.language``."""
    inner = said.get("result")
    told = said.get("language") or said.get("lang") or (inner.get("language") if isinstance(inner, dict) else "")
    return language(str(told or "").strip("<|>"))


def _mean(rows: Any, key: str) -> float | None:
    values = [row[key] for row in rows if isinstance(row, Mapping) and key in row] if isinstance(rows, list) else []
    numbers = [float(v) for v in values if isinstance(v, (int, float)) and math.isfinite(v)]
    return sum(numbers) / len(numbers) if numbers else None
