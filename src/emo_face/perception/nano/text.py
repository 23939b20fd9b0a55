"""The speech student at run time: what was said in, calibrated emotions out. onnxruntime and NumPy only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError
from emo_face.core.labels import LabelSet, basic7, label_set
from emo_face.core.transcript import language
from emo_face.core.types import FloatArray
from emo_face.core.versions import check_metadata_version
from emo_face.perception.nano.language import PRIOR, TAG_VOTE, LanguageDetector, share_known
from emo_face.perception.nano.sentences import SentenceVectors
from emo_face.perception.nano.wordpiece import WordPiece, clean, readable_shares
from emo_face.runtime.engines.plan import Plan
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.store import ModelStore, open_store, sha256_of

MODEL = "nano_text"
"""Name in the model store."""
VERSION = 2
"""Of the file: 1 had the seven basics only."""
FINE_LABELS = "goemotions28"
"""Label set of :attr:`TextReading.emotions`."""
CALM_WINDOW = 0.25
"""What a window counts that is sure to be neutral, beside one that is sure not to be: in a long line the feeling may be
in one sentence, and the calm ones around it do not take it back."""

PLAN = Plan(MODEL, cpu_only="its activations become int8 at run time, for which neither CUDA nor TensorRT has kernels")
# onnxruntime's OperatorKernels.md and onnx-tensorrt's operators.md: no DynamicQuantizeLinear

_FIX = "delete the file and get it anew, or make it by `emo-face train text`"


@dataclass(frozen=True, slots=True)
class TextReading:
    """What one utterance says.

    Attributes:
        probabilities: (7,) in the order of basic7, summing to 1.
        quality: [0, 1]; share of the utterance that the model can read, less where no label clearly leads and the file
            asks for that (``lead``). At 0 the distribution is flat.
        emotions: (28,) independent probabilities in the order of the set ``goemotions28``; 0 at quality 0.
        valence, arousal: [-1, 1]; 0 at quality 0.
    """

    probabilities: FloatArray
    quality: float
    emotions: FloatArray
    valence: float = 0.0
    arousal: float = 0.0


class Words(Protocol):
    """What makes the graph's inputs of a line."""

    def inputs(self, cleaned: str) -> tuple[list[dict[str, NDArray[np.generic]]], float]:
        """Inputs of the graph, one dictionary a window of the line, and the share of the line in them, [0, 1]."""
        ...


@dataclass(frozen=True, slots=True)
class Pieces:
    """Word pieces of the file's own vocabulary."""

    tokens: WordPiece
    max_length: int

    def inputs(self, cleaned: str) -> tuple[list[dict[str, NDArray[np.generic]]], float]:
        """As :class:`Words` says. One window a call: the int8 activations are scaled by the largest of the batch."""
        pieces = self.tokens.pieces(cleaned)
        known = 1.0 - sum(piece == self.tokens.unknown for piece in pieces) / max(len(pieces), 1)
        windows = self.tokens.windows(pieces, self.max_length)
        return [{"ids": np.asarray([ids], dtype=np.int64)} for ids in windows], known


