"""The face server over real sockets: who may connect, newest values for everybody, slow and rude clients."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import numpy as np
import pytest
from face_frame import read_face_frame

from emo_face.core.errors import UserError
from emo_face.web.security import token_allowed
from emo_face.web.server import FaceServer

TOKEN = "correct-horse-battery"


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Poll a condition that another thread brings about."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.005)
    return True


def go(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 20))


async def get(url: str, **options: Any) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False, **options) as answer:
        return answer.status, await answer.text(), answer.headers.copy()


async def next_values(ws: aiohttp.ClientWebSocketResponse) -> np.ndarray:
    async for message in ws:
        if message.type is aiohttp.WSMsgType.BINARY:
            return read_face_frame(message.data)[2]
    raise AssertionError(f"closed: {ws.close_code}")


async def handshake(url: str, **headers: str) -> int:
    """Status of a WebSocket upgrade (101: accepted)."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(f"{url}ws", headers=headers):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status


def test_pages_carry_security_headers_and_are_light(server: FaceServer) -> None:
    async def weigh() -> int:
        total = 0
        for path in (
            "",
            "app.js",
            "stage.js",
            "face.js",
            "link.js",
            "estop.js",
            "style.css",
            "icon.svg",
            "config.json",
            "tune",
            "tune.js",
        ):
            status, text, headers = await get(server.url + path)
            assert status == 200, path
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
            assert "https://" not in text
            total += len(text.encode())
        for theme in ("robot", "eyes", "human"):
            total += len((await get(f"{server.url}faces/{theme}.json"))[1].encode())
        return total

    assert go(weigh()) <= 154_000


def test_unknown_paths_and_health(server: FaceServer) -> None:
    status, _, headers = go(get(server.url + "../server.py"))
    assert status == 404
    assert "Content-Security-Policy" in headers
    assert go(get(server.url + "%2e%2e/server.py"))[0] == 404
    assert '"live": false' in go(get(server.url + "healthz"))[1]
    server.publish(np.zeros(52))
    assert '"status": "ok"' in go(get(server.url + "healthz"))[1]


def test_newest_values_reach_a_page(server: FaceServer) -> None:
    async def watch() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "ws") as ws:
            meta = await ws.receive_json()
            assert meta == {"type": "meta", "live": False}
            for value in (0.25, 1.0):
                server.publish([value] * 52, {"emotion": "Happy", "latency_ms": 40})
                assert (await next_values(ws))[17] == pytest.approx(value, abs=1e-4)

    go(watch())


def test_a_page_that_joins_late_sees_the_present_face_and_meta(server: FaceServer) -> None:
    server.publish([0.5] * 52, {"emotion": "Sad"})

    async def join() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "ws") as ws:
            assert (await ws.receive_json())["emotion"] == "Sad"
            assert (await next_values(ws))[0] == pytest.approx(0.5, abs=1e-4)

    go(join())


def test_a_sign_of_life_comes_without_new_values(server: FaceServer) -> None:
    async def listen() -> list[Any]:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "ws") as ws:
            return [await ws.receive_json(), await ws.receive_json()]

    assert [m["live"] for m in go(listen())] == [False, False]


def test_bad_values_are_counted_not_shown(server: FaceServer) -> None:
    for bad in ([0.1] * 51, [float("nan")] * 52, None, "abc"):
        server.publish(bad)  # type: ignore[arg-type]
    assert server.hub.rejected == 4
    assert not server.hub.live


def test_publish_is_quick_with_nobody_connected_and_after_stop(server: FaceServer) -> None:
    start = time.perf_counter()
    for _ in range(2000):
        server.publish([0.1] * 52, {"latency_ms": 1})
    assert (time.perf_counter() - start) / 2000 < 1e-3
    server.stop()
    server.publish([0.2] * 52)
    server.stop()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://evil.example", 403),
        ("null", 403),
        ("https://{host}.evil.example", 403),
        ("http://{host}", 101),
        (None, 101),
    ],
)
def test_origin(server: FaceServer, origin: str | None, status: int) -> None:
    headers = {} if origin is None else {"Origin": origin.format(host=f"127.0.0.1:{server.port}")}
    assert go(handshake(server.url, **headers)) == status


def test_a_listed_origin_may_connect() -> None:
    server = FaceServer(port=0, origins=["https://robot.local"])
    server.start()
    try:
        assert go(handshake(server.url, Origin="https://robot.local")) == 101
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("given", "sent"),  # a browser sends the serialised origin (WHATWG HTML, 7.1.1): lower case, no slash, no own port
    [
        ("https://Robot.local/", "https://robot.local"),
        ("https://robot.local:443", "https://robot.local"),
        ("http://robot.local:8080", "http://robot.local:8080"),
        ("http://[FD00::1]/", "http://[fd00::1]"),
    ],
)
def test_origins_are_read_as_browsers_send_them(given: str, sent: str) -> None:
    assert FaceServer(port=0, origins=[given]).origins == (sent,)


