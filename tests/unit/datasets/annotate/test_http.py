"""datasets/annotate/http.py against a real endpoint on this machine that answers well, newly, and badly."""

from __future__ import annotations

import http.server
import json
import select
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from emo_face.core.errors import UserError
from emo_face.datasets.annotate.cache import ReplyCache, replies_of
from emo_face.datasets.annotate.collect import Collector, Job, Settings
from emo_face.datasets.annotate.http import HttpProvider
from emo_face.datasets.annotate.provider import Reply, Request, TransientError
from emo_face.datasets.annotate.schema import is_refusal, parse_context, parse_judgement
from emo_face.datasets.qa.quality import parse_rationale
from emo_face.runtime.net.chat import json_in, renamed, without_thinking
from emo_face.runtime.net.endpoint import MAX_BODY, JsonEndpoint

KEY = "sk-0123-secret"
ASKED = Request("m", "", "hello")


class Endpoint(http.server.BaseHTTPRequestHandler):
    """``answer(handler, body)`` of the server does the talking."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)  # type: ignore[attr-defined]
        try:
            self.server.answer(self, body)  # type: ignore[attr-defined]
        except OSError:  # the other side has had enough
            self.close_connection = True

    def whole(self, body: bytes, code: int = 200, **headers: str) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def raw(self, data: bytes) -> None:
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[[Endpoint, dict[str, Any]], None]


@pytest.fixture
def endpoint() -> Iterator[Callable[[Answer], tuple[HttpProvider, list[dict[str, Any]]]]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def start(answer: Answer) -> tuple[HttpProvider, list[dict[str, Any]]]:
        server.answer, server.asked = answer, []  # type: ignore[attr-defined]
        return HttpProvider(f"http://127.0.0.1:{server.server_port}/v1", KEY, timeout=1.0), server.asked  # type: ignore[attr-defined]

    yield start
    server.shutdown()


def completion(text: str = "Hello.", tokens: str = "5") -> bytes:
    choice = json.dumps({"message": {"content": text}, "finish_reason": "stop"})
    usage = f'{{"prompt_tokens": {tokens}, "completion_tokens": 5}}'
    return f'{{"choices": [{choice}], "usage": {usage}, "model": "m"}}'.encode()


# ---- models that refuse what older ones want: OpenAI's error object, and a proxy that gives the message alone


def refuses(*fields: str) -> Answer:
    def answer(handler: Endpoint, body: dict[str, Any]) -> None:
        for name in fields:
            if name in body:
                text = f"Unsupported parameter: '{name}' is not supported with this model."
                error = {
                    "message": text,
                    "type": "invalid_request_error",
                    "param": name,
                    "code": "unsupported_parameter",
                }
                return handler.whole(json.dumps({"error": error}).encode(), 400)
        return handler.whole(completion())

    return answer


def test_max_completion_tokens_is_found_out_once(endpoint: Any) -> None:
    provider, asked = endpoint(refuses("max_tokens"))
    assert provider.complete(ASKED).text == "Hello."
    assert provider.complete(ASKED).text == "Hello."
    assert [("max_tokens" in body, "max_completion_tokens" in body) for body in asked] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def test_a_model_with_a_fixed_temperature_too(endpoint: Any) -> None:
    provider, asked = endpoint(refuses("temperature", "max_tokens"))
    assert provider.complete(ASKED).text == "Hello."
    assert len(asked) == 3
    assert "temperature" not in asked[-1]


def test_another_400_stops_the_run(endpoint: Any) -> None:
    provider, asked = endpoint(lambda h, _: h.whole(b'{"error": "context too long for max_tokens"}', 400))
    with pytest.raises(UserError, match="context too long"):
        provider.complete(ASKED)
    assert len(asked) == 1
    assert renamed({"a": 1, "b": 2}, {"a": "c", "b": None}) == {"c": 1}


# ---- bad replies: each is a TransientError that says what came, within the time, without the key


def trickle(handler: Endpoint, _: object) -> None:
    handler.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def slow_header(handler: Endpoint, _: object) -> None:
    for _ in range(100):
        handler.wfile.write(b"X")
        time.sleep(0.05)


BAD: dict[str, Answer] = {
    "cut off": lambda h, _: h.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"choices'),
    "no status line": lambda h, _: h.raw(b"garbage\r\n\r\n"),
    "closed at once": lambda h, _: h.raw(b""),
    "broken chunks": lambda h, _: h.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\nabc\r\n"),
    "endless header": lambda h, _: h.raw(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n"),
    "a page": lambda h, _: h.whole(b"<html>"),
    "null": lambda h, _: h.whole(b"null"),
    "deep": lambda h, _: h.whole(b"[" * 100_000 + b"]" * 100_000),
    "no UTF-8": lambda h, _: h.whole(b'{"choices":[{"message":{"content":"\xff"}}]}'),
    "infinite tokens": lambda h, _: h.whole(completion(tokens="1e999")),
    "5000 digits": lambda h, _: h.whole(completion(tokens="9" * 5000)),
    "empty": lambda h, _: h.whole(b""),
    "no choices": lambda h, _: h.whole(b'{"choices": []}'),
    "key in an error": lambda h, _: h.whole(f"bad gateway for {KEY}".encode(), 502),
    "too long": lambda h, _: h.whole(b" " * (MAX_BODY + 9)),
    "trickle": trickle,
    "slow header": slow_header,
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_reply_is_tried_again_later(endpoint: Any, kind: str) -> None:
    provider, _ = endpoint(BAD[kind])
    start = time.monotonic()
    with pytest.raises(TransientError) as error:
        provider.complete(ASKED)
    assert time.monotonic() - start < 4
    assert KEY not in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 330


def test_bad_replies_are_counted_and_the_run_ends(endpoint: Any, tmp_path: Any) -> None:
    answers = iter([BAD["cut off"], BAD["deep"], lambda h, _: h.whole(completion("fine"))])
    provider, asked = endpoint(lambda h, body: next(answers)(h, body))
    with ReplyCache(tmp_path / "cache") as cache:
        collector = Collector(provider, cache, Settings(workers=1, retries=3), sleep=lambda _: None)
        (outcome,) = collector.run([Job("row", lambda _: ASKED, str)])
    assert (outcome.status, outcome.value, len(asked), collector.account.retries) == ("done", "fine", 3, 2)


@pytest.mark.parametrize(("said", "wait"), [("7", 7.0), ("nan", None), ("inf", 600.0), ("-3", 0.0), ("soon", None)])
def test_what_a_server_asks_to_wait_is_bounded(endpoint: Any, said: str, wait: float | None) -> None:
    provider, _ = endpoint(lambda h, _: h.whole(b"slow down", 429, Retry_After=said))
    with pytest.raises(TransientError) as error:
        provider.complete(ASKED)
    assert (error.value.wait, error.value.charged) == (wait, False)


def test_a_date_is_waited_for_too(endpoint: Any) -> None:
    """RFC 9110, 10.2.3: Retry-After = HTTP-date / delay-seconds."""
    provider, _ = endpoint(lambda h, _: h.whole(b"", 503, Retry_After=formatdate(time.time() + 300, usegmt=True)))
    with pytest.raises(TransientError) as error:
        provider.complete(ASKED)
    assert error.value.wait == pytest.approx(300, abs=60)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        # LM Studio, for any path that it does not know, such as one without /v1
        ({"error": "Unexpected endpoint or method. (POST /chat/completions)"}, "says: Unexpected endpoint or method"),
        # OpenRouter, "Errors": before the first token the error alone, after it in the choice
        ({"error": {"code": 502, "message": "Provider returned error"}}, "says: Provider returned error"),
        (
            {"choices": [{"finish_reason": "error", "error": {"code": 429, "message": "Slow"}, "message": {}}]},
            "says: Slow",
        ),
    ],
)
def test_an_error_with_status_200_is_told_in_the_servers_words(endpoint: Any, body: Any, said: str) -> None:
    provider, _ = endpoint(lambda h, _: h.whole(json.dumps(body).encode()))
    with pytest.raises(TransientError, match=said):
        provider.complete(ASKED)


def test_money_that_is_spent_stops_the_run(endpoint: Any) -> None:
    """OpenAI, "Error codes": 429 is a limit of rate or, by its code, of money; the second does not end by waiting."""
    error = {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}
    provider, _ = endpoint(lambda h, _: h.whole(json.dumps({"error": error}).encode(), 429))
    with pytest.raises(UserError, match="exceeded your current quota"):
        provider.complete(ASKED)


def test_an_answer_that_was_cut_is_none(endpoint: Any, tmp_path: Any) -> None:
    """OpenAI, finish_reason: "length" if the maximum number of tokens was reached; reasoning counts among them."""
    text = "[Expected situation]: He waits for a bus. [Expected quote]: Where is"
    choices = [{"message": {"content": text}, "finish_reason": "length"}]
    provider, asked = endpoint(lambda h, _: h.whole(json.dumps({"choices": choices}).encode()))
    settings = Settings(workers=1, tries=1)
    with ReplyCache(tmp_path / "cache") as cache:
        (first,) = Collector(provider, cache, settings).run([Job("row", lambda _: ASKED, parse_context)])
        choices[0]["finish_reason"] = "stop"
        more = Settings(workers=1, tries=1, max_tokens=4000)
        (second,) = Collector(provider, cache, more).run([Job("row", lambda _: ASKED, parse_context)])
    assert (first.status, first.detail) == ("invalid", "the answer ends at 300 tokens; give more --max-tokens")
    assert (second.status, [body["max_tokens"] for body in asked]) == ("done", [300, 4000])


def test_parts_of_an_answer_are_put_together(endpoint: Any) -> None:
    """Mistral's reasoning models answer in chunks: {"type": "thinking", "thinking": [...]}, {"type": "text", ...}."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "Hel"},
        {"type": "text", "text": "lo."},
    ]
    provider, _ = endpoint(lambda h, _: h.whole(json.dumps({"choices": [{"message": {"content": parts}}]}).encode()))
    assert provider.complete(ASKED).text == "Hello."


