"""nodes/dashboard.py: the real node on real messages; a page gets pictures, words and the stop as people allow."""

from __future__ import annotations

import asyncio
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
import aiohttp
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from emo_face_msgs.msg import Consent, EmotionScores, EmotionScoresArray, Evidence
from sensor_msgs.msg import Image, JointState, RegionOfInterest
from std_msgs.msg import Header, String
from std_srvs.srv import SetBool

from emo_face.core.labels import basic7
from emo_face.nodes.dashboard import DashboardNode, DashboardSettings
from emo_face.ros import qos
from emo_face.ros.clock import stamp_message
from emo_face.ros.images.convert import image_message


class Page:
    """A WebSocket client in a thread of its own: the newest report, other answers, and what it sends."""

    def __init__(self, url: str) -> None:
        self.report: dict[str, Any] = {}
        self.meta: dict[str, Any] = {}
        self.answers: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._socket: Any = None
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._read(url),), daemon=True)
        self._thread.start()
        assert self.ready.wait(20)

    async def _read(self, url: str) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}ws") as socket:
            self._socket = socket
            self.ready.set()
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    said = message.json()
                    if said["type"] == "report":
                        self.report = said
                    elif said["type"] == "meta":
                        self.meta = said
                    else:
                        self.answers.append(said)

    def send(self, **command: Any) -> None:
        asyncio.run_coroutine_threadsafe(self._socket.send_json(command), self._loop).result(10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._socket.close(), self._loop).result(10)
        self._thread.join(10)


@pytest.fixture
def board(graph: Any) -> Iterator[DashboardNode]:
    node = DashboardNode(DashboardSettings(port=0), context=graph.context)
    graph.executor.add_node(node)
    yield node
    graph.executor.remove_node(node)
    node.destroy_node()


@pytest.fixture
def page(board: DashboardNode) -> Iterator[Page]:
    page = Page(board.server.url)
    yield page
    page.close()


def picture(board: DashboardNode) -> np.ndarray | None:
    with urllib.request.urlopen(f"{board.server.url}camera.jpg", timeout=10) as answer:
        body = answer.read()
    return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) if body else None


def scores(stamp: float) -> EmotionScoresArray:
    labels = list(basic7().labels)
    person = EmotionScores(person_id="p00001", label_set="basic7", labels=labels, top="Sad", quality=0.9)
    person.probabilities = [0.7 if label == "Sad" else 0.05 for label in labels]
    person.active = [label == "Sad" for label in labels]
    person.evidence = [Evidence(source="speech", share=0.8)]
    person.body = RegionOfInterest(x_offset=20, y_offset=20, width=100, height=180)
    return EmotionScoresArray(header=Header(stamp=stamp_message(stamp)), people=[person], width=320, height=240)


def test_a_page_sees_the_graph_as_far_as_people_allow(graph: Any, board: DashboardNode, page: Page) -> None:
    allow = graph.talk(Consent, "perception/consent", qos.latched())
    images, lines = graph.talk(Image, "camera/image_raw"), graph.talk(String, "speech/text")
    told, health = graph.talk(EmotionScoresArray, "emotion/scores"), graph.talk(DiagnosticArray, "/diagnostics")
    blank = np.full((240, 320, 3), (40, 160, 90), np.uint8)

    def show() -> bool:
        now = graph.now()
        told.publish(scores(now))
        images.publish(image_message(blank, Header(stamp=stamp_message(now), frame_id="camera")))
        return board._image is not None

    graph.until(show)
    assert picture(board) is None, "a picture before anybody has said that it may be shown"
    lines.publish(String(data="my secret"))
    allow.publish(Consent(mode="notice", pictures=True, words=True))
    graph.until(lambda: page.report.get("allowed", {}).get("pictures"))
    assert page.report["heard"] == []
    graph.until(show)
    seen = picture(board)
    assert seen is not None
    assert seen.shape == (240, 320, 3)
    assert np.abs(seen.astype(int) - blank).max() > 60, "nobody is drawn"
    lines.publish(String(data="I miss her."))
    values = [KeyValue(key="estop", value="NOT off: cut the power (jaw)"), KeyValue(key="face.rate_hz", value="60.0")]
    status = DiagnosticStatus(level=b"\x01", name="face_driver: graph", message="mind the gap", values=values)
    health.publish(DiagnosticArray(status=[status]))
    graph.until(lambda: show() and page.report["heard"] and page.report["nodes"] and page.report["people"])
    assert page.report["heard"][0]["text"] == "I miss her."
    assert page.report["people"][0]["p"]["Sad"] == pytest.approx(0.7)
    assert page.report["people"][0]["evidence"] == {"speech": 0.8}
    assert page.report["nodes"][0]["message"] == "mind the gap"
    face = graph.helper.create_publisher(JointState, "face/blendshapes", qos.reliable())
    graph.until(lambda: face.publish(JointState()) or page.meta.get("estop"))
    assert page.meta["stop"] == "NOT off: cut the power (jaw)", "what the driver says, not that it was pressed"
    allow.publish(Consent(mode="notice", pictures=False, words=False))
    graph.until(lambda: not page.report["allowed"]["pictures"])
    graph.until(show)
    assert picture(board) is None
    assert page.report["heard"] == []


def test_the_stop_calls_the_service_and_consent_is_latched(graph: Any, board: DashboardNode, page: Page) -> None:
    page.send(type="estop")
    graph.until(lambda: page.answers)
    assert page.answers.pop()["success"] is False, "nobody was there to stop"
    asked: list[bool] = []

    def stop(request: Any, response: Any) -> Any:
        asked.append(request.data)
        response.success, response.message = True, "stopped: torque is off"
        return response

    graph.helper.create_service(SetBool, "face_driver/estop", stop)
    graph.until(board._stopper.service_is_ready)
    page.send(type="estop")
    graph.until(lambda: page.answers)
    assert page.answers.pop() == {"type": "stop", "success": True, "message": "stopped: torque is off"}
    page.send(type="clear_estop")
    graph.until(lambda: page.answers)
    assert asked == [True, False]
    page.send(type="consent", granted=False, pictures=False, words=True)
    graph.until(lambda: len(page.answers) >= 2)
    late = graph.hear(Consent, "consent", qos.latched())
    graph.until(lambda: late)
    assert (late[0].mode, late[0].granted, late[0].pictures, late[0].by) == ("ask", False, False, "dashboard")
