"""The speech student at run time: what was said in, seven calibrated probabilities out. onnxruntime and NumPy only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError
from emo_face.core.labels import basic7, label_set
from emo_face.core.transcript import language
from emo_face.core.types import FloatArray
from emo_face.core.versions import check_metadata_version
from emo_face.perception.nano.wordpiece import WordPiece, clean, latin_share
from emo_face.runtime.engines.plan import Plan
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.store import ModelStore, open_store, sha256_of

MODEL = "nano_text"
"""Name in the model store."""

PLAN = Plan(MODEL, cpu_only="its activations become int8 at run time, for which neither CUDA nor TensorRT has kernels")
# onnxruntime's OperatorKernels.md and onnx-tensorrt's operators.md: no DynamicQuantizeLinear

_FIX = "delete the file and get it anew, or make it by `emo-face train text`"


@dataclass(frozen=True, slots=True)
class TextReading:
    """What one utterance says.

    Attributes:
        probabilities: (7,) in the order of basic7, summing to 1.
        quality: [0, 1]; share of the utterance that the model can read. At 0 the distribution is flat.
    """

    probabilities: FloatArray
    quality: float


class TextStudent:
    """Emotion of an utterance from its words.

    The ONNX file is complete: graph, vocabulary, calibration and label names (in its metadata).

    Attributes:
        name: ``nano_text``. label_set: ``basic7``. path: the ONNX file. tokens: its tokeniser.
        languages: ISO 639 codes of what it was trained on.
        hashes: file name -> sha256 of the weights in use.
    """

    name = MODEL
    languages: tuple[str, ...] = ("en",)

    def __init__(self, path: Path, engines: Engines | None = None) -> None:
        """Load ``path``; ``engines`` chooses what it runs on, None takes one thread of the CPU.

        Raises:
            ModelError: the file is damaged or is not a speech student; names the file, the field and the fix.
        """
        self._backend = (engines or Engines("cpu")).load(path, PLAN)
        meta = self._backend.metadata
        check_metadata_version(path, meta, 1)
        self.label_set = _field(path, meta, "label_set")
        labels = tuple(json.loads(_field(path, meta, "labels")))
        if self.label_set != "basic7" or labels != label_set("basic7").labels:
            raise ModelError(f"{path}: metadata labels: expected {', '.join(basic7().labels)}, got {labels}; {_FIX}")
        try:
            self._max_length = int(_field(path, meta, "max_length"))
            self.tokens = WordPiece(_field(path, meta, "vocabulary").split("\n"))
        except ValueError as error:
            raise ModelError(f"{path}: metadata vocabulary or max_length: {error}; {_FIX}") from None
        self.path = path
        self.hashes: Mapping[str, str] = {path.name: sha256_of(path)}

    @classmethod
    def from_store(cls, store: ModelStore | None = None, path: str | Path | None = None) -> TextStudent:
        """Load the checked file of the model store, or a given one. Raises ModelError as the store does."""
        return cls((store or open_store()).resolve(MODEL, path).path)

    def read(self, text: str, locale: str = "") -> TextReading:
        """Read one utterance of any length and script.

        Text without letters, digits or emoji, and text in a script other than Latin, is not read: the distribution is
        flat and ``quality`` 0; a mixture lies between, by its share of Latin letters. So is text whose ``locale``
        (``de-DE``, ``nl``) names a language outside ``languages``; an empty one says nothing.
        """
        cleaned = clean(text)
        flat = np.full(len(basic7()), 1.0 / len(basic7()))
        spoken = language(locale)
        quality = latin_share(cleaned) if not spoken or spoken in self.languages else 0.0
        if quality == 0.0:
            return TextReading(flat, 0.0)
        ids = np.asarray([self.tokens.encode(cleaned, self._max_length)], dtype=np.int64)
        known = 1.0 - float(np.mean(ids[0, 1:-1] == self.tokens.unknown))
        quality *= known
        # One utterance a call: the int8 activations are scaled by the largest of the batch, so neighbours would matter.
        said = np.asarray(self._backend.run({"ids": ids})[0][0], dtype=np.float64)
        if not np.isfinite(said).all():
            return TextReading(flat, 0.0)
        return TextReading(quality * said / said.sum() + (1.0 - quality) * flat, quality)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n, 7) probabilities of ``texts`` in the order of basic7; (0, 7) for none."""
        rows = [self.read(text).probabilities for text in texts]
        return np.stack(rows).astype(np.float64) if rows else np.zeros((0, len(basic7())))


def _field(path: Path, meta: Mapping[str, str], key: str) -> str:
    try:
        return meta[key]
    except KeyError:
        raise ModelError(f"{path}: metadata {key} is missing, so this is not a speech student; {_FIX}") from None
