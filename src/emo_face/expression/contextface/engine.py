"""A loaded ContextFace with everything it needs: one copy of the weights for expressions and for free-form answers."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from emo_face.core.errors import UserError
from emo_face.core.types import Box, ImageArray
from emo_face.expression.contextface import checkpoint, prompts, talk
from emo_face.expression.contextface.answer import Answer
from emo_face.expression.contextface.conditions import CONDITIONS, asked_of
from emo_face.expression.contextface.model import ContextFace, merged
from emo_face.expression.contextface.onepass import OnePass
from emo_face.expression.contextface.prompts import Perspective
from emo_face.expression.contextface.tokens import TokenBuilder
from emo_face.expression.contextface.vision import Eyes, NoEyes, eyes_of
from emo_face.runtime.weights import model_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineSettings:
    """Where the weights are and how they are held.

    Attributes:
        model: folder of a trained ContextFace. backbone: folder of the checkpoint it was trained on; empty takes the
            one its card names. device: ``cpu``, ``cuda`` or ``cuda:1``. dtype: ``float32``, ``bfloat16`` or
            ``float16``; empty takes float32 on a CPU, bfloat16 on a GPU.
        quantisation: ``none``, ``4bit`` or ``8bit``.
    """

    model: Path
    backbone: str = ""
    device: str = "cpu"
    dtype: str = ""
    quantisation: str = "none"


class Engine:
    """Expressions in one pass, answers by streaming, and what happens when the GPU is full.

    Attributes:
        hashes: file name -> sha256 of the folder's files. degraded: why less than asked for was used in the last call,
            or empty.
    """

    def __init__(
        self, model: ContextFace, builder: TokenBuilder, eyes: Eyes | NoEyes, hashes: Mapping[str, str] | None = None
    ) -> None:
        self.model, self.builder, self.eyes = model, builder, eyes
        self.config = model.config
        self.onepass = OnePass(model, builder, eyes)
        self.hashes: Mapping[str, str] = dict(hashes or {})
        self.degraded = ""
        self._weights = threading.Lock()
        self._urgent = 0
        self._calm = threading.Condition()

    def answer(
        self,
        quote: str = "",
        situation: str = "",
        image: ImageArray | None = None,
        box: Box | None = None,
        perspective: Perspective = "speaker",
        exact: bool = False,
    ) -> Answer:
        """Emotions and faces that fit a situation; ``image`` BGR, ``box`` its person in pixels.

        The question has a form that the model was trained on: what it cannot use is left out. ``exact`` asks with all
        that is given, as an evaluation of an untrained form must.

        On a full GPU the prefix cache goes first, then the picture; what was left out is in :attr:`degraded`.

        Raises:
            UserError: nothing is given, nothing that the model knows, the picture alone without a box, or the GPU is
                too full even for the words.
            ModelError: the model gave a number that is not finite.
        """
        trained = tuple(CONDITIONS) if exact else self.model.config.conditions
        form = asked_of(trained, quote, situation, image is not None, box is not None, perspective)
        quote, situation = form.texts(quote, situation)
        picture = self.eyes.fitted(image, box) if image is not None and form.picture else None
        self.degraded = ""
        for without in ("", "prefix cache", "picture"):
            if without:
                self._make_room(without)
            if without == "picture":
                if not (quote.strip() or situation.strip()):
                    break
                picture = None
            try:
                with self._first(), self._weights:
                    return self.onepass.answer(quote, situation, picture, perspective)
            except torch.OutOfMemoryError:
                continue
        raise UserError(
            "GPU memory is full even for the words alone; use 8bit or 4bit quantisation or a smaller backbone"
        )

    def answers(
        self,
        questions: Sequence[tuple[str, str, ImageArray | None, Box | None]],
        perspective: Perspective = "speaker",
    ) -> list[Answer]:
        """What :meth:`answer` gives to each (quote, situation, image, box), ``exact``, from one pass if it fits.

        Raises:
            UserError, ModelError: as :meth:`answer`.
        """
        with self._first(), self._weights, suppress(torch.OutOfMemoryError):
            asked = [
                self.onepass.asked(
                    quote, situation, None if image is None else self.eyes.fitted(image, box), perspective
                )
                for quote, situation, image, box in questions
            ]
            return list(self.onepass.several(asked))
        return [self.answer(*question, perspective, exact=True) for question in questions]

    def ask(
        self,
        question: str = "",
        quote: str = "",
        image: ImageArray | None = None,
        box: Box | None = None,
        max_new_tokens: int = 96,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[str]:
        """A free-form answer, piece by piece; without a question the situation behind the quote.

        Raises:
            UserError: neither a question nor a quote.
        """
        pieces = prompts.free_question(question, quote, image is not None, box is not None)
        return self.say(pieces, image, box, max_new_tokens, stop)

    def say(
        self,
        question: prompts.Pieces,
        image: ImageArray | None = None,
        box: Box | None = None,
        max_new_tokens: int = 96,
        stop: Callable[[], bool] = lambda: False,
        turns: Sequence[prompts.Turn] = (),
    ) -> Iterator[str]:
        """The answer to a question of the prompt table, piece by piece; ``turns``: what was said before.

        Weights are held for one token at a time and expressions go first, so one of them waits for at most one token.
        """
        picture = self.eyes.fitted(image, box) if image is not None else None
        source = talk.stream(self.model, self.builder, self.eyes, question, picture, max_new_tokens, stop, turns)
        while True:
            with self._calm:
                self._calm.wait_for(lambda: not self._urgent)
            with self._weights:
                piece = next(source, None)
            if piece is None:
                return
            yield piece

    @contextmanager
    def _first(self) -> Iterator[None]:
        """Mark that an expression waits for the weights."""
        with self._calm:
            self._urgent += 1
        try:
            yield
        finally:
            with self._calm:
                self._urgent -= 1
                self._calm.notify_all()

    def _make_room(self, without: str) -> None:
        self.onepass.forget()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.degraded = f"GPU memory is full: answered without the {without}; use 8bit or 4bit quantisation"
        log.warning(self.degraded)


def load_engine(settings: EngineSettings) -> Engine:
    """Load backbone, adapter and head, and fold the adapter in.

    Raises:
        ModelError: anything is missing or does not fit; names it and the fix.
    """
    folder = model_folder(settings.model)
    card = checkpoint.read_card(folder)
    backbone = settings.backbone or str(card.get("backbone", ""))
    dtype = settings.dtype or ("bfloat16" if settings.device.startswith("cuda") else "float32")
    base = checkpoint.load_backbone(backbone, dtype, settings.quantisation, settings.device)
    tokenizer, processor = checkpoint.load_tools(backbone)
    model = merged(checkpoint.load_model(folder, base, tokenizer))
    config = model.config
    eyes = eyes_of(model.base, processor, config.image_size)
    kind = str(model.base.config.model_type)
    builder = TokenBuilder(tokenizer, kind, model.image_id, eyes.tokens, config.chat, config.system)
    return Engine(model, builder, eyes, {f"contextface/{name}": digest for name, digest in card["sha256"].items()})
