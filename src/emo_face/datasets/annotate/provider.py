"""What is asked of a language model and what comes back, whoever answers: an endpoint, a local model, or the cache."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class TransientError(Exception):
    """The request failed and may work later. ``wait``: seconds that the server asked for, or None.

    ``charged``: False if the server said that it did no work (a refused connection, 429), so nothing is owed.
    ``reached``: False if nobody listens at the address.
    """

    def __init__(self, text: str, wait: float | None = None, charged: bool = True, reached: bool = True) -> None:
        super().__init__(text)
        self.wait, self.charged, self.reached = wait, charged, reached


class RowError(Exception):
    """This row can never be asked: its picture is missing or broken, or its label is none of the seven."""


class NotCached(Exception):
    """The provider that only replays was asked something new."""


@dataclass(frozen=True)
class Request:
    """One question.

    Attributes:
        image_key: what picture it is about (hash of file, box and size), empty for none.
        attempt: 0, 1, ...: part of the key, so that a new try is not answered by the old bad answer.
        picture: gives the JPEG; called only if the question is really sent. Not part of the key.
    """

    model: str
    system: str
    user: str
    image_key: str = ""
    max_tokens: int = 300
    temperature: float = 1.0
    attempt: int = 0
    picture: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        """Hash of everything that decides the answer."""
        names = ("model", "system", "user", "image_key", "max_tokens", "temperature", "attempt")
        content = {name: getattr(self, name) for name in names}
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    @property
    def prompt_hash(self) -> str:
        """Hash of the texts alone: rows of one prompt version share it if the texts do."""
        return hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Reply:
    """An answer. ``refused``: the model would not. ``cut``: it had more to say than it was allowed tokens.

    ``tokens_in``, ``tokens_out``: as charged. ``model``: as served.
    """

    text: str
    refused: bool = False
    cut: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    model: str = ""
    date: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain fields."""
        return asdict(self)


class Provider(Protocol):
    """Somebody who answers. ``name`` goes into every row's provenance."""

    @property
    def name(self) -> str: ...

    def complete(self, request: Request) -> Reply:
        """Answer one request; called from several threads.

        Raises:
            TransientError: try again later. NotCached: nothing new is answered here.
            UserError: it will never work (wrong key, unknown model); the run stops.
        """


class Replay:
    """Answers nothing: every row must be in the cache already. For reproducing and for tests, without network."""

    name = "replay"

    def complete(self, request: Request) -> Reply:
        """Always raises NotCached."""
        raise NotCached(request.key)
