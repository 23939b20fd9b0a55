"""JSON to an HTTP server and back: bounded in time and size, never redirected, the key never in a message."""

import base64
import contextlib
import http.client
import json
import math
import select
import socket
import threading
import time
import urllib.request
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from emo_face.core.errors import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_BODY = 4_000_000  # bytes; an answer of 4096 tokens has about 20,000
MAX_WAIT = 600.0  # s that a server may ask for


class NoAnswer(Exception):
    """No HTTP answer came, or none in time. ``refused``: nobody listened, so nothing was done."""

    def __init__(self, text: str, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class JsonEndpoint:
    """One address that takes JSON by POST; each thread keeps its connection.

    Attributes:
        url: the address. host: its name.

    Args:
        option: what named the address, for errors. base: for example ``https://host/v1``. path: behind it; not repeated
            if the base ends in it. key: bearer token, empty for none. timeout: seconds for a whole answer.

    Raises:
        UserError: no http(s) address, or what is sent would leave this machine unencrypted.
    """

    def __init__(self, option: str, base: str, path: str, key: str = "", timeout: float = 120.0) -> None:
        try:
            parts = urlsplit(base)
            sound = parts.port != 0
        except ValueError:  # a bracket that does not close, a port that is no number
            parts, sound = urlsplit(""), False
        if not sound or parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"{option}: expected an address such as https://host/v1, got {base!r}")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise UserError(f"{option}: {base} would carry pictures unencrypted; use https, or http on 127.0.0.1")
        self.host = parts.hostname
        whole = parts.path.rstrip("/")
        self._path = whole if whole.endswith(path) else whole + path
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{self._path}"
        self._path += f"?{parts.query}" if parts.query else ""  # Azure's api-version; never printed
        self._key, self._timeout = key, timeout
        self._kept = threading.local()  # ``link``: this thread's connection, for its next question

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return self.host in LOOPBACK

    def post(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, float | None]:
        """(status, body, seconds asked to wait). Raises NoAnswer."""
        every = {"Content-Type": "application/json", **(headers or {})}
        if self._key:
            every["Authorization"] = f"Bearer {self._key}"
        start, timer, link = time.monotonic(), None, None
        try:
            link = self._connection()
            left = self._timeout - (time.monotonic() - start)
            timer = threading.Timer(max(0.0, left), _cut, (link.sock,))  # however slowly the other side talks
            timer.daemon = True
            timer.start()
            link.request("POST", self._path, json.dumps(body).encode(), every)
            with link.getresponse() as answer:  # a redirect would carry picture and key elsewhere: it is just a status
                raw = _read(answer, MAX_BODY) if answer.status == 200 else _read(answer, 2000, cut=True)
                if not answer.isclosed():  # there is more of it, which the next question must not read
                    link.close()
            return answer.status, raw, _seconds(answer.headers.get("Retry-After"))
        except (OSError, http.client.HTTPException, ValueError) as error:
            if link is not None:
                link.close()
            late = time.monotonic() - start >= self._timeout
            text = f"no answer within {self._timeout:g} s" if late else f"{type(error).__name__}: {error}"
            refused = isinstance(error, (ConnectionRefusedError, socket.gaierror))
            raise NoAnswer(f"{self.host}: {masked(' '.join(text.split()), self._key)}"[:300], refused) from None
        finally:
            if timer is not None:
                timer.cancel()

    def _connection(self) -> http.client.HTTPConnection:
        """This thread's connection, opened if there is none or the server has closed it meanwhile."""
        link: http.client.HTTPConnection = getattr(self._kept, "link", None) or self._new()
        if link.sock is not None:
            waiting = select.poll()
            waiting.register(link.sock, select.POLLIN)
            if waiting.poll(0):  # nothing was asked, so this is the end, or what nobody asked for
                link.close()
        if link.sock is None:
            link.connect()
        self._kept.link = link
        return link

    def _new(self) -> http.client.HTTPConnection:
        """Not yet open; to another machine through the proxy that the environment names."""
        parts = urlsplit(self.url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]  # or ::1 is taken for a host and its port
        if parts.scheme == "http":
            return http.client.HTTPConnection(self.host, port, timeout=self._timeout)
        proxy = "" if urllib.request.proxy_bypass(self.host) else urllib.request.getproxies().get("https", "")
        if not proxy:
            return http.client.HTTPSConnection(self.host, port, timeout=self._timeout)
        by = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        link = http.client.HTTPSConnection(by.hostname or "", by.port or 80, timeout=self._timeout)
        login = base64.b64encode(f"{unquote(by.username or '')}:{unquote(by.password or '')}".encode()).decode()
        link.set_tunnel(self.host, port, {"Proxy-Authorization": f"Basic {login}"} if by.username else None)
        return link

    def hidden(self, text: str) -> str:
        """``text`` without the key."""
        return masked(text, self._key)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the answer is in
        connection.shutdown(socket.SHUT_RDWR)


def _read(answer: Any, limit: int, cut: bool = False) -> bytes:
    """A body of at most ``limit`` bytes. Raises ValueError for a longer one, unless it is to be ``cut``."""
    raw = bytes(answer.read(limit + 1))
    if len(raw) > limit and not cut:
        raise ValueError(f"the answer has more than {limit} bytes")
    return raw[:limit]


def masked(text: str, key: str) -> str:
    """``text`` without the key, which some servers repeat in their errors."""
    return text.replace(key, "***") if key else text


def _seconds(text: str | None) -> float | None:
    """What ``Retry-After`` asks for (RFC 9110, 10.2.3: seconds or a date); None if it is neither."""
    try:
        wanted = float(text or "nan")
    except ValueError:
        try:
            wanted = parsedate_to_datetime(text or "").timestamp() - time.time()
        except ValueError:
            return None
    return None if math.isnan(wanted) else min(max(0.0, wanted), MAX_WAIT)
