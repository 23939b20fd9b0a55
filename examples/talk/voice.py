"""Voices: text to sound with the times of its phonemes, and phonemes to the mouth shapes of `face/visemes`."""

from __future__ import annotations

import ctypes
import ctypes.util
import io
import shlex
import subprocess
import sys
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Phoneme = tuple[float, str]
"""Seconds from the start of the sound, and the phoneme in IPA; an empty one is silence."""

VISEMES = {
    **dict.fromkeys("pbm", "PP"),
    **dict.fromkeys("fv", "FF"),
    **dict.fromkeys("θð", "TH"),
    **dict.fromkeys("tdɾ", "DD"),
    **dict.fromkeys("kɡgŋh", "kk"),
    **dict.fromkeys(("tʃ", "dʒ", "ʃ", "ʒ"), "CH"),
    **dict.fromkeys("sz", "SS"),
    **dict.fromkeys("nl", "nn"),
    **dict.fromkeys("rɹ", "RR"),
    **dict.fromkeys("ɑaæʌɐ", "aa"),
    **dict.fromkeys("ɛeəɜɚ", "E"),
    **dict.fromkeys("ɪij", "ih"),
    **dict.fromkeys("ɔoɒ", "oh"),
    **dict.fromkeys("uʊw", "ou"),
}
"""IPA to the fifteen visemes: Meta's table (developers.meta.com, "Viseme reference"). What it lacks is ours: ə ɐ ɚ æ ŋ
h j w ɾ. Diphthongs are two shapes, of their first and of their last vowel."""
MARKS = "ˈˌːʲʰ̩̃ʔ"


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence that is said.

    Attributes:
        samples: (n,) int16, one channel. rate: Hz. phonemes: in the order of their times.
    """

    samples: Samples
    rate: int
    phonemes: tuple[Phoneme, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.rate


class Voice(Protocol):
    """What makes sound of text. Raises OSError if it cannot."""

    def say(self, text: str) -> Spoken:
        """``text`` as sound."""
        ...


def track(spoken: Spoken) -> list[tuple[float, str]]:
    """(seconds, viseme) of a sentence: each shape lasts until the next begins, the last until the sound ends."""
    ends = [start for start, _ in spoken.phonemes[1:]] + [spoken.duration]
    shapes: list[tuple[float, str]] = []
    for (start, phoneme), end in zip(spoken.phonemes, ends, strict=True):
        if end > start:  # espeak-ng gives phonemes that it swallows no time
            names = visemes(phoneme)
            shapes += [(start + i * (end - start) / len(names), name) for i, name in enumerate(names)]
    return shapes


def visemes(phoneme: str) -> list[str]:
    """The mouth shapes of one phoneme in IPA: one, or two for a diphthong; ``sil`` for silence and unknown ones."""
    plain = "".join(letter for letter in phoneme if letter not in MARKS)
    if plain in VISEMES:
        return [VISEMES[plain]]
    names = [VISEMES[letter] for letter in plain if letter in VISEMES]
    return list(dict.fromkeys((names[0], names[-1]))) if names else ["sil"]


class _Name(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    """``espeak_EVENT`` of espeak-ng's speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", _Name),
    ]


