"""A provider behind any endpoint that speaks the OpenAI chat format (``POST <endpoint>/chat/completions``)."""

import base64
from typing import Any

from emo_face.core.errors import UserError
from emo_face.datasets.annotate.provider import Reply, Request, TransientError
from emo_face.runtime.net.chat import NO_ANSWER, ChatEndpoint, choice_of, text_of
from emo_face.runtime.net.endpoint import NoAnswer, masked

RETRY = (408, 409, 425, 429)
FILTERED = ("content_filter", "content_policy", "safety", "moderation")
SPENT = "insufficient_quota"
"""OpenAI's code, with a 429, for money that no waiting brings back (its guide "Error codes")."""


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
        self._end = ChatEndpoint("--endpoint", endpoint, key, timeout)
        self.host, self._key = self._end.host, key

    @property
    def name(self) -> str:
        """Where it asks; never the key."""
        return f"http:{self.host}"

    def complete(self, request: Request) -> Reply:
        """See :class:`~emo_face.datasets.annotate.provider.Provider`."""
        try:
            code, raw, wait = self._end.post(payload(request), {"Idempotency-Key": request.key})
        except NoAnswer as error:
            raise TransientError(str(error), charged=not error.refused, reached=not error.refused) from None
        return read_reply(raw, self.host, self._key) if code == 200 else self._failed(code, raw, wait)

    def _failed(self, code: int, raw: bytes, wait: float | None) -> Reply:
        text = masked(raw.decode("utf-8", "replace"), self._key)
        if (code in RETRY or code >= 500) and SPENT not in text:
            raise TransientError(f"{self.host}: {code} {text[:200]}", wait, charged=code >= 500)
        if code in (400, 403, 422) and any(word in text.lower() for word in FILTERED):
            return Reply(text="", refused=True)
        hint = {
            401: "check the key that --key-env names",
            403: "the key may not use this model",
            404: "check --endpoint (most end in /v1) and --model",
            429: "check the plan that the key belongs to",
        }.get(code, "check --endpoint and --model")
        raise UserError(f"{self._end.url}: {code} {' '.join(text.split())[:200]}; {hint}")


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
        body, choice = choice_of(raw)
        usage, ended = body.get("usage") or {}, choice.get("finish_reason")
        return Reply(
            text=_sound(text_of(choice), key),
            refused=bool(choice["message"].get("refusal")) or ended == "content_filter",
            cut=ended == "length",
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
