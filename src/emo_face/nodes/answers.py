"""Answers in words, one at a time: whole by a service, and piece by piece by the action ``~/ask`` (``Ask``)."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from emo_face_msgs.action import Ask
from rclpy.action.server import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from emo_face.core.errors import UserError
from emo_face.ros.clock import duration_message
from emo_face.ros.lifecycle import EmoNode

THREADS = 3
"""Threads that the executor needs: one for a service's answer, one for the action's, one for all else."""
Pieces = Callable[[Any], Iterator[str]]
"""Request (``person_id``, ``question``, where there is one ``quote``) -> pieces of the answer; raises UserError."""


class Answers:
    """Serves ``pieces`` as ``~/ask`` twice: the service ``service`` and the action.

    Args:
        pieces: makes an answer. It must look every now and then whether its model is still the node's own, and raise
            UserError if not: a node waits for its threads at its end.
    """

    def __init__(self, node: EmoNode, service: Any, pieces: Pieces) -> None:
        self._node, self._pieces, self._one = node, pieces, threading.Lock()
        node.threads = THREADS
        node.create_service(service, "~/ask", self._whole, callback_group=MutuallyExclusiveCallbackGroup())
        ActionServer(  # kept by the node
            node,
            Ask,
            "~/ask",
            self._stream,
            callback_group=MutuallyExclusiveCallbackGroup(),
            goal_callback=self._admit,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        self._streaming = False

    def _admit(self, _: Ask.Goal) -> GoalResponse:
        """One goal at a time: each holds a thread of the executor."""
        if self._streaming:
            return GoalResponse.REJECT
        self._streaming = True
        return GoalResponse.ACCEPT

    def _whole(self, request: Any, response: Any) -> Any:
        return self._answer(request, response, lambda piece: True)

    def _stream(self, goal: Any) -> Ask.Result:
        def tell(piece: str) -> bool:
            goal.publish_feedback(Ask.Feedback(piece=piece))
            return not goal.is_cancel_requested

        try:
            result = self._answer(goal.request, Ask.Result(), tell)
            if goal.is_cancel_requested:
                goal.canceled()
            elif result.success:
                goal.succeed()
            else:
                goal.abort()
            return result
        finally:
            self._streaming = False

    def _answer(self, request: Any, result: Any, tell: Callable[[str], bool]) -> Any:
        """Fill ``result``; ``tell`` gets each piece, and says whether to go on."""
        start, said = time.monotonic(), list[str]()
        try:
            with self._one:
                for piece in self._pieces(request):
                    said.append(piece)
                    if not tell(piece):
                        raise UserError("cancelled")
            result.success = True
        except UserError as error:
            result.message = str(error)
        except Exception as error:  # a failed generation must not take the node down
            self._node.drop("ask_failed", f"question not answered: {error!r}")
            result.message = f"generation failed: {type(error).__name__}; see the log"
        result.answer = "".join(said).strip() if result.success else ""
        if result.success and hasattr(result, "emotion"):
            from emo_face.expression.contextface.prompts import parse_emotion

            result.emotion = parse_emotion(result.answer) or ""
        result.latency = duration_message(time.monotonic() - start)
        return result