class Espeak:
    """espeak-ng (GPL-3.0, never bundled): Debian's ``libespeak-ng1``, or ``pip install espeakng-loader``.

    Args:
        language: a voice of ``espeak-ng --voices``. pace: words a minute.

    Raises:
        OSError: the library is missing, or has no such voice; says how to get it.
    """

    # espeak_AUDIO_OUTPUT_SYNCHRONOUS; phoneme events, in IPA, and never exit(); characters are UTF-8
    _SYNCHRONOUS, _OPTIONS, _UTF8, _RATE, _PHONEME = 2, 0x1 | 0x2 | 0x8000, 1, 1, 7

    def __init__(self, language: str = "en-us", pace: int = 160) -> None:
        self._library, data = _espeak()
        self._rate = self._library.espeak_Initialize(self._SYNCHRONOUS, 0, data, self._OPTIONS)
        if self._rate <= 0:
            raise OSError("espeak-ng does not start: its data (espeak-ng-data) is missing")
        if self._library.espeak_SetVoiceByName(language.encode()):
            raise OSError(f"espeak-ng has no voice {language!r}; `espeak-ng --voices` lists them")
        self._library.espeak_SetParameter(self._RATE, pace, 0)

    def say(self, text: str) -> Spoken:
        """``text`` as sound at espeak-ng's rate (22,050 Hz)."""
        sound, heard = bytearray(), list[Phoneme]()

        def take(samples: Any, count: int, events: Any) -> int:
            if samples and count > 0:
                sound.extend(ctypes.string_at(samples, 2 * count))
            index = 0
            while events[index].type:
                if events[index].type == self._PHONEME:
                    name = events[index].id.string.decode("utf-8", "ignore")
                    heard.append((events[index].audio / 1000, name))
                index += 1
            return 0

        kept = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))(take)
        self._library.espeak_SetSynthCallback(kept)
        words = text.encode() + b"\0"
        self._library.espeak_Synth(words, len(words), 0, 1, 0, self._UTF8, None, None)
        self._library.espeak_Synchronize()
        return Spoken(np.frombuffer(bytes(sound), "<i2"), self._rate, tuple(heard))


def _espeak() -> tuple[Any, bytes | None]:
    """espeak-ng's library and the folder of its data (None: its own)."""
    try:
        import espeakng_loader

        return ctypes.CDLL(espeakng_loader.get_library_path()), espeakng_loader.get_data_path().encode()
    except ImportError:
        pass
    name = ctypes.util.find_library("espeak-ng")
    if name is None:
        raise OSError("no espeak-ng: `sudo apt-get install libespeak-ng1`, or `pip install espeakng-loader`")
    return ctypes.CDLL(name), None


class Program:
    """Any program that reads text on stdin and writes a WAV to stdout, for example ``piper -m VOICE.onnx -f -``.

    It gives no times of phonemes: they are espeak-ng's for the same text, stretched to the length of its sound, so the
    lips are only about right.

    Args:
        command: one line, split as a shell would. times: where the phonemes come from.
    """

    def __init__(self, command: str, times: Voice) -> None:
        self._command, self._times = shlex.split(command), times

    def say(self, text: str) -> Spoken:
        """``text`` as sound at the program's own rate."""
        done = subprocess.run(self._command, input=text.encode(), capture_output=True, timeout=60, check=False)
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()
            raise OSError(f"{self._command[0]}: exit code {done.returncode}: {(last or ['no message'])[-1]}")
        samples, rate = read_wav(io.BytesIO(done.stdout))
        like = self._times.say(text)
        stretch = len(samples) / rate / like.duration if like.duration else 1.0
        return replace(like, samples=samples, rate=rate, phonemes=_stretched(like.phonemes, stretch))


def _stretched(phonemes: Sequence[Phoneme], by: float) -> tuple[Phoneme, ...]:
    return tuple((start * by, name) for start, name in phonemes)


def read_wav(file: Any) -> tuple[Samples, int]:
    """(n,) int16 samples of one channel, and the rate in Hz, of a 16-bit WAV (channels are averaged).

    Raises:
        OSError: not a WAV, or not of 16 bits.
    """
    try:
        with wave.open(file) as sound:
            if sound.getsampwidth() != 2:
                raise OSError(f"{file}: expected a WAV of 16 bits, got {8 * sound.getsampwidth()}")
            data, channels = sound.readframes(sound.getnframes()), sound.getnchannels()
            samples = np.frombuffer(data, "<i2")
            whole = samples[: len(samples) // channels * channels].reshape(-1, channels)
            return whole.mean(1).astype(np.int16), sound.getframerate()
    except (wave.Error, EOFError) as error:
        raise OSError(f"{file}: not a WAV that can be read ({error})") from None


def write_wav(file: Any, samples: Samples, rate: int) -> None:
    """Write one channel of 16 bits to a name or an open file."""
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())


if __name__ == "__main__":  # python voice.py "I am so happy to see you" hello.wav
    said = Espeak().say(sys.argv[1])
    write_wav(sys.argv[2], said.samples, said.rate)
