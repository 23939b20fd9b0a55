"""``~/estop`` and ``~/neutral`` of the face driver, served also while a transition runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from std_srvs.srv import SetBool, Trigger

from emo_face.face.motion.player import FacePlayer
from emo_face.ros.diagnostics import WARN
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.messages.motors import Motors


def serve_stops(node: EmoNode, motors: Motors, player: Callable[[], FacePlayer | None]) -> None:
    """Create both services in a callback group of their own; ``player`` gives None while unconfigured."""

    def estop(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        face, on = player(), bool(request.data)
        if face is None:
            response.success, response.message = on, "not configured: nothing moves"
            return response
        motors.estop(on)
        face.estop(on, time.monotonic())
        if on:
            node.complain("estop", WARN, "emergency stop: release it by calling ~/estop with data: false")
        else:
            node.health.clear_condition("estop")
        released = "released; torque stays off until ~/enable" if motors.present else "released"
        response.success, response.message = True, "stopped" if on else released
        return response

    def neutral(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        face = player()
        if face is not None:
            face.neutral(time.monotonic())
        response.success = face is not None
        response.message = "easing to neutral" if response.success else "not configured: nothing moves"
        return response

    apart = MutuallyExclusiveCallbackGroup()
    node.create_service(SetBool, "~/estop", estop, callback_group=apart)
    node.create_service(Trigger, "~/neutral", neutral, callback_group=apart)