SCORES = '{"emotional_alignment": 4, "coherence": 5, "realism": 4, "overall": 4, "sufficient": true, "ambiguous": false'


@pytest.mark.parametrize(
    "answer",
    [
        SCORES + "}",
        f"Here is my judgement of {{it}}:\n```json\n{SCORES}}}\n```\nI gave {{4}} because it is good.",
        SCORES + ', "reason": "two\nlines"}\n\nNote: {scores} are from 0 to 5.',
    ],
)
def test_words_around_json_are_passed_over(answer: str) -> None:
    assert parse_judgement(answer).coherence == 5


def test_a_list_of_one_is_found_and_brackets_alone_are_none() -> None:
    assert parse_rationale('Sure!\n[{"question": "Why?", "answer": "So."}]\nIs [this] fine?') == ("Why?", "So.")
    with pytest.raises(ValueError, match="not JSON"):
        json_in("[" * 50_000)


def test_half_a_surrogate_and_the_key_never_reach_a_file(endpoint: Any) -> None:
    provider, _ = endpoint(lambda h, _: h.whole(completion(f"it is {KEY} \ud800", tokens="-7")))
    reply = provider.complete(ASKED)
    assert reply.text == "it is *** ?"
    assert reply.tokens_in == 0
    reply.text.encode()


