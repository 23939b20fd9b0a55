"""ContextFace from its exported graphs, on whatever engine runs them: expressions only, no torch, no transformers."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.configs import from_dict
from emo_face.core.errors import ModelError, UserError
from emo_face.core.types import Box, FloatArray, ImageArray
from emo_face.expression.contextface.answer import Answer, answer_of
from emo_face.expression.contextface.conditions import asked_of
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.exported.plans import ARKIT, VISION, prefill_plan
from emo_face.expression.contextface.exported.table import (
    CARD,
    EXPORT_AGAIN,
    TOKENIZER,
    PictureForm,
    PromptTable,
    read_export,
    read_picture_form,
)
from emo_face.expression.contextface.picture import fingerprint, fitted
from emo_face.expression.contextface.prompts import Perspective
from emo_face.face.expressions.basis import FaceCode
from emo_face.face.motion.keyframes import ARKIT_BASIS
from emo_face.runtime import weights
from emo_face.runtime.engines.base import Array, Engine
from emo_face.runtime.engines.select import Engines

WEIGHTS_CARD = "contextface.json"
"""Of a trained folder, which may hold graphs too."""
THREADS = 2
"""Of the prefill on a CPU: a robot's cores have other work, but a whole language model is a lot for one of them."""


class ExportedEngine:
    """The same answers as :class:`emo_face.expression.contextface.engine.Engine` gives, from ONNX graphs.

    Attributes:
        config: of the model; its ``conditions`` are those that the graphs can answer. hashes: file -> sha256.
        degraded: always empty; what a full GPU leads to, the engines say themselves.
    """

    degraded = ""

    def __init__(
        self,
        card: Mapping[str, Any],
        table: PromptTable,
        prefill: Engine,
        vision: Engine | None = None,
        picture: PictureForm | None = None,
        arkit: Engine | None = None,
        where: Path = Path(CARD),
    ) -> None:
        config = from_dict(ContextFaceConfig, card["config"], str(where))
        self.config = replace(config, conditions=tuple(name for name in config.conditions if name in table.forms))
        self.hashes = {f"contextface/{name}": str(digest) for name, digest in card["sha256"].items()}
        self._longest, self._table, self._form = int(card["prompt"]), table, picture
        self._prefill, self._vision, self._arkit = prefill, vision, arkit
        self._lock = threading.Lock()
        self._seen: tuple[str, Array] = ("", self._nothing())

    def answer(
        self,
        quote: str = "",
        situation: str = "",
        image: ImageArray | None = None,
        box: Box | None = None,
        perspective: Perspective = "speaker",
    ) -> Answer:
        """Emotions and faces that fit a situation; ``image`` BGR, ``box`` its person in pixels.

        Raises:
            UserError: nothing is given, nothing that the model knows, the picture alone without a box, or more words
                than the graph takes.
            ModelError: the model gave a number that is not finite.
        """
        given = image is not None and self._form is not None
        form = asked_of(self.config.conditions, quote, situation, given, box is not None, perspective)
        feeds = prompt_feed(self._table.ids(form, *form.texts(quote, situation)), self._longest)
        tokens = feeds["ids"].size
        with self._lock:
            if self._form is not None:
                used = fitted(image, self._form.size, box) if image is not None and form.picture else None
                feeds["picture"] = self._nothing() if used is None else self._rows(used)
            log_probs, faces = self._prefill.run(feeds)
        exact = (np.asarray(log_probs, np.float64), np.asarray(faces, np.float64))
        return answer_of(self.config, form, *exact, tokens=tokens)

    def ask(self, *question: Any, **options: Any) -> Iterator[str]:
        """Raises UserError: graphs answer in a form that is fixed."""
        raise UserError("an exported ContextFace has no words of its own; name the trained folder for ~/ask")

    def arkit(self, face: FloatArray) -> FloatArray | None:
        """(52,) ARKit activations of a face (outputs,) of an answer; None if no graph for its basis was."""
        if self.config.basis == ARKIT_BASIS:
            return face
        if self._arkit is None:
            return None
        parts = {name: face[where] for name, where in self.config.slices().items()}
        jaw, lids = parts.get("jaw", np.zeros(3)), parts.get("eyelids", np.zeros(2))
        code = FaceCode(parts["expression"], jaw, lids, np.zeros(2)).stacked()
        (found,) = self._arkit.run({"code": np.asarray(code, np.float32)[None]})
        return np.asarray(found[0], np.float64)

    def _rows(self, picture: ImageArray) -> Array:
        """The picture as tokens; the last one is kept, as words change oftener than pictures."""
        assert self._form is not None
        assert self._vision is not None
        mark = fingerprint(picture)
        if mark != self._seen[0]:
            (rows,) = self._vision.run({self._vision.inputs[0].name: self._form.pixels(picture)})
            self._seen = (mark, rows)
        return self._seen[1]

    def _nothing(self) -> Array:
        """What the graph takes if there is no picture."""
        wanted = next((spec for spec in self._prefill.inputs if spec.name == "picture"), None)
        return np.zeros([side or 1 for side in wanted.shape] if wanted else 0, np.float32)


def prompt_feed(prompt: Sequence[int], longest: int) -> dict[str, Array]:
    """A prompt as the prefill takes it, ``ids`` (1, n). Raises UserError if it is too long."""
    if len(prompt) > longest:
        raise UserError(
            f"prompt: {len(prompt)} tokens, the graph takes {longest}; say less, or export a larger --prefill"
        )
    return {"ids": np.array([prompt], np.int64)}


def is_exported(folder: Path) -> bool:
    """Whether a folder holds graphs and not weights; also an export that was never finished, which has no card."""
    return (folder / CARD).is_file() or ((folder / "head.onnx").is_file() and not (folder / WEIGHTS_CARD).is_file())


def load_exported(folder: Path, engines: Engines) -> ExportedEngine:
    """Load the graphs of ``emo-face export contextface --prefill N`` on what ``engines`` chooses.

    Raises:
        ModelError: a file is missing or is not the one that was exported; names it.
    """
    from tokenizers import Tokenizer

    card = read_export(folder)
    for name, digest in card["sha256"].items():
        weights.check_file(folder / name, digest)
    if "prefill.onnx" not in card["sha256"]:
        raise ModelError(f"{folder}: no prefill.onnx, so it cannot answer; {EXPORT_AGAIN} (--prefill N)")
    picture = read_picture_form(card, folder / CARD)
    table = PromptTable(card, Tokenizer.from_file(str(folder / TOKENIZER)))
    prefill = engines.load(folder / "prefill.onnx", prefill_plan(int(card["prompt"])), THREADS)
    vision = engines.load(folder / "vision.onnx", VISION) if picture is not None else None
    basis = from_dict(ContextFaceConfig, card["config"], str(folder / CARD)).basis
    fits = "arkit.onnx" in card["sha256"] and card["arkit_basis"] == basis
    arkit = engines.load(folder / "arkit.onnx", ARKIT) if fits else None
    return ExportedEngine(card, table, prefill, vision, picture, arkit, folder / CARD)
