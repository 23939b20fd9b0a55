"""``~/generate`` and ``~/ask`` of the expression node: expressions on request, and ContextFace's own words."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from emo_face_msgs.srv import AskContext, GenerateExpression
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from emo_face.core.errors import UserError
from emo_face.core.types import Box, ExpressionTarget, ImageArray
from emo_face.expression.model import Context
from emo_face.expression.policy import load_perspectives
from emo_face.expression.prototypes import held
from emo_face.expression.shown import shown_of
from emo_face.expression.words import Manner, face_for
from emo_face.face.expressions.basis import open_basis
from emo_face.face.expressions.facs import default_facs
from emo_face.nodes.answers import Answers
from emo_face.perception.nano.readers import TextReaders, open_readers
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.messages.convert import expression_message
from emo_face.ros.parameters.schema import Value
from emo_face.runtime.store import open_store

PERSPECTIVES = ("", "mirror", "listener")


def serve_generation(node: EmoNode, model: Callable[[], Any]) -> None:
    """Create ``~/generate``; ``model`` gives the expression backend, or None while unconfigured."""

    def answer(request: GenerateExpression.Request, response: GenerateExpression.Response) -> Any:
        start = time.monotonic()
        try:
            target = generate(model(), request, node.params.values, node.clock.now())
            response.expression = expression_message(target, frame_id="", latency=time.monotonic() - start)
            response.success = True
        except UserError as error:
            response.message = str(error)
        except Exception as error:  # a failed request must not take the node down
            node.failed(error)
            response.message = f"{type(error).__name__}; the node's log has more"
        return response

    node.create_service(GenerateExpression, "~/generate", answer, callback_group=MutuallyExclusiveCallbackGroup())


def serve_context_questions(
    node: EmoNode, model: Callable[[], Any], look: Callable[[], Context], max_new_tokens: int = 96
) -> None:
    """Create the service and the action ``~/ask`` of ContextFace.

    ``look`` gives what is seen now, with the newest picture if there is one.
    """

    def pieces(request: Any) -> Iterator[str]:
        backend = model()
        if backend is None:
            raise UserError("the node is not configured")
        image, box = picture_of_person(look(), request.person_id)
        for piece in backend.engine.ask(request.question, request.quote, image, box, max_new_tokens):
            if model() is not backend:
                raise UserError("the node is being cleaned up; ask again when it is active")
            yield piece

    Answers(node, AskContext, pieces)


def picture_of_person(context: Context, person_id: str) -> tuple[ImageArray | None, Box | None]:
    """The picture and, in its pixels, the box of the person asked about: that one, else who is followed.

    Raises:
        UserError: a person is named who is not in view; says who is.
    """
    scene, seen = context.scene, context.followed
    if person_id:
        people = {one.person.person_id: one for one in scene.people} if scene is not None else {}
        if person_id not in people:
            there = f"there are {', '.join(people)}" if people else "nobody is"
            raise UserError(f"person_id: {person_id!r} is not in view; {there}")
        seen = people[person_id]
    if scene is None or scene.image is None:
        return None, None
    if seen is None:
        return scene.image, None
    from emo_face.expression.contextface.picture import box_of

    return scene.image, box_of(seen, scene.image.shape[1] / max(scene.width, 1))


def generate(model: Any, request: Any, values: Mapping[str, Value], now: float) -> ExpressionTarget:
    """The expression that a ``GenerateExpression`` request asks for.

    Raises:
        UserError: not configured, nothing given, an unknown emotion or perspective, or an intensity outside [0, 1];
            names the field. ModelError: words, and no speech student.
    """
    if model is None:
        raise UserError("the node is not configured")
    if request.perspective not in PERSPECTIVES:
        raise UserError(f"perspective: {request.perspective!r}, expected mirror or listener, or empty")
    if not 0.0 <= request.intensity <= 1.0:
        raise UserError(f"intensity: {request.intensity}, expected a number in (0, 1], or 0 for the model's own")
    perspective = request.perspective or str(values["perspective"])
    words = request.quote.strip() or request.situation.strip()
    if words and hasattr(model, "ask"):
        from emo_face.expression.contextface.prompts import context_kind

        answer = model.ask(request.quote, request.situation, perspective=perspective)
        kind = context_kind(request.quote, request.situation, False)
        target: ExpressionTarget = model.target(
            answer, Context(now), kind, request.emotion, float(request.intensity), perspective
        )
        return target
    if not request.emotion:
        if not words:
            raise UserError("emotion, quote and situation are empty: give one of them")
        return answer_words(words, perspective, float(request.intensity), values, now)
    strength = float(request.intensity) or float(str(values["intensity"]))
    return shown(request.emotion, strength, perspective, float(str(values["valid_for"])), now)


@cache
def reader() -> TextReaders:
    """The speech students, loaded at the first words. Raises ModelError if it is missing or damaged."""
    return open_readers(open_store())[0]


def answer_words(
    text: str, perspective: str, intensity: float, values: Mapping[str, Value], now: float
) -> ExpressionTarget:
    """The face for what somebody said: the speaker's own as ``mirror``, a listener's answer as ``listener``."""
    facs = default_facs()
    manner = Manner(perspective, load_perspectives(facs)[perspective], intensity, float(str(values["intensity"])))
    return face_for(text, reader().read(text), manner, facs, open_basis(), now)


def shown(label: str, intensity: float, perspective: str, valid_for: float, now: float) -> ExpressionTarget:
    """The prototype of one emotion, ``intensity`` in (0, 1]. Raises ConfigError for a label that has none."""
    facs = default_facs()
    mixture = facs.mixture_of_label(label)
    code = open_basis().encode(facs.arkit(mixture, intensity))
    return ExpressionTarget(
        stamp=now,
        person_id="",
        perspective=perspective,
        feels=None,
        shown=shown_of(mixture, intensity),
        keyframes=(held(code),),
        basis=open_basis().name,
        gaze=np.zeros(2),
        confidence=1.0,
        valid_for=valid_for if math.isfinite(valid_for) else 1.0,
        source="prototypes",
    )
