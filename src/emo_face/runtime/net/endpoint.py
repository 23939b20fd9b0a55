"""JSON to an HTTP server and back: bounded in time and size, never redirected, the key never in a message."""

import http.client
import json
import math
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

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
    """One address that takes JSON by POST.

    Attributes:
        url: the address. host: its name.

    Args:
        option: what named the address, for errors. base: for example ``https://host/v1``. path: behind it; not repeated
            if the base ends in it. key: bearer token, empty for none. timeout: seconds for a whole answer.

    Raises:
        UserError: no http(s) address, or what is sent would leave this machine unencrypted.
    """

    def __init__(self, option: str, base: str, path: str, key: str = "", timeout: float = 120.0) -> None:
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"{option}: expected an address such as https://host/v1, got {base!r}")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise UserError(f"{option}: {base} would carry pictures unencrypted; use https, or http on 127.0.0.1")
        self.host = parts.hostname
        whole = parts.path.rstrip("/")
        self.url = f"{parts.scheme}://{parts.netloc}{whole if whole.endswith(path) else whole + path}"
        self._key, self._timeout = key, timeout
        self._opener = urllib.request.build_opener(_NoRedirect, _Http(timeout), _Https(timeout))

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
        call = urllib.request.Request(self.url, json.dumps(body).encode(), every, method="POST")
        start = time.monotonic()
        try:
            try:
                with self._opener.open(call, timeout=self._timeout) as answer:
                    return 200, _read(answer, MAX_BODY), None
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, _read(error, 2000, cut=True), _seconds(error.headers.get("Retry-After"))
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = time.monotonic() - start >= self._timeout
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            text = f"no answer within {self._timeout:g} s" if late else f"{type(error).__name__}: {reason}"
            refused = isinstance(reason, ConnectionRefusedError)
            raise NoAnswer(f"{self.host}: {masked(' '.join(text.split()), self._key)}"[:300], refused) from None
        finally:
            if (timer := getattr(_watch, "timer", None)) is not None:
                timer.cancel()

    def hidden(self, text: str) -> str:
        """``text`` without the key."""
        return masked(text, self._key)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry picture and key to a host that nobody chose."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_watch = threading.local()  # ``timer``: of the connection that this thread made last


class _Timed(http.client.HTTPConnection):
    """A connection that is cut ``limit`` seconds after it was made, however slowly the other side talks."""

    limit = 0.0

    def connect(self) -> None:
        super().connect()
        _watch.timer = threading.Timer(self.limit, _cut, (self.sock,))
        _watch.timer.daemon = True
        _watch.timer.start()


class _TimedTls(_Timed, http.client.HTTPSConnection):
    """The same, encrypted."""


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the answer is in


class _Http(urllib.request.HTTPHandler):
    def __init__(self, limit: float) -> None:
        super().__init__()
        self._kind: Any = type("Timed", (_Timed,), {"limit": limit})

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kind, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, limit: float) -> None:
        super().__init__()
        self._kind: Any = type("TimedTls", (_TimedTls,), {"limit": limit})

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kind, req)


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
    try:
        wanted = float(text or "nan")
    except ValueError:
        return None  # a date; the back-off is as good
    return None if math.isnan(wanted) else min(max(0.0, wanted), MAX_WAIT)
