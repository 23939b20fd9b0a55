"""Ask many questions: a few at a time, each once, again if it may help, and count everything."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

import numpy as np

from emo_face.core.errors import UserError
from emo_face.datasets.annotate.cache import ReplyCache
from emo_face.datasets.annotate.provider import NotCached, Provider, Reply, Request, RowError, TransientError
from emo_face.datasets.annotate.schema import is_refusal
from emo_face.runtime.net.chat import without_thinking

T = TypeVar("T")
LONGEST = 20_000
"""Characters of an answer that are read; the longest that is wanted has 2,000."""
LOST = 5
"""Rows one after another that nobody answers, for all retries, until the run is stopped: the provider is dead."""


@dataclass(frozen=True)
class Job(Generic[T]):
    """A row to make: ``ask`` builds the request of an attempt, ``parse`` its value or raises ValueError."""

    id: str
    ask: Callable[[int], Request]
    parse: Callable[[str], T]


@dataclass(frozen=True)
class Settings:
    """How hard to try.

    Attributes:
        workers: questions under way at once. tries: answers of a wrong form before a row is given up.
        retries: failures of the connection in a row before a row is given up.
        max_tokens: of an answer; 0: what its prompt wants, which has no room for reasoning.
        first, longest: seconds of back-off, doubled each time, with up to a quarter of jitter by ``seed``.
        price_in, price_out: money a million tokens. budget: stop before more is spent; None for no limit.
    """

    workers: int = 4
    tries: int = 3
    retries: int = 6
    max_tokens: int = 0
    first: float = 1.0
    longest: float = 60.0
    price_in: float = 0.0
    price_out: float = 0.0
    budget: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of a row. ``status``: done, refused, invalid, unreachable, unusable (its picture or
    label is), not cached, or not asked."""

    id: str
    status: str
    value: T | None = None
    detail: str = ""
    request: Request | None = None
    reply: Reply | None = None
    attempts: int = 0
    cached: bool = False


