"""An expression backend that asks a server what the person feels, and answers by the prototypes' faces.

A server takes a tenth of a second to seconds, so it is asked beside: until its answer is there, and while it gives
none, the emotion that was read from the person is answered. The newest situation is asked next; one that got no answer
is asked again while it lasts.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from emo_face.core.errors import UserError
from emo_face.core.types import ExpressionTarget, FloatArray
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.answer import emotion_of, in_label_order
from emo_face.expression.contextface.picture import HeldPicture, SeenPicture
from emo_face.expression.endpoint.client import EndpointClient, Unreachable
from emo_face.expression.model import Context, ExpressionModel, Scene
from emo_face.expression.prototypes import PrototypeExpression, PrototypeSettings
from emo_face.runtime.backoff import Backoff

KEPT = 16
"""Answers that are kept: somebody may say the same again."""
Key = tuple[str, int]


class EndpointExpression(ExpressionModel):
    """A chat model's seven probabilities behind the expression node.

    Attributes:
        engine: answers free questions (``ask``).
    """

    name = "endpoint"

    def __init__(self, client: EndpointClient, settings: PrototypeSettings, image_period: float = 2.0) -> None:
        self.engine, self._image_period = client, image_period
        self.settings = settings
        self.basis, self.hashes = self._faces.basis, self._faces.hashes
        self._look = HeldPicture()
        self._asked: tuple[Key, SeenPicture | None, Future[FloatArray]] | None = None
        self._answers: OrderedDict[Key, tuple[SeenPicture | None, FloatArray]] = OrderedDict()
        self._tries = Backoff(first=1.0, longest=30.0, give_up=10**9)
        self._again = float("-inf")
        self.warning = ""

    @property
    def settings(self) -> PrototypeSettings:
        """Manners of the face; may be changed while it runs."""
        return self._settings

    @settings.setter
    def settings(self, settings: PrototypeSettings) -> None:
        self._faces, self._settings = PrototypeExpression(settings), settings

    def express(self, context: Context, now: float) -> ExpressionTarget:
        """See :meth:`emo_face.expression.model.ExpressionModel.express`; never waits for the server."""
        self._collect(now)
        quote = prompts.safe(context.speech.text) if context.speech is not None else ""
        look = self._look.of(context, self._image_period)
        if not quote and look is None:
            return self._faces.express(context, now)
        key = (quote, id(look))
        known = self._answers.get(key)
        if known is None:
            self._ask(key, look, now)
            return self._faces.express(context, now)
        return replace(self._faces.express(felt(context, known[1]), now), source=self.name)

    def _ask(self, key: Key, look: SeenPicture | None, now: float) -> None:
        """Ask unless an answer is awaited or the server is to be left alone for a while."""
        if self._asked is not None or now < self._again:
            return
        image, box = (look.image, look.box) if look is not None else (None, None)
        future: Future[FloatArray] = Future()
        call = partial(self.engine.emotions, key[0], "", image, box)
        # a thread that nobody waits for: the node ends without the answer
        threading.Thread(target=_fill, args=(future, call), name="endpoint", daemon=True).start()
        self._asked = (key, look, future)

    def _collect(self, now: float) -> None:
        """Take in an answer, or why there is none."""
        if self._asked is None or not self._asked[2].done():
            return
        key, look, future = self._asked
        self._asked = None
        try:
            self._answers[key] = (look, future.result())  # the picture is held: its id stays its own
        except UserError as error:
            later = self._tries.failed(now) or 0.0
            self._again = now + (later if isinstance(error, Unreachable) else self._tries.longest)
            self.warning = f"{error}; the face answers what was read from the person"
            return
        self._tries.failures, self._again, self.warning = 0, float("-inf"), ""
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)


def _fill(future: Future[FloatArray], call: Callable[[], FloatArray]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


def felt(context: Context, probabilities: FloatArray) -> Context:
    """The context with what the server says of the person who is followed, or of who spoke unseen."""
    emotion = emotion_of(in_label_order(prompts.words(), probabilities))
    emotion = replace(emotion, quality=float(emotion.active.any()))
    if context.followed is not None:
        return replace(context, followed=replace(context.followed, emotion=emotion, arkit=None))
    return replace(context, scene=replace(context.scene or Scene(context.stamp, 1, 1), room=emotion))
