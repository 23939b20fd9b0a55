"""Ask in shards, by many processes or machines: each shard fills a reply cache of its own, merged when all are done.

What was asked and answered before is asked by nobody again, whichever process was killed; the records are then made
from the one cache, exactly as without shards. A budget is shared out by the number of records.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from emo_face.datasets.annotate.cache import ReplyCache, replies_of
from emo_face.datasets.annotate.collect import Account, Collector, Job, Outcome, Settings
from emo_face.datasets.annotate.provider import Provider
from emo_face.datasets.records import Record, to_row
from emo_face.runtime import shards

PARTS = "parts"
AGAIN = ("unreachable", "not asked")
"""What the next run may resolve."""


class Questions(Protocol):
    """What is asked about records; picklable."""

    def jobs(self, records: Sequence[Record]) -> Sequence[Job[Any]]: ...

    def provider(self) -> Provider: ...


@dataclass(frozen=True)
class AskJob(shards.Job[Record]):
    """Answers of a provider about records. ``total``: how many records share the budget."""

    questions: Questions
    settings: Settings
    cache: Path
    total: int

    @property
    def key(self) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        return json.dumps(["ask", 1, repr(self.questions), self.settings.tries, self.settings.max_tokens])

    def item_key(self, item: Record) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        return json.dumps(to_row(item))

    def worker(self) -> Callable[[Sequence[Record]], Sequence[shards.Row]]:
        """Load or reach the provider."""
        provider, known = self.questions.provider(), replies_of(self.cache)

        def ask(items: Sequence[Record]) -> list[shards.Row]:
            budget = self.settings.budget
            share = None if budget is None else budget * len(items) / self.total
            name = hashlib.sha256(json.dumps([item.id for item in items]).encode()).hexdigest()[:16]
            with ReplyCache(self.cache / PARTS / name, known) as own:
                collector: Collector[Any] = Collector(provider, own, replace(self.settings, budget=share))
                outcomes = collector.run(list(self.questions.jobs(items)))
            told = [_row(outcome) for outcome in outcomes]
            return [*told, {"account": collector.account.as_json(), "provider": provider.name}]

        return ask


def _row(outcome: Outcome[Any]) -> shards.Row:
    row = {"id": outcome.id, "status": outcome.status, "detail": outcome.detail}
    return {**row, "error": outcome.status} if outcome.status in AGAIN else row


def merge(cache: ReplyCache) -> None:
    """Take the answers of finished parts over. Raises UserError while another run asks into one."""
    for part in sorted((cache.folder / PARTS).glob("*")):
        with ReplyCache(part):  # nobody else works in it
            for key, reply in replies_of(part).items():
                if cache.get(key) is None:
                    cache.put(key, reply)
        shutil.rmtree(part)


def statuses(rows: Sequence[shards.Row], outcomes: Sequence[Outcome[Any]]) -> list[Outcome[Any]]:
    """The outcomes with what the shards know better: why something is not in the cache."""
    said = {row["id"]: row for row in rows if "id" in row}
    return [
        replace(outcome, status=said[outcome.id]["status"], detail=said[outcome.id]["detail"])
        if outcome.status == "not cached" and outcome.id in said
        else outcome
        for outcome in outcomes
    ]


def account(rows: Sequence[shards.Row], outcomes: Sequence[Outcome[Any]]) -> Account:
    """What the shards of this run took together, and how the rows ended."""
    total = Account(rows=Counter(outcome.status for outcome in outcomes))
    for found in (row["account"] for row in rows if "account" in row):
        for name, value in found.items():
            if name != "rows":
                setattr(total, name, getattr(total, name) + value)
    return total
