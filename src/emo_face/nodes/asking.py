"""``~/ask`` of the perception node: questions to the full tier's model about a person in the newest frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from emo_face_msgs.srv import AskEmotion
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.duration import Duration

from emo_face.core.errors import UserError
from emo_face.core.geometry import apparent_size
from emo_face.core.types import ImageArray, Person
from emo_face.ros.lifecycle import EmoNode


class Answering(Protocol):
    """What answers; :class:`emo_face.perception.multiview.ask.Asker` fills it."""

    def ask(
        self,
        frame: ImageArray,
        person: Person,
        question: str,
        others: Sequence[Person] = ...,
        max_new_tokens: int = ...,
    ) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True)
class PerceivedFrame:
    """The newest frame (BGR) and the people tracked in it. Kept in memory only."""

    frame: ImageArray
    people: Sequence[Person]


def serve_questions(
    node: EmoNode,
    answering: Callable[[], Answering | None],
    look: Callable[[], PerceivedFrame | None],
    max_new_tokens: int = 128,
) -> None:
    """Create ``~/ask`` in a callback group of its own: an answer takes seconds, so the executor needs a second thread.

    ``answering`` gives None if the backend cannot answer, ``look`` None while nothing was seen. An answer in the
    making is given up within a word once ``answering`` gives another model or None (cleanup, the end of the process).
    """

    def ask(request: AskEmotion.Request, response: AskEmotion.Response) -> AskEmotion.Response:
        start = time.monotonic()
        try:
            response.answer = _answer(request, answering, look(), max_new_tokens)
            response.success = True
        except UserError as error:
            response.success, response.message = False, str(error)
        except Exception as error:  # a failed generation must not take the node down
            node.drop("ask_failed", f"question not answered: {error!r}")
            response.success, response.message = False, f"generation failed: {type(error).__name__}; see the log"
        response.latency = Duration(seconds=time.monotonic() - start).to_msg()
        return response

    node.create_service(AskEmotion, "~/ask", ask, callback_group=MutuallyExclusiveCallbackGroup())


def _answer(
    request: Any, answering: Callable[[], Answering | None], seen: PerceivedFrame | None, max_new_tokens: int
) -> str:
    """The answer's text. Raises UserError saying why there is none."""
    model = answering()
    if model is None:
        raise UserError(
            "nothing here can answer: set multiview.ask and multiview.base (InstructBLIP), and configure the node"
        )
    if seen is None or not seen.people:
        raise UserError("nobody is in view")
    if request.person_id:
        found = [person for person in seen.people if person.person_id == request.person_id]
        if not found:
            there = ", ".join(person.person_id for person in seen.people)
            raise UserError(f"person_id: {request.person_id!r} is not in view; there are {there}")
        person = found[0]
    else:
        person = max(seen.people, key=apparent_size)
    others = [other for other in seen.people if other is not person]
    pieces = []
    for piece in model.ask(seen.frame, person, request.question, others, max_new_tokens):
        if answering() is not model:
            raise UserError("the node is being cleaned up; ask again when it is active")
        pieces.append(piece)
    return "".join(pieces).strip()