def test_a_refused_key_is_not_printed(endpoint: Any) -> None:
    provider, _ = endpoint(lambda h, _: h.whole(f"wrong key: {h.headers['Authorization']}".encode(), 401))
    with pytest.raises(UserError, match=r"401 wrong key: Bearer \*\*\*; check the key"):
        provider.complete(ASKED)


# ---- reasoning, by the marks of vLLM's reasoning parsers (vllm/reasoning, vllm/parser): DeepSeek R1 and Qwen 3,
# Seed-OSS, Magistral, Kimi, Command A, gpt-oss, LongCat, Hunyuan A13B, Apertus, Gemma 4, Granite 3.2; templates that
# open it in the question leave the first mark out


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\nI must write an [Expected situation].\n</think>\n\nYes.", "Yes."),
        ("I wonder.</think>Yes.", "Yes."),
        ("<thinking>a</thinking><think>b</think> Yes.", "Yes."),
        ("<think>it never ends", ""),
        ("No tags. 3 < 4.", "No tags. 3 < 4."),
        ("<seed:think>a</seed:think>Yes.", "Yes."),
        ("[THINK]a [Expected quote][/THINK]Yes.", "Yes."),
        ("◁think▷a◁/think▷Yes.", "Yes."),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>", "Yes."),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
            "Yes.",
        ),
        ("<|channel|>analysis<|message|>it never ends", ""),
        ("I wonder.</longcat_think>Yes.", "Yes."),
        ("<think>\na\n</think>\n<answer>\nYes.\n</answer>", "Yes."),
        ("<|inner_prefix|>a<|inner_suffix|>Yes.", "Yes."),
        ("<|channel>thought\na<channel|>Yes.<turn|>", "Yes."),
        ("Here is my thought process: a\nHere's my response: Yes.", "Yes."),
        ("Here is my response to you.", "Here is my response to you."),
    ],
)
def test_reasoning_is_no_answer(text: str, answer: str) -> None:
    assert without_thinking(text) == answer


