"""An OpenAI-compatible server that reads a situation; its answers as vLLM, llama.cpp and Ollama print them."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from fake_endpoint import FakeEndpoint

from emo_face.core.errors import ConfigError, ModelError, UserError
from emo_face.core.labels import basic7
from emo_face.core.types import Box, Emotion, Person, Speech
from emo_face.expression.contextface.prompts import words
from emo_face.expression.endpoint.backend import EndpointExpression
from emo_face.expression.endpoint.client import EndpointClient, EndpointSettings, Unreachable
from emo_face.expression.endpoint.logprobs import read_answer
from emo_face.expression.model import Context, Scene, SeenPerson
from emo_face.expression.prototypes import PrototypeSettings
from emo_face.runtime.net.endpoint import MAX_BODY

Tokens = dict[str, float]


def completion(*places: Tokens, style: str = "vllm") -> str:
    """One chat completion with alternatives (token -> probability) per place, in a server's own shape.

    OpenAI and vLLM: token, logprob, bytes. llama.cpp (tools/server): id as well. Ollama (openai/openai.go): bytes may
    be left out.
    """

    def one(number: int, token: str, chance: float) -> dict[str, Any]:
        row: dict[str, Any] = {"token": token, "logprob": math.log(chance)}
        if style != "ollama":
            row["bytes"] = list(token.encode())
        return {"id": number, **row} if style == "llama.cpp" else row

    content = []
    for place in places:
        rows = [one(n, *pair) for n, pair in enumerate(sorted(place.items(), key=lambda pair: -pair[1]))]
        content.append({**rows[0], "top_logprobs": rows})
    text = "".join(next(iter(place)) for place in places)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": {"content": content},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 60, "completion_tokens": len(places), "total_tokens": 60 + len(places)}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1760000000, "model": "m"}
    return json.dumps({**whole, "choices": [choice], "usage": usage})


def read(*places: Tokens, style: str = "vllm") -> Tokens:
    found = read_answer(completion(*places, style=style).encode(), "http://x")
    return dict(zip(words(), found, strict=True))


class TestLogProbabilities:
    @pytest.mark.parametrize("style", ["vllm", "llama.cpp", "ollama"])
    def test_first_tokens_become_the_seven_words(self, style: str) -> None:
        found = read({" Happy": 0.6, "Ang": 0.2, "Dis": 0.1, "The": 0.1}, {"ry": 1.0}, style=style)
        assert found["Happy"] == pytest.approx(0.6 / 0.9)
        assert found["Angry"] == pytest.approx(0.2 / 0.9)
        assert sum(found.values()) == pytest.approx(1.0)

    def test_spellings_add_up_and_other_words_of_an_emotion_count(self) -> None:
        found = read({"Sad": 0.3, "sad": 0.2, " SAD": 0.1, "joy": 0.4})
        assert found["Sad"] == pytest.approx(0.6)
        assert found["Happy"] == pytest.approx(0.4)

    def test_a_token_that_begins_two_words_is_shared(self) -> None:
        found = read({"S": 0.5, "Neutral": 0.5})
        assert found["Sad"] == found["Surprise"] == pytest.approx(0.25)

    def test_marks_before_the_word_are_no_answer(self) -> None:
        found = read({"\n": 0.9, "Sad": 0.1}, {"**": 1.0}, {"Fear": 0.9, "Happy": 0.1})
        assert found["Fear"] == pytest.approx(0.9)

    def test_an_answer_about_something_else_is_an_error(self) -> None:
        with pytest.raises(
            ModelError, match=r"begins with '<think>' and none of the seven words; give a model that fol"
        ):
            read({"<think>": 0.999, "Sad": 0.001}, {"\n": 1.0})

    @pytest.mark.parametrize(
        ("raw", "says"),
        [
            (b"<html>proxy</html>", "no chat completion"),
            (b'{"choices": []}', "no chat completion"),
            (b'{"choices": [{"message": {"content": "Happy"}}]}', "no log-probabilities; give a server that returns"),
            (b'{"choices": [{"logprobs": null}]}', "no log-probabilities"),
            # vLLM without top_logprobs in the request
            (b'{"choices":[{"logprobs":{"content":[{"token":"a","logprob":0,"top_logprobs":[]}]}}]}', "no log-prob"),
            (b'{"choices":[{"logprobs":{"content":[{"token":"a","top_logprobs":[{"token":1}]}]}}]}', "no chat compl"),
            (b"[" * 100_000, "no chat completion"),
        ],
    )
    def test_what_is_no_answer_is_an_error(self, raw: bytes, says: str) -> None:
        with pytest.raises(ModelError, match=says):
            read_answer(raw, "http://x")


def client(server: FakeEndpoint, **changes: Any) -> EndpointClient:
    return EndpointClient(EndpointSettings(server.url, "qwen", **changes))


def told(tokens: Tokens) -> Callable[[dict[str, Any], int], Any]:
    return lambda body, number: (200, {}, completion(tokens))


class TestClient:
    def test_it_asks_in_the_published_form(self) -> None:
        picture = np.full((90, 120, 3), 200, np.uint8)
        with FakeEndpoint(told({"Happy": 1.0})) as server:
            asker = client(server, key="secret")
            found = asker.emotions("We <b>won</b>!", "A match.", picture, Box(10, 10, 30, 40))
        assert found[words().index("Happy")] == 1.0
        (body,) = server.bodies
        assert body["path"] == "/v1/chat/completions"
        assert {k: body[k] for k in ("model", "logprobs", "top_logprobs", "temperature", "max_tokens")} == {
            "model": "qwen", "logprobs": True, "top_logprobs": 20, "temperature": 0, "max_tokens": 4,
        }  # fmt: skip
        assert server.headers[0]["Authorization"] == "Bearer secret"
        image, text = body["messages"][1]["content"]
        kind, _, data = image["image_url"]["url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        seen = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert seen.shape == (448, 448, 3)
        assert (seen[..., 2].astype(int) - seen[..., 1] > 100).any()  # the red box
        assert "A match. The person in the red box says “We \u2039b\u203awon\u2039/b\u203a!” What does" in text["text"]
        assert text["text"].endswith("Choose from: Angry, Sad, Surprise, Neutral, Fear, Happy, Disgust.")

    def test_a_free_question_is_answered_whole(self) -> None:
        with FakeEndpoint(lambda body, number: "Because they won.") as server:
            assert list(client(server).ask("Why?", "We won!")) == ["Because they won."]
        assert "logprobs" not in server.bodies[0]

    def test_an_answer_in_parts_is_text_and_one_without_is_an_error(self) -> None:
        """Mistral's chunks; vLLM with a reasoning parser and too few tokens: content is null."""
        parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Because."}]
        with FakeEndpoint(lambda body, number: {"content": parts if not number else None}) as server:
            assert list(client(server).ask("Why?", "We won!")) == ["Because."]
            with pytest.raises(ModelError, match="no answer within 96 tokens; give a model that"):
                list(client(server).ask("Why?", "We won!"))

    def test_a_model_that_wants_max_completion_tokens_and_thinks_aloud(self) -> None:
        """OpenAI's error object of the o and GPT-5 families; the fields are remembered."""

        def answer(body: dict[str, Any], number: int) -> Any:
            for name in ("max_tokens", "temperature"):
                if name in body:
                    said = f"Unsupported parameter: '{name}' is not supported with this model."
                    return (
                        400,
                        {},
                        json.dumps({"error": {"message": said, "param": name, "type": "invalid_request_error"}}),
                    )
            return "<think>Why not?</think>Because they won."

        with FakeEndpoint(answer) as server:
            asker = client(server)
            assert list(asker.ask("Why?", "We won!")) == ["Because they won."]
            assert list(asker.ask("Why?", "We won!")) == ["Because they won."]
        assert len(server.bodies) == 4
        assert server.bodies[-1]["max_completion_tokens"] == 96

    def test_nothing_to_go_by(self) -> None:
        with FakeEndpoint() as server, pytest.raises(UserError, match="context: a quote, a situation or an image"):
            client(server).emotions("  ")

    @pytest.mark.parametrize(
        ("url", "model", "says"),
        [
            ("ftp://127.0.0.1", "m", "contextface.endpoint: expected an address"),
            ("http://[::1", "m", "contextface.endpoint: expected an address"),
            ("http://127.0.0.1:80000/v1", "m", "contextface.endpoint: expected an address"),
            ("http://10.0.0.5:8000/v1", "m", "unencrypted; use https"),
            ("https://api.example.org/v1", "m", "not this machine, and words and pictures would go there; set"),
            ("http://127.0.0.1:1/v1", "", "contextface.endpoint_model: is empty"),
        ],
    )
    def test_addresses_are_local_by_default(self, url: str, model: str, says: str) -> None:
        with pytest.raises(UserError, match=says):
            EndpointClient(EndpointSettings(url, model))

    def test_another_machine_if_allowed(self) -> None:
        EndpointClient(EndpointSettings("https://api.example.org/v1", "m", remote=True))

    @pytest.mark.parametrize(
        ("code", "kind", "says"),
        [
            (503, Unreachable, "answers 503"),
            (429, Unreachable, "answers 429"),
            (404, ModelError, r"check the address \(most end in /v1\) and contextface.endpoint_model"),
            (401, ModelError, r"set EMO_FACE_ENDPOINT_KEY"),
        ],
    )
    def test_refusals_are_named_without_the_key(self, code: int, kind: type[Exception], says: str) -> None:
        with FakeEndpoint(lambda body, number: (code, {}, "no: secret")) as server:
            asker = client(server, key="secret")
            with pytest.raises(kind, match=says) as error:
                asker.emotions("oh")
        assert "secret" not in str(error.value).replace("KEY", "")

    def test_nobody_listens_too_late_too_much(self) -> None:
        with FakeEndpoint(told({"Sad": 1.0})) as server:
            closed = client(server)
        with pytest.raises(Unreachable, match="is the server running"):
            closed.emotions("oh")
        with FakeEndpoint(told({"Sad": 1.0}), seconds=1.0) as server:
            late = client(server, timeout=0.2)
            with pytest.raises(Unreachable, match=r"no answer within 0.2 s"):
                late.emotions("oh")
        with FakeEndpoint(lambda body, number: (200, {}, " " * (MAX_BODY + 1))) as server:
            talker = client(server)
            with pytest.raises(Unreachable, match="more than"):
                talker.emotions("oh")


