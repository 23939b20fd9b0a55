"""A provider behind any endpoint that speaks the OpenAI chat format (``POST <endpoint>/chat/completions``)."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from emo_face.core.errors import UserError
from emo_face.datasets.annotate.provider import Reply, Request, TransientError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
RETRY = (408, 409, 425, 429)
FILTERED = ("content_filter", "content_policy", "safety", "moderation")


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
        self._opener = urllib.request.build_opener(_NoRedirect)

    @property
    def name(self) -> str:
        """Where it asks; never the key."""
        return f"http:{self.host}"

    def complete(self, request: Request) -> Reply:
        """See :class:`~emo_face.datasets.annotate.provider.Provider`."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": request.key}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        body = json.dumps(payload(request)).encode()
        try:
            call = urllib.request.Request(self._url, body, headers, method="POST")
            with self._opener.open(call, timeout=self._timeout) as answer:
                raw = answer.read()
        except urllib.error.HTTPError as error:
            return self._failed(error)
        except urllib.error.URLError as error:
            refused = isinstance(error.reason, ConnectionRefusedError)
            raise TransientError(f"{self.host}: {error.reason}", charged=not refused) from None
        except (TimeoutError, OSError) as error:
            raise TransientError(f"{self.host}: {error}") from None
        return read_reply(raw, self.host)

    def _failed(self, error: urllib.error.HTTPError) -> Reply:
        text = error.read()[:2000].decode("utf-8", "replace")
        if error.code in RETRY or error.code >= 500:
            raise TransientError(
                f"{self.host}: {error.code} {text[:200]}",
                _seconds(error.headers.get("Retry-After")),
                charged=error.code >= 500,
            )
        if error.code in (400, 403, 422) and any(word in text.lower() for word in FILTERED):
            return Reply(text="", refused=True)
        hint = {
            401: "check the key that --key-env names",
            403: "the key may not use this model",
            404: "check --endpoint and --model",
        }.get(error.code, "check --endpoint and --model")
        raise UserError(f"{self._url}: {error.code} {' '.join(text.split())[:200]}; {hint}")


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


def read_reply(raw: bytes, host: str) -> Reply:
    """The answer in a response. Raises TransientError for one that is no chat completion (a proxy's page, a cut)."""
    try:
        body = json.loads(raw)
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        if isinstance(text, list):
            text = "".join(part.get("text", "") for part in text)
        usage = body.get("usage") or {}
        return Reply(
            text=str(text),
            refused=bool(message.get("refusal")) or choice.get("finish_reason") == "content_filter",
            tokens_in=int(usage.get("prompt_tokens") or 0),
            tokens_out=int(usage.get("completion_tokens") or 0),
            model=str(body.get("model") or ""),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise TransientError(f"{host}: the answer is no chat completion ({type(error).__name__}: {error})") from None


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None  # a date; the back-off is as good