def test_headings_in_the_reasoning_are_not_the_answers() -> None:
    answer = '[Expected situation]: She opens the door.\n[Expected quote]: "You came!"'
    said = f"<think>I'm sorry, I need [Expected situation] and [Expected quote].</think>{answer}"
    assert parse_context(without_thinking(said)).quote == "You came!"
    assert not is_refusal(without_thinking(said))


def test_a_paid_answer_with_unicodes_own_line_ends_is_found_again(tmp_path: Any) -> None:
    with ReplyCache(tmp_path) as cache:
        cache.put("key", Reply("one\u2028two\x85three"))
    assert replies_of(tmp_path)["key"].text == "one\u2028two\x85three"


# ---- connections


@pytest.mark.parametrize(
    ("base", "url", "path", "port"),
    [
        ("http://[::1]/v1/", "http://[::1]/v1/chat/completions", "/v1/chat/completions", 80),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1/chat/completions", "/v1/chat/completions", 8000),
        # Azure OpenAI, "deployments": the version is in the query
        (
            "https://me:pw@x.example/openai/deployments/d?api-version=2024-10-21",
            "https://x.example/openai/deployments/d/chat/completions",
            "/openai/deployments/d/chat/completions?api-version=2024-10-21",
            443,
        ),
    ],
)
def test_addresses(base: str, url: str, path: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "")
    end = JsonEndpoint("--endpoint", base, "/chat/completions")
    link = end._new()
    assert (end.url, end._path, link.host, link.port) == (url, path, end.host, port)


def test_a_thread_keeps_its_connection_and_opens_another_when_the_server_hangs_up(endpoint: Any) -> None:
    seen: list[Any] = []

    def answer(handler: Endpoint, body: dict[str, Any]) -> None:
        seen.append(handler.client_address)
        if len(seen) == 4:  # a page longer than is read of an error
            return handler.whole(b"x" * 10_000, 503)
        handler.whole(completion())
        handler.close_connection = len(seen) == 2  # without a word: an idle connection that a server has had enough of

    provider, asked = endpoint(answer)
    for _ in range(3):
        assert provider.complete(ASKED).text == "Hello."
        closed = time.monotonic() + 10
        while len(seen) == 2 and provider._end._kept.link.sock is not None and time.monotonic() < closed:
            if select.select([provider._end._kept.link.sock], [], [], 0.1)[0]:
                break  # the server's goodbye has arrived
    with pytest.raises(TransientError, match="503"):
        provider.complete(ASKED)
    assert provider.complete(ASKED).text == "Hello.", "what was left of the page is not read as an answer"
    assert seen[0] == seen[1] != seen[2] == seen[3] != seen[4]
    other = threading.Thread(target=provider.complete, args=(ASKED,))
    other.start()
    other.join(10)
    assert seen[5] not in seen[:5], "each thread its own"
    assert len(asked) == 6, "nothing was asked twice"
