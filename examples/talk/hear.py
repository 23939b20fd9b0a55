"""Ears: sound to utterances, utterances to words."""

from __future__ import annotations

import io
import json
import queue
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from voice import Samples, read_wav, write_wav

RATE = 16_000
"""Hz, what recognisers want."""
BLOCK = 0.05
"""Seconds of sound that are judged at once."""


class Recogniser(Protocol):
    """What makes words of sound."""

    def words(self, samples: Samples) -> str:
        """What was said in (n,) int16 samples at :data:`RATE`: text, or a recogniser's JSON, which `emo_face` reads.

        Empty if nothing was understood. Raises OSError if it cannot listen.
        """
        ...


class Pocketsphinx:
    """pocketsphinx (BSD-2-Clause), English, offline, its model in the wheel: for few known phrases and for tests.

    Args:
        phrases: what can be said; empty: free dictation, which gets most words wrong.
    """

    def __init__(self, phrases: Sequence[str] = ()) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError:
            raise OSError("--ear pocketsphinx: pip install pocketsphinx") from None
        self._decoder = Decoder(samprate=RATE, loglevel="FATAL")
        if phrases:
            known = " | ".join(_plain(phrase) for phrase in phrases)
            self._decoder.add_jsgf_string("phrases", f"#JSGF V1.0; grammar phrases; public <said> = {known};")
            self._decoder.activate_search("phrases")

    def words(self, samples: Samples) -> str:
        """See :class:`Recogniser`."""
        self._decoder.start_utt()
        self._decoder.process_raw(samples.astype("<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found is not None else ""


def _plain(phrase: str) -> str:
    return "".join(letter for letter in phrase.lower() if letter.isalpha() or letter in " '")


class Vosk:
    """Vosk (Apache-2.0), offline, many languages: ``pip install vosk``, a folder of alphacephei.com/vosk/models."""

    def __init__(self, model: Path) -> None:
        try:
            from vosk import KaldiRecognizer, Model
        except ImportError:
            raise OSError("--ear vosk: pip install vosk") from None
        if not model.is_dir():
            raise OSError(f"--model: {model} is no folder; unpack a model of alphacephei.com/vosk/models there")
        self._recogniser = KaldiRecognizer(Model(str(model)), RATE)
        self._recogniser.SetWords(True)  # for the confidence

    def words(self, samples: Samples) -> str:
        """See :class:`Recogniser`."""
        self._recogniser.AcceptWaveform(samples.astype("<i2").tobytes())
        return str(self._recogniser.FinalResult())


class Whisper:
    """A Whisper server with OpenAI's interface (``/v1/audio/transcriptions``): faster-whisper-server, vLLM, LocalAI.

    Args:
        url: for example ``http://127.0.0.1:8000``. model: the server's name of its model.
    """

    def __init__(self, url: str, model: str = "whisper-1", timeout: float = 30.0) -> None:
        self._url, self._model, self._timeout = f"{url.rstrip('/')}/v1/audio/transcriptions", model, timeout

    def words(self, samples: Samples) -> str:
        """See :class:`Recogniser`."""
        file, edge = io.BytesIO(), uuid.uuid4().hex
        write_wav(file, samples, RATE)
        fields = {"model": self._model, "response_format": "json"}
        body = b"".join(
            f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        )
        head = 'Content-Disposition: form-data; name="file"; filename="said.wav"\r\nContent-Type: audio/wav\r\n\r\n'
        body += f"--{edge}\r\n{head}".encode() + file.getvalue() + f"\r\n--{edge}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
        try:
            with urllib.request.urlopen(urllib.request.Request(self._url, body, kind), timeout=self._timeout) as answer:
                said = json.loads(answer.read(1 << 20))
            return str(said["text"])
        except (urllib.error.URLError, ValueError, KeyError, TypeError) as error:
            raise OSError(f"{self._url}: {error}") from None


def utterances(blocks: Iterable[Samples], pause: float = 0.7, longest: float = 15.0) -> Iterator[Samples]:
    """Cut a stream of blocks of :data:`BLOCK` seconds where somebody pauses.

    Speech is what is four times as loud as the quietest tenth of the last ten seconds.

    Args:
        pause: seconds of silence that end an utterance. longest: seconds after which one is cut.
    """
    held: list[Samples] = []
    loud = [20.0] * 20  # a second of silence before, so that somebody may speak at once
    quiet, speaking = 0.0, False
    for block in blocks:
        level = float(np.sqrt(np.mean(np.square(block, dtype=np.float64))))
        loud = [*loud[-round(10 / BLOCK) :], level]
        voiced = level > 4 * max(float(np.quantile(loud, 0.1)), 20.0)
        held = [*held, block] if speaking or voiced else [*held[-4:], block]  # a fifth of a second before it begins
        speaking, quiet = speaking or voiced, 0.0 if voiced else quiet + BLOCK
        if speaking and (quiet >= pause or len(held) * BLOCK >= longest):
            yield np.concatenate(held)
            held, speaking = [], False
    if speaking:
        yield np.concatenate(held)


def from_wav(path: Path) -> Iterator[Samples]:
    """Blocks of a WAV file, at :data:`RATE`, with silence behind it. Raises OSError if it cannot be read."""
    samples, rate = read_wav(str(path))
    yield from _blocks(np.concatenate([resampled(samples, rate), np.zeros(RATE, np.int16)]))


def resampled(samples: Samples, rate: int) -> Samples:
    """The same sound at :data:`RATE`, by SciPy's polyphase filter."""
    from scipy.signal import resample_poly

    other = resample_poly(samples.astype(np.float64), RATE, rate)
    return np.clip(other, -32768, 32767).astype(np.int16)


def from_microphone(device: str = "") -> Iterator[Samples]:
    """Blocks of a microphone, for ever: a name or number of ``python -m sounddevice``, empty for the default one."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio is missing
        raise OSError(f"no microphone: {error}; pip install sounddevice, sudo apt-get install libportaudio2") from None
    got: queue.Queue[Samples] = queue.Queue()
    name: Any = int(device) if device.isdigit() else device or None
    try:
        with sounddevice.InputStream(
            RATE, round(BLOCK * RATE), name, 1, "int16", callback=lambda data, *_: got.put(data[:, 0].copy())
        ):
            while True:
                yield got.get()
    except sounddevice.PortAudioError as error:
        raise OSError(f"microphone {device or 'default'}: {error}; `python -m sounddevice` lists them") from None


def _blocks(samples: Samples) -> Iterator[Samples]:
    size = round(BLOCK * RATE)
    yield from (samples[start : start + size] for start in range(0, len(samples) - size + 1, size))