@pytest.mark.parametrize(
    "given", ["robot.local", "ftp://robot.local", "http://robot.local:x", "https://robot.local/face"]
)
def test_what_is_no_origin_is_refused_by_name(given: str) -> None:
    with pytest.raises(UserError, match=r"screen\.origins: expected an origin such as https://robot\.local, got"):
        FaceServer(port=0, origins=[given])
    with pytest.raises(UserError, match=r"^--origin: "):
        FaceServer(port=0, origins=[given], options="--")


def test_a_foreign_host_name_is_refused_on_loopback(server: FaceServer) -> None:
    assert go(get(server.url, headers={"Host": "evil.example"}))[0] == 421
    assert go(get(server.url, headers={"Host": f"localhost:{server.port}"}))[0] == 200


def test_token_is_needed_off_loopback_and_must_be_long() -> None:
    with pytest.raises(UserError, match=r"screen\.token must be set"):
        FaceServer(host="0.0.0.0")
    with pytest.raises(UserError, match="at least 12"):
        FaceServer(token="short")


def test_a_token_can_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert FaceServer(port=0, token=f"@{tmp_path}/token").token == TOKEN
    with pytest.raises(UserError, match="nowhere cannot be read"):
        FaceServer(port=0, token=f"@{tmp_path}/nowhere")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(UserError, match="empty is empty"):
        FaceServer(port=0, token=f"@{tmp_path}/empty")


def test_token_guards_pages_and_socket() -> None:
    server = FaceServer(port=0, token=TOKEN)
    server.start()

    async def scenario() -> None:
        assert (await get(server.url))[0] == 401
        assert (await get(server.url, params={"token": "wrong-wrong-wrong"}))[0] == 401
        assert (await get(server.url + "healthz"))[0] == 200
        status, _, headers = await get(server.url + "tune", params={"token": TOKEN, "theme": "eyes"})
        assert (status, headers["Location"]) == (302, "./tune?theme=eyes"), "the token leaves the address bar"
        assert "HttpOnly" in headers["Set-Cookie"]
        assert "SameSite=Strict" in headers["Set-Cookie"]
        assert (await get(server.url, cookies={"emo_face_token": TOKEN}))[0] == 200
        assert await handshake(server.url) == 401
        assert await handshake(server.url, Authorization=f"Bearer {TOKEN}") == 101

    try:
        go(scenario())
    finally:
        server.stop()


def test_a_token_of_bytes_that_are_no_utf8_is_a_wrong_one() -> None:
    """aiohttp gives such bytes as halves of surrogate pairs."""
    for headers, cookies in (({"Authorization": "Bearer \udcff"}, {}), ({}, {"emo_face_token": "\udcff"})):
        request: Any = SimpleNamespace(headers=headers, cookies=cookies, query={})
        assert not token_allowed(request, TOKEN)


def test_port_in_use_names_port_and_parameter(server: FaceServer) -> None:
    with pytest.raises(UserError, match=rf"port {server.port} on 127\.0\.0\.1 is in use.*screen\.port"):
        FaceServer(port=server.port).start()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_a_clear_error(host: str) -> None:
    with pytest.raises(UserError, match=r"screen\.host"):
        FaceServer(host=host, port=0, token=TOKEN).start()


def test_a_stopped_server_frees_its_port_and_starts_again() -> None:
    server = FaceServer(port=0)
    server.start()
    server.stop()
    server.start()
    try:
        assert go(get(server.url))[0] == 200
    finally:
        server.stop()


def test_a_hundred_clients_all_see_the_last_frame(server: FaceServer) -> None:
    async def crowd() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            pages = [await session.ws_connect(server.url + "ws") for _ in range(100)]
            assert await asyncio.to_thread(wait_for, lambda: server.clients == 100)
            for step in range(30):
                server.publish([step / 100] * 52)
                await asyncio.sleep(0.01)
            server.publish([1.0] * 52)

            async def until_last(ws: aiohttp.ClientWebSocketResponse) -> None:
                while (await next_values(ws))[0] < 0.99:
                    pass

            await asyncio.gather(*map(until_last, pages))
            await asyncio.gather(*(ws.close() for ws in pages))

    go(crowd())
    assert server.hub.dropped_slow == 0
    assert wait_for(lambda: server.clients == 0)


def test_one_client_too_many_is_refused() -> None:
    server = FaceServer(port=0, max_clients=1)
    server.start()

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "ws"):
            assert await handshake(server.url) == 503

    try:
        go(scenario())
    finally:
        server.stop()


