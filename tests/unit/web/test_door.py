"""Half-sent requests, floods, malformed hosts, and the pages behind a proxy's prefix."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Iterator

import pytest

from emo_face.web import door
from emo_face.web.pages import STATIC
from emo_face.web.server import FaceServer

HALVES = (b"", b"GET / HT", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaceServer]:
    monkeypatch.setattr(door, "ASK_S", 1.0)
    made = FaceServer(port=0)
    monkeypatch.setattr(door.Door.__init__, "__defaults__", (20,))
    made.start()
    yield made
    made.stop()


def connect(server: FaceServer, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=5.0)
    connection.sendall(data)
    return connection


def ask(server: FaceServer, data: bytes) -> bytes:
    with connect(server, data) as connection:
        return connection.recv(4096).split(b"\r\n")[0]


def closed(connection: socket.socket, seconds: float) -> bool:
    """Whether the other side closes within so long."""
    connection.settimeout(seconds)
    try:
        while connection.recv(4096):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("half", HALVES)
def test_a_request_that_does_not_come_is_not_waited_for(server: FaceServer, half: bytes) -> None:
    with connect(server, half) as connection:
        assert closed(connection, 4.0)


def test_nor_is_the_second_half_of_a_second_request(server: FaceServer) -> None:
    with connect(server, HEALTH) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.sendall(HALVES[3])
        assert closed(connection, 4.0)


def test_a_visitor_gets_in_through_a_flood(server: FaceServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "emo_face"):
        halves = [connect(server, HALVES[i % 4]) for i in range(200)]
        assert ask(server, HEALTH).endswith(b"200 OK")
        assert all(closed(half, 5.0) for half in halves)
    assert server.door is not None
    assert server.door.turned_away >= 180
    assert len(caplog.records) <= 2
    for half in halves:
        half.close()


def test_an_open_websocket_is_not_a_guest_that_asks_for_nothing(server: FaceServer) -> None:
    words = ["GET /ws HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"]
    words += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}==", "", ""]
    with connect(server, "\r\n".join(words).encode()) as page:
        assert page.recv(12) == b"HTTP/1.1 101"
        flood = [connect(server, b"") for _ in range(40)]
        time.sleep(2.5)  # real time: the server's thread looks once per second
        assert server.clients == 1
        for one in flood:
            one.close()


@pytest.mark.parametrize("host", ["[::1", "a:b:c", "[]]", "127.0.0.1:99999999", "127.0.0.1:port"])
def test_a_malformed_host_is_400(server: FaceServer, host: str) -> None:
    assert b" 400 " in ask(server, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


MALFORMED = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(3000)) + b"\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01 what is this\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
)


def test_a_flood_of_malformed_requests_is_one_line_in_the_log(
    server: FaceServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door.requests_log.filters[0], "_next", 0.0)
    for number in range(40):
        with connect(server, MALFORMED[number % len(MALFORMED)]) as connection:
            assert closed(connection, 5.0)
    (record,) = caplog.records
    assert record.exc_info is None
    assert record.getMessage().count("\n") == 0
    assert ask(server, HEALTH) == b"HTTP/1.1 200 OK"


def test_a_fault_of_ours_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("a page's requests")
    log.addFilter(door.Seldom())
    for _ in range(3):
        try:
            raise ZeroDivisionError("a bug")
        except ZeroDivisionError:
            log.exception("Unhandled %s", "exception")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "ZeroDivisionError: a bug" in record.getMessage()


def test_a_foreign_name_is_told_which_parameter_lets_it_in(server: FaceServer) -> None:
    with connect(server, b"GET / HTTP/1.1\r\nHost: kiosk.example\r\n\r\n") as connection:
        answer = connection.recv(4096)
    assert b" 421 " in answer
    assert b"screen.origins" in answer


@pytest.mark.parametrize("file", sorted(p.name for p in STATIC.glob("*") if p.suffix in (".html", ".js", ".css")))
def test_every_link_is_relative_so_that_a_prefix_works(file: str) -> None:
    text = (STATIC / file).read_text(encoding="utf-8")
    if file == "head3d.js":  # three.js, bundled
        return
    assert not re.findall(r"""(?:href|src)="/|url\(['"]?/|['"`]/(?:[\w.]|\$\{)|location\.host""", text)


@pytest.mark.parametrize(("asked", "sent"), [("/", b"./?theme=robot"), ("/tune", b"./tune?theme=robot")])
def test_the_token_leaves_the_address_by_a_relative_way(asked: str, sent: bytes) -> None:
    made = FaceServer(port=0, token="twelve-letters")
    made.start()
    try:
        with connect(
            made, f"GET {asked}?theme=robot&token=twelve-letters HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        ) as one:
            answer = one.recv(4096)
    finally:
        made.stop()
    assert b"Location: " + sent + b"\r\n" in answer
