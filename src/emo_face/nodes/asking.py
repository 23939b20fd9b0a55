"""``~/ask`` of the perception node: questions to the full tier's model about a person in the newest frame."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from emo_face_msgs.action import Ask
from emo_face_msgs.srv import AskEmotion

from emo_face.core.errors import UserError
from emo_face.core.geometry import apparent_size
from emo_face.core.types import ImageArray, Person
from emo_face.nodes.answers import Answers
from emo_face.ros.lifecycle import EmoNode

SITUATION = "Describe the situation involving the person. What might they be experiencing or doing?"
"""What the action asks if it is given no question: a form that the training has (``data/qa_prompts.yaml``)."""


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
    """Create the service and the action ``~/ask``.

    ``answering`` gives None if the backend cannot answer, ``look`` None while nothing was seen. An answer in the
    making is given up within a word once ``answering`` gives another model or None (cleanup, the end of the process).
    """

    def pieces(request: Any) -> Iterator[str]:
        model = answering()
        if model is None:
            raise UserError(
                "nothing here can answer: set multiview.ask and multiview.base (InstructBLIP), and configure the node"
            )
        seen = look()
        if seen is None or not seen.people:
            raise UserError("nobody is in view")
        person = _person(seen.people, request.person_id)
        others = [other for other in seen.people if other is not person]
        question = request.question.strip() or (SITUATION if isinstance(request, Ask.Goal) else "")
        for piece in model.ask(seen.frame, person, question, others, max_new_tokens):
            if answering() is not model:
                raise UserError("the node is being cleaned up; ask again when it is active")
            yield piece

    Answers(node, AskEmotion, pieces)


def _person(people: Sequence[Person], wanted: str) -> Person:
    """The one with this id, the nearest without. Raises UserError that says who is there."""
    if not wanted:
        return max(people, key=apparent_size)
    for person in people:
        if person.person_id == wanted:
            return person
    there = ", ".join(person.person_id for person in people)
    raise UserError(f"person_id: {wanted!r} is not in view; there are {there}")