class TextStudent:
    """Emotion of an utterance from its words.

    The ONNX file is complete: graph, calibration, thresholds, label names, language detector, and the vocabulary; or
    the hash of the sentence encoder that stands before it (:mod:`emo_face.perception.nano.sentences`).

    Attributes:
        label_set: ``basic7``. path: the ONNX file. words: what makes its inputs.
        fine: the set of 28 labels. thresholds: (28,) probability from which a fine emotion is there.
        languages: ISO 639 codes of what it reads. scripts: others than Latin that it reads and only those write.
        hashes: file name -> sha256 of the weights in use.
    """

    def __init__(self, path: Path, engines: Engines | None = None) -> None:
        """Load ``path``; ``engines`` chooses what it runs on, None takes one thread of the CPU.

        Raises:
            ModelError: the file is damaged or is not a speech student, or its sentence encoder is missing or another;
                names the file, the field and the fix.
        """
        self._backend = (engines or Engines("cpu")).load(path, PLAN)
        meta = self._backend.metadata
        self.label_set = _field(path, meta, "label_set")
        check_metadata_version(path, meta, VERSION)
        self.fine = label_set(FINE_LABELS)
        _same(path, "labels", _field(path, meta, "labels"), basic7())
        _same(path, "emotions", _field(path, meta, "emotions"), self.fine)
        field = ""
        try:
            field = "thresholds"
            self.thresholds: NDArray[np.float64] = np.asarray(json.loads(_field(path, meta, field)), dtype=np.float64)
            if self.thresholds.shape != (len(self.fine),):
                raise ValueError(f"expected {len(self.fine)} numbers, got shape {self.thresholds.shape}")
            field = "language"
            self._language = LanguageDetector.from_text(_field(path, meta, field))
            self._prior = float(meta.get("prior", PRIOR))
            self.languages: tuple[str, ...] = tuple(json.loads(meta.get("languages", '["en"]')))
            self.scripts: tuple[str, ...] = tuple(json.loads(meta.get("scripts", "[]")))
            field = "lead"
            self._lead: tuple[float, float] | None = None
            if field in meta:
                low, high = map(float, json.loads(meta[field]))
                self._lead = (low, high)
            field = "sentences, vocabulary or max_length"
            self.words: Words
            if "sentences" in meta:
                self.words = SentenceVectors(meta["sentences"])
            else:
                tokens = WordPiece(_field(path, meta, "vocabulary").split("\n"))
                self.words = Pieces(tokens, int(_field(path, meta, "max_length")))
        except ValueError as error:
            raise ModelError(f"{path}: metadata {field}: {error}; {_FIX}") from None
        self.path = path
        self.hashes: Mapping[str, str] = {path.name: sha256_of(path)}

    @classmethod
    def from_store(cls, store: ModelStore | None = None, path: str | Path | None = None) -> TextStudent:
        """Load the checked file of the model store, or a given one. Raises ModelError as the store does."""
        return cls((store or open_store()).resolve(MODEL, path).path)

    def read(self, text: str, locale: str = "") -> TextReading:
        """Read one utterance of any length, script and language.

        Text without letters, digits or emoji and text in a script or language that the student does not know is not
        read: the distribution is flat and ``quality`` 0; a mixture lies between. A long line is read whole, by windows.

        Args:
            locale: BCP 47 tag of the recogniser, "" if it gives none. It decides about lines that are too short to
                tell ("no"); a tag that the words contradict is not believed.
        """
        cleaned = clean(text)
        flat = TextReading(np.full(len(basic7()), 1.0 / len(basic7())), 0.0, np.zeros(len(self.fine)))
        spoken = language(locale)
        vote = self._prior if not spoken else TAG_VOTE if spoken in self.languages else -TAG_VOTE
        latin, other = readable_shares(cleaned, self.scripts)
        quality = latin * share_known(self._language.known(cleaned, vote)) + other
        if quality == 0.0:
            return flat
        inputs, held = self.words.inputs(cleaned)
        said = _together([self._run(window) for window in inputs])
        if not np.isfinite(said).all():
            return flat
        seven, fine, affect = np.split(said, [len(basic7()), -2])
        quality *= held * clearness(seven, self._lead)
        if quality == 0.0:
            return flat
        valence, arousal = np.clip(quality * affect, -1.0, 1.0).tolist()
        mixed = quality * seven / seven.sum() + (1.0 - quality) * flat.probabilities
        return TextReading(mixed, quality, quality * fine, valence, arousal)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n, 7) probabilities of ``texts`` in the order of basic7; (0, 7) for none."""
        rows = [self.read(text).probabilities for text in texts]
        return np.stack(rows).astype(np.float64) if rows else np.zeros((0, len(basic7())))

    def _run(self, window: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float64]:
        """(37,) outputs of one window: seven probabilities, 28, valence and arousal."""
        return np.concatenate([np.asarray(part[0], dtype=np.float64) for part in self._backend.run(window)])


def clearness(probabilities: FloatArray, lead: tuple[float, float] | None) -> float:
    """How clearly one label leads, in [0, 1]: 0 if it is ``lead[0]`` times as likely as the next, 1 from ``lead[1]``.

    Without ``lead`` it does not matter. The margin is the usual sign of a right answer (Scheffer et al. 2001).
    """
    if lead is None:
        return 1.0
    second, first = np.log(np.maximum(np.sort(probabilities)[-2:], 1e-9))
    low, high = np.log(lead)
    return float(np.clip((first - second - low) / (high - low), 0.0, 1.0))


def _together(windows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One answer of all windows of a line: a mean in which calm windows count less."""
    if len(windows) == 1:
        return windows[0]
    stacked = np.stack(windows)
    weight = CALM_WINDOW + (1.0 - CALM_WINDOW) * (1.0 - stacked[:, basic7().index("Neutral")])
    return np.asarray((stacked * weight[:, None]).sum(0) / weight.sum())


def _same(path: Path, field: str, stored: str, expected: LabelSet) -> None:
    labels = tuple(json.loads(stored))
    if labels != expected.labels:
        raise ModelError(f"{path}: metadata {field}: expected {', '.join(expected.labels)}, got {labels}; {_FIX}")


def _field(path: Path, meta: Mapping[str, str], key: str) -> str:
    try:
        return meta[key]
    except KeyError:
        raise ModelError(f"{path}: metadata {key} is missing, so this is not a speech student; {_FIX}") from None
