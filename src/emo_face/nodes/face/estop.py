"""``~/estop`` and ``~/neutral`` of the face driver, served in every state and while a transition runs."""

import os
import time

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from std_srvs.srv import SetBool, Trigger

from emo_face.face.drivers import StopState
from emo_face.nodes.face.node import FaceNode
from emo_face.ros.diagnostics import ERROR, WARN
from emo_face.ros.network import scope

OPEN = (
    "not released: this graph is open to the network; release it on the face page, keep DDS on this host "
    "(docs/network.md), or set estop.release_by_service"
)


def kept_on_this_host() -> bool:
    """Whether DDS talks to this host only, by the environment that rclpy read at start."""
    return scope(os.environ).startswith("this host") and not os.environ.get("ROS_STATIC_PEERS", "").strip()


class EstopServices:
    """Creates both services in a callback group of their own, and tells diagnostics what a stop achieved."""

    def __init__(self, node: FaceNode) -> None:
        self._node = node
        apart = MutuallyExclusiveCallbackGroup()
        node.create_service(SetBool, "~/estop", self._serve, callback_group=apart)
        node.create_service(Trigger, "~/neutral", self._neutral, callback_group=apart)

    def _serve(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        try:
            if request.data:
                report = self._node.emergency_stop()
                response.success, response.message = report.success, str(report)
            elif not (kept_on_this_host() or self._node.params["estop.release_by_service"]):
                response.success, response.message = False, OPEN
            else:
                response.success, response.message = self._node.release_stop()
        except Exception as error:  # the caller must hear it whatever happens
            self._node.failed(error)
            response.success, response.message = False, f"{StopState.NOT_OFF.value}: {type(error).__name__}: {error}"
        self.observe()
        return response

    def _neutral(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        face = self._node.face
        if face is not None:
            face.player.neutral(time.monotonic())
        response.success = face is not None
        response.message = "easing to neutral" if response.success else "not configured: nothing moves"
        return response

    def observe(self) -> None:
        """Say in diagnostics what is true of the stop now."""
        node = self._node
        report = node.stop_report
        node.health.fact("estop", "" if report is None else str(report))
        if report is None:
            node.health.clear_condition("estop")
            return
        level = ERROR if report.state in (StopState.NOT_OFF, StopState.CANNOT) else WARN
        node.report_problem("estop", level, f"emergency stop: {report}; release it by calling ~/estop with data: false")