def context(text: str = "", stamp: float = 10.0, label: str = "Neutral") -> Context:
    p = np.eye(7)[basic7().index(label)] * 0.9 + 0.1 / 7
    person = Person("p00001", 0.9, Box(10, 10, 40, 60))
    seen = SeenPerson(person, Emotion("basic7", p, p > 0.5, 0.0, 0.0, {}, 0.9))
    return Context(stamp, Scene(stamp, 120, 90, (seen,)), seen, Speech(text, stamp) if text else None)


def until_known(backend: EndpointExpression, given: Context, now: float) -> Any:
    """Express until the server's answer is there."""
    deadline = time.monotonic() + 30.0
    while (target := backend.express(given, now)).source != "endpoint":
        assert time.monotonic() < deadline, backend.warning
        time.sleep(0.005)
    return target


def settled(backend: EndpointExpression, given: Context, now: float) -> None:
    """Let the answer that is awaited come or fail."""
    backend.express(given, now)
    deadline = time.monotonic() + 30.0
    while backend._asked is not None and not backend._asked[2].done():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    backend._collect(now)


class TestBackend:
    def test_until_the_answer_is_there_what_was_read_is_answered(self) -> None:
        with FakeEndpoint(told({"Happy": 0.9, "Sad": 0.1})) as server:
            backend = EndpointExpression(client(server), PrototypeSettings(perspective="mirror"))
            given = context("We won!")
            assert backend.express(given, 10.0).source == "prototypes"
            target = until_known(backend, given, 10.0)
            assert (target.feels.label_set, target.shown.name) == ("caers7", "Happy")
            assert target.keyframes[0].coefficients.shape == (100,)
            assert target.confidence == pytest.approx(0.9)
            backend.express(context("We won!", 11.0), 11.0)
            assert len(server.bodies) == 1  # the same words are not asked twice
            assert backend.express(context("", 12.0), 12.0).source == "prototypes"

    def test_manners_follow_parameters_while_it_runs(self) -> None:
        with FakeEndpoint(told({"Angry": 1.0})) as server:
            backend = EndpointExpression(client(server), PrototypeSettings(perspective="mirror", intensity=0.8))
            strong = until_known(backend, context("No!"), 10.0).keyframes[0].coefficients
            backend.settings = PrototypeSettings(perspective="mirror", intensity=0.2)
            weak = until_known(backend, context("No!"), 10.0).keyframes[0].coefficients
        assert np.abs(weak).sum() < 0.5 * np.abs(strong).sum()

    def test_words_of_somebody_unseen(self) -> None:
        with FakeEndpoint(told({"Fear": 1.0})) as server:
            backend = EndpointExpression(client(server), PrototypeSettings(perspective="mirror"))
            target = until_known(backend, Context(10.0, None, None, Speech("Help!", 10.0)), 10.0)
        assert target.shown.name == "Fear"

    def test_a_server_that_fails_is_named_and_asked_again_while_the_words_count(self) -> None:
        answers = iter([(503, {}, "loading"), (503, {}, "loading"), (200, {}, completion({"Sad": 1.0}))])
        with FakeEndpoint(lambda body, number: next(answers)) as server:
            backend = EndpointExpression(client(server), PrototypeSettings(perspective="mirror"))
            given = context("They left.")
            settled(backend, given, 10.0)
            assert "answers 503: loading; the face answers what was read" in backend.warning
            backend.express(given, 10.5)
            assert len(server.bodies) == 1  # left alone for a second
            settled(backend, given, 11.1)
            backend.express(given, 12.0)
            assert len(server.bodies) == 2  # and then for two
            assert until_known(backend, given, 13.2).shown.name == "Sad"
            assert backend.warning == ""

    def test_a_slow_answer_is_not_lost_and_the_newest_words_come_next(self) -> None:
        with FakeEndpoint(told({"Sad": 1.0}), seconds=0.2) as server:
            backend = EndpointExpression(client(server), PrototypeSettings(perspective="mirror"))
            for text in ("one", "two", "three"):
                backend.express(context(text), 10.0)
            until_known(backend, context("three"), 10.0)
            assert backend.express(context("one"), 10.0).source == "endpoint"
            asked = [body["messages"][1]["content"] for body in server.bodies]
        assert ["“one”" in asked[0], "“three”" in asked[1]] == [True, True]


def test_the_node_s_parameters_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy")
    from emo_face.nodes.backends import expression_model
    from emo_face.ros.parameters.schema import load_schema
    from emo_face.runtime.engines.select import Engines

    monkeypatch.setenv("EMO_FACE_ENDPOINT_KEY", "k")
    defaults = {parameter.name: parameter.default for parameter in load_schema("expression").parameters}
    values = defaults | {"backend": "contextface", "contextface.endpoint": "http://localhost:11434/v1"}
    with pytest.raises(ConfigError, match="endpoint_model: is empty"):
        expression_model(values, Engines("cpu"))
    backend = expression_model(values | {"contextface.endpoint_model": "qwen"}, Engines("cpu"))
    assert isinstance(backend, EndpointExpression)
    assert backend.engine.settings == EndpointSettings("http://localhost:11434/v1", "qwen", "k", 10.0, False)
