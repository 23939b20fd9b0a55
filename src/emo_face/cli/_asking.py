"""Who answers the questions of `emo-face annotate`, in this process or by a runner."""

import argparse
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.datasets.annotate import context, multiview, spread
from emo_face.datasets.annotate.cache import ReplyCache
from emo_face.datasets.annotate.collect import Collector, Settings
from emo_face.datasets.annotate.http import HttpProvider
from emo_face.datasets.annotate.local import LocalProvider
from emo_face.datasets.annotate.provider import Replay
from emo_face.runtime.progress import bar
from emo_face.runtime.runners import arguments as runners
from emo_face.runtime.runners import run_shards
from emo_face.runtime.shards import is_complete, plan, read


@dataclass(frozen=True)
class Questions:
    """What the flags ask; picklable, so that a shard may ask it elsewhere. The key itself stays in the environment."""

    action: str
    root: Path
    model: str
    temperature: float
    tasks: tuple[str, ...]
    reject: tuple[str, ...]
    provider_name: str
    endpoint: str | None
    key_env: str
    device: str
    timeout: float

    @staticmethod
    def of(args: argparse.Namespace, action: str) -> "Questions":
        where = (args.provider, args.endpoint, args.key_env, args.device, args.timeout)
        tasks, reject = getattr(args, "tasks", ()), getattr(args, "reject", ())
        return Questions(action, args.root, args.model, args.temperature, tuple(tasks), tuple(reject), *where)

    def jobs(self, records: Sequence[Any]) -> Sequence[Any]:
        if self.action in ("context", "listener"):
            ask = context.jobs if self.action == "context" else context.listener_jobs
            return ask(records, self.root, self.model, self.temperature, self.reject)
        return multiview.jobs(records, self.root, self.model, self.tasks, self.temperature)

    def provider(self) -> Any:
        return provider_of(self)


def asked(args: argparse.Namespace, action: str, records: list[Any]) -> tuple[list[Any], dict[str, Any], str]:
    """Outcomes, the account, and who answered; in this process or by a runner."""
    questions = Questions.of(args, action)
    jobs = list(questions.jobs(records))  # a mistake is said before anybody is asked
    if args.provider == "replay" or (args.runner == "local" and args.processes == 1):
        return collect(args, jobs, questions.provider())

    folder = args.cache or args.out.with_suffix(".cache")
    with ReplyCache(folder) as cache:
        spread.merge(cache)
    job = spread.AskJob(questions, _settings(args), folder, len(records))
    new = [shard for shard in plan(job, records, folder / "shards", args.shards) if not is_complete(shard)]
    with bar("asking", len(records)) as tick:
        rows = run_shards(job, records, folder / "shards", args.shards, runners.chosen(args, folder), tick)
    with ReplyCache(folder) as cache:
        spread.merge(cache)
    outcomes, _, _ = collect(args, jobs, Replay())
    outcomes = spread.statuses(rows, outcomes)
    account = spread.account(list(read(new)), outcomes).as_json()
    return outcomes, account, next(row["provider"] for row in rows if "provider" in row)


def _settings(args: argparse.Namespace) -> Any:
    prices = {"price_in": args.price_in, "price_out": args.price_out, "budget": args.budget}
    return Settings(args.workers, args.tries, args.retries, args.max_tokens, **prices, seed=args.seed)


def collect(args: argparse.Namespace, jobs: list[Any], provider: Any) -> tuple[list[Any], dict[str, Any], str]:
    """Outcomes, the account, and who answered."""
    settings, done = _settings(args), itertools.count(1)
    with (
        ReplyCache(args.cache or args.out.with_suffix(".cache")) as cache,
        bar(f"asking {provider.name}", len(jobs)) as tick,
    ):
        collector: Collector[Any] = Collector(provider, cache, settings, lambda outcome: tick(next(done)))
        if cache.in_doubt:
            print(
                f"{cache.in_doubt} earlier calls got no answer and may have been charged all the same", file=sys.stderr
            )
        outcomes = collector.run(jobs)
    return outcomes, collector.account.as_json(), provider.name


def provider_of(args: Any) -> Any:
    """Who answers, by the flags or by :class:`Questions`."""
    chosen = args.provider_name if isinstance(args, Questions) else args.provider
    if chosen == "replay":
        return Replay()
    if chosen == "local":
        return LocalProvider(Path(args.model), args.device)

    if not args.endpoint:
        raise UserError("--endpoint is needed with --provider http, for example --endpoint https://host/v1")
    key = os.environ.get(args.key_env, "") if args.key_env else ""
    if args.key_env and not key:
        raise UserError(f"--key-env: the environment variable {args.key_env} is empty")
    return HttpProvider(args.endpoint, key, args.timeout)
