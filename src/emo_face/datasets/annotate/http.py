"""A provider behind any endpoint that speaks the OpenAI chat format (``POST <endpoint>/chat/completions``)."""

from __future__ import annotations

import base64
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
from emo_face.datasets.annotate.provider import Reply, Request, TransientError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
RETRY = (408, 409, 425, 429)
FILTERED = ("content_filter", "content_policy", "safety", "moderation")
MAX_BODY = 4_000_000  # bytes; an answer of 4096 tokens has about 20,000
MAX_WAIT = 600.0  # s that a server may ask for
# What current models refuse by a 400 that names it -> what to send instead (None: nothing). OpenAI's error object has
# the field's name in `param`, others only in the message.
REFUSED_FIELDS: Mapping[str, str | None] = {"max_tokens": "max_completion_tokens", "temperature": None}
# json: no JSON, too deep (RecursionError), infinite numbers (OverflowError), other types than an answer has
NO_ANSWER = (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry picture and key to a host that nobody chose."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class HttpProvider:
    """Asks an endpoint.

    Every request carries its content hash as ``Idempotency-Key``, so an endpoint that honours it answers (and charges)
    a question once, even when this process was killed between sending and writing the answer down.

    Args:
        endpoint: for example ``https://host/v1``. key: bearer token, empty for none. timeout: seconds.

    Raises:
        UserError: no http(s) address, or pictures would leave this machine unencrypted.
    """

    def __init__(self, endpoint: str, key: str = "", timeout: float = 120.0) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"--endpoint: expected an address such as https://host/v1, got {endpoint!r}")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise UserError(f"--endpoint: {endpoint} would carry pictures unencrypted; use https, or http on 127.0.0.1")
        self.host = parts.hostname
        path = parts.path.rstrip("/")
        self._path = path if path.endswith("/chat/completions") else path + "/chat/completions"
        self._url = f"{parts.scheme}://{parts.netloc}{self._path}"
        self._key, self._timeout = key, timeout
        self._fields: dict[str, str | None] = {}  # what this model refused -> what it is sent instead
        self._opener = urllib.request.build_opener(_NoRedirect, _Http(timeout), _Https(timeout))

    @property
    def name(self) -> str:
        """Where it asks; never the key."""
        return f"http:{self.host}"

    def complete(self, request: Request) -> Reply:
        """See :class:`~emo_face.datasets.annotate.provider.Provider`."""
        body = payload(request)
        for _ in range(1 + len(REFUSED_FIELDS)):
            code, raw, wait = self._post(renamed(body, self._fields), request.key)
            refused = _refused_field(code, raw, self._fields)
            if refused is None:
                break
            self._fields[refused] = REFUSED_FIELDS[refused]
        if code == 200:
            return read_reply(raw, self.host, self._key)
        return self._failed(code, raw, wait)

    def _post(self, body: Mapping[str, Any], key: str) -> tuple[int, bytes, float | None]:
        """(status, body, seconds asked to wait). Raises TransientError for what is no HTTP answer, or none in time."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        call = urllib.request.Request(self._url, json.dumps(body).encode(), headers, method="POST")
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
            raise TransientError(
                f"{self.host}: {masked(' '.join(text.split()), self._key)}"[:300], charged=not refused
            ) from None
        finally:
            if (timer := getattr(_watch, "timer", None)) is not None:
                timer.cancel()

    def _failed(self, code: int, raw: bytes, wait: float | None) -> Reply:
        text = masked(raw.decode("utf-8", "replace"), self._key)
        if code in RETRY or code >= 500:
            raise TransientError(f"{self.host}: {code} {text[:200]}", wait, charged=code >= 500)
        if code in (400, 403, 422) and any(word in text.lower() for word in FILTERED):
            return Reply(text="", refused=True)
        hint = {
            401: "check the key that --key-env names",
            403: "the key may not use this model",
            404: "check --endpoint and --model",
        }.get(code, "check --endpoint and --model")
        raise UserError(f"{self._url}: {code} {' '.join(text.split())[:200]}; {hint}")


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


def _refused_field(code: int, raw: bytes, known: Mapping[str, str | None]) -> str | None:
    """The field of the question that the model does not take, if that is what a 400 says and it was not mended yet."""
    if code not in (400, 422):
        return None
    text = raw.decode("utf-8", "replace").lower()
    if not any(word in text for word in ("unsupported", "not supported", "unrecognized", "unknown parameter")):
        return None
    return next((name for name in REFUSED_FIELDS if name in text and name not in known), None)


def renamed(body: Mapping[str, Any], fields: Mapping[str, str | None]) -> dict[str, Any]:
    """``body`` with fields renamed, or left out if their new name is None."""
    return {fields.get(key, key) or "": value for key, value in body.items() if fields.get(key, key) is not None}


def masked(text: str, key: str) -> str:
    """``text`` without the key, which some servers repeat in their errors."""
    return text.replace(key, "***") if key else text


def payload(request: Request) -> dict[str, Any]:
    """The body of a call: system text if there is one, picture first, then the question."""
    content: list[dict[str, Any]] = []
    if request.picture is not None:
        data = base64.b64encode(request.picture()).decode()
        content.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}})
    content.append({"type": "text", "text": request.user})
    system = [{"role": "system", "content": request.system}] if request.system else []
    return {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "messages": [*system, {"role": "user", "content": content}],
    }


def read_reply(raw: bytes, host: str, key: str = "") -> Reply:
    """The answer in a response. Raises TransientError for one that is no chat completion (a proxy's page, a cut).

    Args:
        key: masked in the answer.
    """
    try:
        body = json.loads(raw)
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        if isinstance(text, list):
            text = "".join(part.get("text", "") for part in text)
        usage = body.get("usage") or {}
        return Reply(
            text=_sound(str(text), key),
            refused=bool(message.get("refusal")) or choice.get("finish_reason") == "content_filter",
            tokens_in=max(0, int(usage.get("prompt_tokens") or 0)),
            tokens_out=max(0, int(usage.get("completion_tokens") or 0)),
            model=_sound(str(body.get("model") or ""), key)[:200],
        )
    except NO_ANSWER as error:
        said = masked(f"{type(error).__name__}: {error}", key)[:200]
        raise TransientError(f"{host}: the answer is no chat completion ({said})") from None


def _sound(text: str, key: str) -> str:
    """Text that can be written as UTF-8: JSON may hold halves of surrogate pairs."""
    return masked(text.encode("utf-8", "replace").decode("utf-8"), key)


def _seconds(text: str | None) -> float | None:
    try:
        wanted = float(text or "nan")
    except ValueError:
        return None  # a date; the back-off is as good
    return None if math.isnan(wanted) else min(max(0.0, wanted), MAX_WAIT)
