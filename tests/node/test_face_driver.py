"""nodes/face_driver.py: the real loop, basis, motion and page."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
import aiohttp
from builtin_interfaces.msg import Time
from emo_face_msgs.msg import Consent, FaceExpression, Keyframe, Visemes
from facing import SMILE, Face, expression
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.nodes.face.inputs import ASKED, READ
from emo_face.nodes.face_driver import FaceDriverNode
from emo_face.ros import qos


def test_an_expression_is_eased_into_and_out_of(graph: Any) -> None:
    face = Face(graph)
    assert face.states[0].name == list(ARKIT_52)
    assert face.smile() < 1e-9
    face.show(valid_for=0.4)
    graph.until(lambda: face.smile() > 0.5)
    graph.until(lambda: face.smile() < 0.01)  # stale input eases to neutral
    smiles = np.array([s.position[SMILE] for s in face.states])
    top = int(smiles.argmax())
    for way in (smiles[:top], smiles[top:]):
        assert np.count_nonzero((way > 0.05) & (way < 0.5)) >= 5  # it eases, it does not snap
    assert all(min(s.position) >= 0 and max(s.position) <= 1 for s in face.states)


def test_the_loop_keeps_its_rate(graph: Any) -> None:
    face = Face(graph, rate=50.0)
    graph.until(lambda: len(face.states) > 60)
    stamps = np.array([s.header.stamp.sec + s.header.stamp.nanosec * 1e-9 for s in face.states[-50:]])
    assert np.diff(stamps).mean() == pytest.approx(0.02, rel=0.1)


def test_the_face_blinks(graph: Any) -> None:
    face = Face(graph, layers__blink=True, seed=1)
    lid = ARKIT_INDEX["eyeBlinkLeft"]
    graph.until(lambda: any(s.position[lid] > 0.8 for s in face.states), seconds=20)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"basis": "flame1999", "shown": "Hunger"}, "basis 'flame1999' is unknown here, and 'Hunger' has no prototype"),
        ({"keyframes": [Keyframe(coefficients=np.full(100, np.nan))]}, "keyframes[0]: expected finite numbers"),
        ({"keyframes": []}, "keyframes: expected 1 to 8, got 0"),
        ({"keyframes": [Keyframe()] * 2}, "keyframes[1].offset: expected rising from 0 s, got 0"),
        ({"intensity": -1.0}, "intensity: expected a value in [0, 1]"),
    ],
)
def test_a_bad_expression_is_named_and_the_face_goes_on(graph: Any, changes: dict[str, Any], reason: str) -> None:
    face = Face(graph)
    face.show(**changes)
    face.complaint(reason)
    assert face.smile() < 1e-9
    graph.until(face.smiling)


def test_a_basis_that_nobody_can_decode_is_shown_by_the_prototype_with_a_warning(graph: Any) -> None:
    face = Face(graph)

    def smiling() -> bool:
        face.show(basis="flame1999")
        return face.smile() > 0.5

    graph.until(smiling)
    found = face.complaint("basis 'flame1999' is unknown here: the prototype of Happy is shown in its place")
    assert found.level == b"\x01"
    assert face.node.health.counts()["stand_ins"] > 0


@pytest.mark.parametrize(
    ("offset", "valid_for", "reason"),
    [(-30.0, 1.0, "stale"), (30.0, 1.0, "future"), (0.0, 0.0, "valid_for"), (-0.5, 0.2, "older than its valid_for")],
)
def test_untimely_expressions_are_dropped(graph: Any, offset: float, valid_for: float, reason: str) -> None:
    face = Face(graph)
    face.out.publish(expression(graph.now() + offset, valid_for=valid_for))
    face.complaint(reason)
    assert face.smile() < 1e-9


def test_stamps_that_go_backwards_are_dropped_and_two_publishers_named(graph: Any) -> None:
    face = Face(graph)
    second = graph.helper.create_publisher(FaceExpression, "face/expression", 10)
    face.complaint("several nodes publish face/expression")
    now = graph.now()
    face.out.publish(expression(now))
    graph.until(lambda: "latency.p50_ms" in {v.key for a in face.status for v in a.status[0].values})
    second.publish(expression(now - 0.3, emotion="Sad"))
    graph.until(lambda: face.node.health.counts().get("dropped.out_of_order"))


def test_neutral_service_eases_and_keeps_expressions_away_for_a_while(graph: Any) -> None:
    face = Face(graph, neutral_hold=2.0)
    graph.until(face.smiling)
    assert graph.call(Trigger, "/face_driver/neutral").success

    def neutral_despite_targets() -> bool:
        face.show()
        return face.smile() < 0.01

    graph.until(neutral_despite_targets)
    graph.until(face.smiling)  # and then follows again


def test_emergency_stop_freezes_and_release_eases_to_neutral(graph: Any) -> None:
    face = Face(graph)
    graph.until(face.smiling)
    assert graph.call(SetBool, "/face_driver/estop", data=True).message == "stopped"
    face.complaint("emergency stop")
    face.states.clear()
    for _ in range(10):
        face.show(emotion="Sad")
    graph.until(lambda: len(face.states) > 20)
    assert len({tuple(s.position) for s in face.states}) == 1
    assert graph.call(SetBool, "/face_driver/estop", data=False).message == "released"
    graph.until(lambda: face.smile() < 0.01)
    graph.until(face.smiling)


def test_deactivate_eases_to_neutral_first(graph: Any) -> None:
    face = Face(graph)
    graph.until(face.smiling)
    assert face.node.trigger_deactivate().name == "SUCCESS"
    graph.until(lambda: face.smile() < 0.02)
    count = len(face.states)
    assert face.node.trigger_activate().name == "SUCCESS"
    graph.until(lambda: len(face.states) > count + 5)


def test_disabled_it_rests(graph: Any) -> None:
    face = Face(graph, neutral_hold=0.0)
    graph.until(face.smiling)
    assert graph.call(SetBool, "/face_driver/enable", data=False).success
    face.show()
    graph.until(lambda: face.smile() < 0.01)


def test_a_storm_of_targets_is_followed(graph: Any) -> None:
    face = Face(graph)
    for _ in range(1000):
        face.show()
        graph.executor.spin_once(timeout_sec=0)
    graph.until(face.smiling)
    assert "errors" not in face.node.health.counts()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_page_shows_the_same_face(graph: Any) -> None:
    port = free_port()
    face = Face(graph, screen__enabled=True, screen__port=port)
    graph.until(face.smiling)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        assert json.load(answer)["status"] == "ok"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        assert b"<html" in answer.read().lower()


@pytest.mark.parametrize(
    ("mode", "granted", "notice"),
    [("off", False, ""), ("notice", False, READ), ("ask", False, ASKED), ("ask", True, READ)],
)
def test_the_screen_tells_people_whether_they_are_read(graph: Any, mode: str, granted: bool, notice: str) -> None:
    face = Face(graph, screen__enabled=True, screen__port=0)
    face.node.notice = "nothing yet"
    graph.talk(Consent, "perception/consent", qos.latched()).publish(Consent(mode=mode, granted=granted))
    graph.until(lambda: face.node.notice == notice)
    graph.until(lambda: face.node.face.screen._server.hub._meta.get("notice") == notice)


def test_what_the_page_refused_is_told(graph: Any) -> None:
    port = free_port()
    face = Face(graph, screen__enabled=True, screen__port=port)

    async def clumsy() -> str:
        url = f"http://127.0.0.1:{port}/ws"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as page:

            async def until(text: str) -> str:
                while True:
                    message = await page.receive(timeout=5)
                    if message.type is aiohttp.WSMsgType.TEXT and text in message.data:
                        return str(message.data)

            await page.send_json({"type": "preset", "emotion": "Happy", "intensity": 1.0})
            await until('"ack"')
            while (await page.receive(timeout=5)).type is not aiohttp.WSMsgType.BINARY:  # the face moves
                pass
            face.node.face.player.estop(True, time.monotonic())
            await page.send_json({"type": "release"})  # well made, but the face is stopped
            answer = await until('"refused"')
            await page.send_str("no json")
            async for _ in page:
                pass
            assert page.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
            return answer

    assert "emergency stop" in asyncio.run(clumsy())
    graph.until(lambda: face.values().get("screen.refused_commands") == "2")
    shown = face.values()
    assert int(shown["screen.frames_sent"]) > 0
    assert (shown["screen.dropped_slow"], shown["screen.rejected"]) == ("0", "0")
    graph.until(lambda: face.values()["screen.clients"] == "0")
    assert not any(key.startswith(("gate.", "bus.", "live_link.")) for key in shown)  # nothing of what is not there


def test_a_port_in_use_fails_configure_with_the_parameter(graph: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node = graph.start(FaceDriverNode, screen__port=taken.getsockname()[1])
        assert node.trigger_configure().name == "FAILURE"
    report = node.health.report("", time.monotonic()).message
    assert "screen.port" in report
    graph.up(node)  # the port is free again


def test_a_model_that_cannot_be_shown_fails_configure_with_the_parameter(graph: Any, tmp_path: Path) -> None:
    model = tmp_path / "head.glb"
    model.write_bytes(b"no glb")
    node = graph.start(FaceDriverNode, screen__enabled=True, screen__port=free_port(), screen__model=str(model))
    assert node.trigger_configure().name == "FAILURE"
    assert "screen.model" in node.health.report("", time.monotonic()).message


def test_the_tuning_page_takes_and_gives_back_the_face(graph: Any) -> None:
    face = Face(graph)
    jaw = ARKIT_INDEX["jawOpen"]
    assert face.node._on_command({"type": "tune", "values": {"jawOpen": 0.7}}) is None
    graph.until(lambda: face.states[-1].position[jaw] > 0.65)
    face.show()
    face.complaint("the tuning page holds the face")
    assert face.node._on_command({"type": "preset", "emotion": "Happy", "intensity": 1.0}) is None
    graph.until(lambda: face.smile() > 0.5)
    assert face.node._on_command({"type": "release"}) is None
    graph.until(lambda: face.smile() < 0.01)
    graph.call(SetBool, "/face_driver/estop", data=True)
    assert "emergency stop" in face.node._on_command({"type": "release"})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"names": ["aa"], "offsets": [0.0, 1.0], "duration": 1.0}, "expected one length"),
        ({"names": ["xx"], "offsets": [0.0], "duration": 1.0}, "names: expected some of sil PP"),
        ({"names": ["aa"], "offsets": [0.0], "duration": float("nan")}, "check the clocks"),
        ({"names": ["aa"], "offsets": [0.0], "duration": 1.0, "start": Time(sec=5)}, "check the clocks"),
    ],
)
def test_visemes_that_cannot_be_shown_are_named(graph: Any, fields: dict[str, Any], says: str) -> None:
    face = Face(graph)
    graph.talk(Visemes, "face/visemes").publish(Visemes(**fields))
    face.complaint(says)


def test_a_page_changes_its_theme_at_the_next_configure(graph: Any) -> None:
    face = Face(graph, screen__enabled=True, screen__port=0)

    def theme() -> str:
        with urllib.request.urlopen(f"{face.node.face.screen.url}config.json", timeout=5) as page:
            return str(json.load(page)["theme"])

    before = theme()
    assert before != "eyes"
    (result,) = face.node.set_parameters([Parameter("screen.theme", value="eyes")])
    assert result.successful
    face.complaint("screen.theme: changed, counts when the node is configured again")
    assert theme() == before
    for step in ("deactivate", "cleanup", "configure"):
        assert getattr(face.node, f"trigger_{step}")().name == "SUCCESS"
    assert theme() == "eyes"
    graph.until(lambda: "screen.theme" not in face.status[-1].status[0].message)