@dataclass
class Account:
    """Rows by status, and what they took. ``spent`` in money of this run, ``value_cached`` what the cache saved."""

    rows: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    retries: int = 0
    from_cache: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    spent: float = 0.0
    value_cached: float = 0.0
    in_doubt_before: int = 0
    in_doubt: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain fields."""
        return asdict(self) | {"rows": dict(self.rows)}


def utc_now() -> str:
    """The date and time, UTC, to seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Collector(Generic[T]):
    """Runs jobs against a provider through a cache.

    Args:
        sleep, now: of the waiting and of the date in each row; replaced in tests. tick: called after each row.
    """

    def __init__(
        self,
        provider: Provider,
        cache: ReplyCache,
        settings: Settings,
        tick: Callable[[Outcome[T]], None] | None = None,
        sleep: Callable[[float], object] | None = None,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self.provider, self.cache, self.settings = provider, cache, settings
        self.account = Account(in_doubt_before=cache.in_doubt)
        self._tick, self._now = tick or (lambda outcome: None), now
        self._stop, self._mutex = threading.Event(), threading.Lock()
        self._sleep = sleep or self._stop.wait  # a stop ends the waiting
        self._lost = 0
        self._jitter = np.random.default_rng(settings.seed)

    def run(self, jobs: Sequence[Job[T]]) -> list[Outcome[T]]:
        """Outcomes in the order of the jobs.

        On an error that will never go away, a dead provider, or Ctrl-C, no new question goes out, answers under way are
        kept, then it is raised. Raises UserError (also if ids repeat) and KeyboardInterrupt.
        """
        if len({job.id for job in jobs}) != len(jobs):
            raise UserError("annotation: row ids must be unique")
        results: dict[str, Outcome[T]] = {}
        waiting = iter(jobs)
        with ThreadPoolExecutor(max(1, self.settings.workers)) as pool:
            running: set[Future[Outcome[T]]] = set()
            try:
                while True:
                    # no more futures than workers: an answer that nobody waits for could not be stopped
                    while len(running) < self.settings.workers and (job := next(waiting, None)) is not None:
                        running.add(pool.submit(self._row, job))
                    if not running:
                        break
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        outcome = future.result()
                        if outcome.request is not None:  # tens of thousands of rows must not keep their pictures
                            outcome = replace(outcome, request=replace(outcome.request, picture=None))
                        results[outcome.id] = outcome
                        self.account.rows[outcome.status] += 1
                        self._tick(outcome)
            finally:
                self._stop.set()
        self.account.in_doubt = self.cache.in_doubt
        return [results[job.id] for job in jobs]

    def _row(self, job: Job[T]) -> Outcome[T]:
        fault, cached, request, reply = "", True, None, None
        for attempt in range(self.settings.tries):
            try:
                request = job.ask(attempt)
                request = replace(request, max_tokens=self.settings.max_tokens or request.max_tokens)
            except RowError as error:
                return Outcome(job.id, "unusable", detail=str(error))
            reply = self.cache.get(request.key)
            hit = reply is not None
            cached = cached and hit
            if reply is None:
                if self._stop.is_set() or self._broke():
                    return Outcome(job.id, "not asked", detail=fault or "stopped before it was asked")
                try:
                    reply = self._ask(request)
                except RowError as error:
                    return Outcome(job.id, "unusable", detail=str(error), request=request)
                except NotCached:
                    return Outcome(job.id, "not cached", detail=fault, request=request, attempts=attempt)
                except TransientError as error:
                    return Outcome(job.id, "unreachable", detail=str(error), request=request, attempts=attempt + 1)
            self._count(reply, hit)
            answer = without_thinking(reply.text)[:LONGEST]
            if reply.refused or is_refusal(answer):
                return Outcome(job.id, "refused", None, answer[:200], request, reply, attempt + 1, cached)
            try:
                if reply.cut or (reply.text and not answer):
                    ended = "" if answer else " in its reasoning"
                    raise ValueError(f"the answer ends{ended} at {request.max_tokens} tokens; give more --max-tokens")
                return Outcome(job.id, "done", job.parse(answer), "", request, reply, attempt + 1, cached)
            except ValueError as error:
                fault = str(error)
        return Outcome(job.id, "invalid", None, fault, request, reply, self.settings.tries, cached)

    def _ask(self, request: Request) -> Reply:
        """One answer, with back-off; kept before it is returned."""
        for failure in range(self.settings.retries + 1):
            self.cache.sending(request.key)
            try:
                reply = replace(self.provider.complete(request), date=self._now())
            except (UserError, NotCached, RowError):
                self.cache.turned_down(request.key)
                raise
            except TransientError as error:
                if not error.charged:
                    self.cache.turned_down(request.key)
                absent = not error.reached and not self.account.requests
                if failure == self.settings.retries or self._stop.is_set() or absent:
                    self._lose(error)
                    raise
                with self._mutex:
                    self.account.retries += 1
                self._sleep(self.delay(failure, error.wait))
                if self._stop.is_set():
                    raise
                continue
            self.cache.put(request.key, reply)
            self._lost = 0
            return reply
        raise AssertionError("unreachable")

    def _lose(self, error: TransientError) -> None:
        """Count a row that nobody answered. Raises UserError if the provider is dead."""
        with self._mutex:
            self._lost += 1 if error.reached else LOST
        if self._lost >= LOST and not self._stop.is_set():
            raise UserError(
                f"{self.provider.name}: gave no answer ({error}); check that it runs and --endpoint, then give the "
                "same command again: answers are kept"
            )

    def delay(self, failure: int, wanted: float | None) -> float:
        """Seconds before the next try after ``failure`` + 1 failures; at least what the server asked for."""
        with self._mutex:
            jitter = 1 + 0.25 * float(self._jitter.random())
        own = min(self.settings.longest, self.settings.first * 2**failure) * jitter
        return max(float(own), wanted or 0.0)

    def _broke(self) -> bool:
        return self.settings.budget is not None and self.account.spent >= self.settings.budget

    def _count(self, reply: Reply, hit: bool) -> None:
        price = (reply.tokens_in * self.settings.price_in + reply.tokens_out * self.settings.price_out) / 1e6
        with self._mutex:
            if hit:
                self.account.from_cache += 1
                self.account.value_cached += price
                return
            self.account.requests += 1
            self.account.tokens_in += reply.tokens_in
            self.account.tokens_out += reply.tokens_out
            self.account.spent += price
