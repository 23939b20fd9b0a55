"""Questions to a chat server: which of seven emotions, and free ones."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2

from emo_face.core.errors import ConfigError, ModelError, UserError
from emo_face.core.types import Box, FloatArray, ImageArray
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.picture import fitted
from emo_face.expression.endpoint.logprobs import OTHER_MODEL, TOP, read_answer
from emo_face.runtime.net.chat import NO_ANSWER, ChatEndpoint, choice_of, text_of, without_thinking
from emo_face.runtime.net.endpoint import NoAnswer

PARAMETER = "contextface.endpoint"
SYSTEM = "You read emotions. Answer with one word of the list and nothing else."
FIRST_WORD = 4  # tokens: a mark or a line break may come before the word
SIZE, QUALITY = 448, 90  # of the picture: pixels per side, JPEG


class Unreachable(ModelError):
    """No answer now; another try later may get one."""


@dataclass(frozen=True)
class EndpointSettings:
    """Which server and model.

    Attributes:
        url: for example ``http://127.0.0.1:11434/v1``. model: its name there. key: bearer token, or empty.
        timeout: seconds for a whole answer. remote: words and pictures may leave this machine.
    """

    url: str
    model: str
    key: str = ""
    timeout: float = 10.0
    remote: bool = False


class EndpointClient:
    """Asks one model on one server; every call blocks until the answer or the time-out.

    Raises:
        UserError: no address, an unencrypted one elsewhere, one elsewhere without ``remote``, or no model named.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        self._end = ChatEndpoint(PARAMETER, settings.url, settings.key, settings.timeout)
        if not self._end.local and not settings.remote:
            raise ConfigError(
                f"{PARAMETER}: {self._end.host} is not this machine, and words and pictures would go there; "
                f"set {PARAMETER}_remote to true if the people in view agree"
            )
        if not settings.model:
            raise ConfigError(f"{PARAMETER}_model: is empty; name the model as the server knows it")

    def emotions(
        self, quote: str = "", situation: str = "", image: ImageArray | None = None, box: Box | None = None
    ) -> FloatArray:
        """(7,) probabilities of what the speaker feels, in the order of the seven words.

        Raises:
            UserError: nothing to read. ModelError: the server gave no usable answer; says what to do.
        """
        text = question(quote, situation, image is not None)
        body = self._body(text, image, box, FIRST_WORD, SYSTEM) | {"logprobs": True, "top_logprobs": TOP}
        return read_answer(self._post(body), self._end.url)

    def ask(
        self,
        question: str = "",
        quote: str = "",
        image: ImageArray | None = None,
        box: Box | None = None,
        max_new_tokens: int = 96,
    ) -> Iterator[str]:
        """A free answer, whole; without a question the situation behind the quote. Raises as :meth:`emotions`."""
        pieces = prompts.free_question(question, quote, image is not None, box is not None)
        text = prompts.plain([piece for piece in pieces if piece.kind != "image"])
        raw = self._post(self._body(text, image, box, max_new_tokens))
        try:
            answer = without_thinking(text_of(choice_of(raw)[1]))
        except NO_ANSWER as error:
            raise ModelError(f"{self._end.url}: the answer is no chat completion ({error})"[:300]) from None
        if not answer:
            raise ModelError(f"{self._end.url}: no answer within {max_new_tokens} tokens; {OTHER_MODEL}")
        yield answer

    def _body(
        self, text: str, image: ImageArray | None, box: Box | None, tokens: int, system: str = ""
    ) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if image is not None:
            content.insert(0, {"type": "image_url", "image_url": {"url": picture_url(image, box)}})
        lead = [{"role": "system", "content": system}] if system else []
        messages = [*lead, {"role": "user", "content": content if image is not None else text}]
        return {"model": self.settings.model, "messages": messages, "max_tokens": tokens, "temperature": 0}

    def _post(self, body: dict[str, Any]) -> bytes:
        try:
            code, raw, _ = self._end.post(body)
        except NoAnswer as error:
            raise Unreachable(f"{PARAMETER}: {error}; is the server running, and is {self._end.url} right?") from None
        text = self._end.hidden(raw.decode("utf-8", "replace"))
        if code == 200:
            return text.encode()
        said = " ".join(text.split())[:200]
        if code in (408, 409, 425, 429) or code >= 500:
            raise Unreachable(f"{PARAMETER}: {self._end.url} answers {code}: {said}")
        hint = {401: "set EMO_FACE_ENDPOINT_KEY", 404: f"check the address (most end in /v1) and {PARAMETER}_model"}
        raise ModelError(f"{self._end.url} answers {code}: {said}; {hint.get(code, 'check the model')}")


def question(quote: str, situation: str, image: bool) -> str:
    """What is asked about a situation. Raises UserError if nothing is given."""
    said, told = prompts.safe(quote), prompts.safe(situation)
    if not (said or told or image):
        raise UserError("context: a quote, a situation or an image is needed, all are empty")
    who = "the person in the red box" if image else "the person"
    parts = [told, f"{who[:1].upper()}{who[1:]} says “{said}”" if said else "", f"What does {who} feel?"]
    return " ".join([*filter(None, parts), f"Choose from: {', '.join(prompts.words())}."])


def picture_url(image: ImageArray, box: Box | None) -> str:
    """The picture with the person's red box as a data URL (JPEG)."""
    square = fitted(image, SIZE, box)[:, :, ::-1]
    done, data = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
