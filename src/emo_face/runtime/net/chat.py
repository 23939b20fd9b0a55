"""Chat servers as they are: fields that a model refuses by name, errors with status 200, reasoning before answers."""

import json
import re
from collections.abc import Mapping
from typing import Any

from emo_face.runtime.net.endpoint import JsonEndpoint

# What current models refuse by a 400 that names it -> what to send instead (None: nothing). OpenAI's error object has
# the field's name in `param`, others only in the message.
REFUSED_FIELDS: Mapping[str, str | None] = {"max_tokens": "max_completion_tokens", "temperature": None}
REFUSAL = ("unsupported", "not supported", "unrecognized", "unknown parameter")

NO_ANSWER = (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError)
"""No JSON, too deep (RecursionError), infinite numbers (OverflowError), other types than a chat completion has."""

_TAGS = r"(?:\w+[:_])?(?:think|thinking|thought|reasoning)"
_BEGINS = re.compile(
    rf"<{_TAGS}>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|inner_prefix\|>|<\|channel>thought"
    r"|<\|channel\|>(?:analysis|commentary)|Here(?:'s| is) my thought process:",
    re.I,
)
_ENDS = re.compile(
    rf"</{_TAGS}>(?:\s*<answer>)?|\[/THINK\]|◁/think▷|<\|END_THINKING\|>(?:<\|START_RESPONSE\|>)?"
    r"|<\|inner_suffix\|>|<channel\|>|<\|channel\|>final[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
    r"|(?<=\n)Here(?:'s| is) my response:",
    re.I,
)
_LAST = re.compile(r"(?:(?:<\|(?:return|end|END_RESPONSE)\|>|</answer>|<turn\|>)\s*)+$")


class ChatEndpoint(JsonEndpoint):
    """One address for chat completions. A question whose field a model refuses is asked again; that is remembered."""

    def __init__(self, option: str, base: str, key: str = "", timeout: float = 120.0) -> None:
        super().__init__(option, base, "/chat/completions", key, timeout)
        self._fields: dict[str, str | None] = {}  # what this model refused -> what it is sent instead

    def post(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, float | None]:
        """As :meth:`JsonEndpoint.post`, with ``max_tokens`` and ``temperature`` as the model takes them."""
        for _ in REFUSED_FIELDS:
            answer = super().post(renamed(body, self._fields), headers)
            refused = _refused_field(answer[0], answer[1], self._fields)
            if refused is None:
                return answer
            self._fields[refused] = REFUSED_FIELDS[refused]
        return super().post(renamed(body, self._fields), headers)


def choice_of(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """A chat completion and its first choice. Raises one of :data:`NO_ANSWER` for anything else.

    An error that comes with status 200 is raised in the server's own words: LM Studio's for a path that it does not
    know (``{"error": "Unexpected endpoint ..."}``), OpenRouter's beside the choices or in one.
    """
    body = json.loads(raw)
    error = body.get("error") or next((c["error"] for c in body.get("choices") or () if c.get("error")), None)
    if error:
        raise ValueError(f"the server says: {error.get('message', error) if isinstance(error, dict) else error}")
    return body, body["choices"][0]


def text_of(choice: Mapping[str, Any]) -> str:
    """The text of a choice; content may be null or parts, of which those that are no text (Mistral's thinking) go."""
    content = choice["message"].get("content") or ""
    return "".join(part.get("text") or "" for part in content) if isinstance(content, list) else str(content)


def json_in(text: str) -> Any:
    """The first object, or list of objects, in an answer: models put fences before and remarks behind it.

    Raises ValueError if there is none.
    """
    decoder = json.JSONDecoder(strict=False)  # line breaks inside of texts
    for start in re.finditer(r"[\[{]", text):
        try:
            value, _ = decoder.raw_decode(text, start.start())
        except RecursionError:
            break
        except ValueError:
            continue
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            return value
    raise ValueError("not JSON: no object in the answer")


def _refused_field(code: int, raw: bytes, known: Mapping[str, str | None]) -> str | None:
    """The field of the question that the model does not take, if that is what a 400 says and it was not mended yet."""
    text = raw.decode("utf-8", "replace").lower()
    if code not in (400, 422) or not any(word in text for word in REFUSAL):
        return None
    return next((name for name in REFUSED_FIELDS if name in text and name not in known), None)


def renamed(body: Mapping[str, Any], fields: Mapping[str, str | None]) -> dict[str, Any]:
    """``body`` with fields renamed, or left out if their new name is None."""
    return {fields.get(key, key) or "": value for key, value in body.items() if fields.get(key, key) is not None}


def without_thinking(text: str) -> str:
    """The answer after a model's reasoning, whose first mark templates often leave out of the answer.

    Marks: ``<think>`` (DeepSeek R1, Qwen 3, GLM), ``<seed:think>`` (Seed-OSS), ``[THINK]`` (Magistral), ``◁think▷``
    (Kimi), ``<|START_THINKING|>`` (Command A), ``<|inner_prefix|>`` (Apertus), the channels of gpt-oss and Gemma 4,
    LongCat's and Hunyuan's tags and Granite's words, as vLLM's reasoning parsers know them. Servers that are told the
    model's format take them away. Reasoning that never ends leaves nothing.
    """
    return _LAST.sub("", _BEGINS.split(_ENDS.split(text)[-1])[0]).strip()