def test_a_client_that_does_not_read_is_dropped_and_others_do_not_wait() -> None:
    server = FaceServer(port=0, rate=4000.0)
    server.start()
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", server.port))
    key = base64.b64encode(os.urandom(16)).decode()
    slow.sendall(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )

    async def reader() -> int:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "ws") as ws:
            seen = 0
            while server.hub.dropped_slow == 0:
                server.publish([(seen % 1000) / 1000] * 52)
                await asyncio.wait_for(next_values(ws), 1.0)
                seen += 1
            return seen

    try:
        assert wait_for(lambda: server.clients == 1)
        assert go(reader()) > 50
        assert server.hub.dropped_slow == 1
        assert wait_for(lambda: server.clients <= 1)
    finally:
        slow.close()
        server.stop()


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda ws: ws.send_str("{not json"), 1008),
        (lambda ws: ws.send_str('{"type":"tune","values":{"jawOpen":9}}'), 1008),
        (lambda ws: ws.send_bytes(b"\x00" * 112), 1003),
        (lambda ws: ws.send_str("x" * 9000), 1009),
        (lambda ws: ws._writer.transport.write(b"\xff\xff\xff\xff\xff\xff"), 1002),
    ],
)
def test_malformed_frames_close_politely_and_spare_the_others(server: FaceServer, send: Any, code: int) -> None:
    async def scenario() -> int | None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(server.url + "ws") as good,
            session.ws_connect(server.url + "ws") as rude,
        ):
            result = send(rude)
            if result is not None:
                await result
            async for _ in rude:
                pass
            server.publish([0.75] * 52)
            assert (await next_values(good))[0] == pytest.approx(0.75, abs=1e-4)
            return rude.close_code

    assert go(scenario()) == code
    assert wait_for(lambda: server.refused_commands == 1)


@pytest.mark.parametrize("kind", ["command", "ping", "pong"])
def test_a_flood_is_cut_off(server: FaceServer, kind: str) -> None:
    """RFC 6455, 5.5.3: a pong may come unasked. Whoever floods with them keeps the others' STOP waiting."""

    async def flood() -> int | None:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "ws") as ws:
            send = {"command": lambda: ws.send_str('{"type":"release"}'), "ping": ws.ping, "pong": ws.pong}[kind]
            for _ in range(400):
                await send()
            async for _ in ws:
                pass
            return ws.close_code

    assert go(flood()) == 1008
    assert server.refused_commands > 0


async def _answers(server: FaceServer, *commands: dict[str, Any]) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "ws") as ws:
        found = []
        for command in commands:
            await ws.send_json(command)
            while (message := await ws.receive_json())["type"] == "meta":
                pass
            found.append(message)
        return found


def test_commands_reach_the_driver_and_its_refusal_the_page(server: FaceServer) -> None:
    heard: list[dict[str, Any]] = []

    def driver(command: dict[str, Any]) -> str | None:
        heard.append(command)
        if command["type"] == "preset":
            raise RuntimeError("broken")
        return "the driver is stopped (e-stop)" if command["type"] == "release" else None

    tune = {"type": "tune", "values": {"jawOpen": 0.5}}
    refused = go(_answers(server, tune))
    assert refused == [{"type": "refused", "reason": "no face driver listens to this page"}]
    server.on_command = driver
    answers = go(_answers(server, tune, {"type": "release"}, {"type": "preset", "emotion": "Sad", "intensity": 0.5}))
    assert answers[0] == {"type": "ack"}
    assert answers[1]["reason"] == "the driver is stopped (e-stop)"
    assert "failed" in answers[2]["reason"]
    assert [c["type"] for c in heard] == ["tune", "release", "preset"]
    assert server.refused_commands == 3


def test_stop_says_goodbye(server: FaceServer) -> None:
    async def scenario() -> int | None:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "ws") as ws:
            assert await asyncio.to_thread(wait_for, lambda: server.clients == 1)
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            async for _ in ws:
                pass
            await stopping
            return ws.close_code

    assert go(scenario()) == 1001


async def reply(page: aiohttp.ClientWebSocketResponse) -> Any:
    """The next answer to a command."""
    async for message in page:
        if message.type is aiohttp.WSMsgType.TEXT and (answer := message.json())["type"] != "meta":
            return answer
    raise AssertionError(f"closed: {page.close_code}")


def test_the_stop_is_obeyed_beside_everything_else_and_answered_with_what_is_true() -> None:
    held, pressed = threading.Event(), threading.Event()

    def driver(command: dict[str, Any]) -> Any:
        if command["type"] == "estop":
            pressed.set()
            assert held.wait(5), "a stop may take its time"
            return {"type": "stop", "success": False, "message": "NOT off: cut the power (jaw): no answer"}
        return None

    server = FaceServer(port=0, token=TOKEN, on_command=driver)
    server.start()

    async def scene() -> Any:
        url = f"{server.url}ws?token={TOKEN}"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url) as first,
            session.ws_connect(url) as second,
        ):
            await first.send_json({"type": "estop"})
            await asyncio.to_thread(pressed.wait, 5)
            await second.send_json({"type": "release"})  # the server goes on meanwhile
            assert await reply(second) == {"type": "ack"}
            held.set()
            return await reply(first)

    try:
        assert go(scene()) == {"type": "stop", "success": False, "message": "NOT off: cut the power (jaw): no answer"}
        assert go(handshake(f"{server.url}ws")) == 401, "no token: neither stop nor release"
        assert server.refused_commands == 0
    finally:
        server.stop()
