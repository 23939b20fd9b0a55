"""Situation and quote for each record (paper, section 3.1), then the listener's; provenance and flags per row."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from emo_face.datasets.annotate import quality
from emo_face.datasets.annotate.collect import Job, Outcome
from emo_face.datasets.annotate.prompts import context_request, listener_request
from emo_face.datasets.annotate.schema import Context, Listening, parse_context, parse_listening, table
from emo_face.datasets.records import Record, write_jsonl
from emo_face.expression.contextface.prompts import label_of
from emo_face.runtime.files import write_json_lines

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Annotated:
    """Records that got a context, one provenance row for every record asked about, and how often each flag came up."""

    records: list[Record]
    provenance: list[dict[str, Any]]
    flags: Counter[str]


def jobs(
    records: Iterable[Record], root: Path, model: str, temperature: float = 1.0, reject: Sequence[str] = ()
) -> list[Job[Context]]:
    """A job a record. ``reject``: flags (:data:`quality.FLAGS`) that make an answer invalid: asked again."""
    return [_job(record, root, model, temperature, tuple(reject)) for record in records]


def _job(record: Record, root: Path, model: str, temperature: float, reject: tuple[str, ...]) -> Job[Context]:
    def parse(text: str) -> Context:
        context = parse_context(text)
        _reject(quality.flags(context, record.labels[0]), reject)
        return context

    return Job(record.id, lambda attempt: context_request(record, root, model, temperature, attempt), parse)


def listener_jobs(
    records: Iterable[Record], root: Path, model: str, temperature: float = 1.0, reject: Sequence[str] = ()
) -> list[Job[Listening]]:
    """A job a record that has situation and quote; ``reject`` as for :func:`jobs`."""

    def parse(text: str) -> Listening:
        listening = parse_listening(text)
        _reject(quality.listener_flags(listening), reject)
        return listening

    return [Job(f"{r.id}/listener", partial(listener_request, r, root, model, temperature), parse) for r in records]


def _reject(flags: Mapping[str, list[str]], reject: Sequence[str]) -> None:
    if found := {name: hits for name, hits in flags.items() if name in reject}:
        raise ValueError("; ".join(f"{name}: {', '.join(hits)}" for name, hits in found.items()))


def gather_listeners(records: Sequence[Record], outcomes: Sequence[Outcome[Listening]], provider: str) -> Annotated:
    """As :func:`gather`; a record whose listener was not made stays as it is, for its speaker."""

    def use(record: Record, heard: Listening) -> tuple[Record, Mapping[str, list[str]]]:
        made = replace(record, listener_situation=heard.situation, reaction=label_of(heard.reaction))
        return made, quality.listener_flags(heard)

    return _gathered(records, outcomes, provider, "listener", use, keep=True)


def gather(records: Sequence[Record], outcomes: Sequence[Outcome[Context]], provider: str) -> Annotated:
    """Records and provenance out of outcomes, in the same order."""

    def use(record: Record, context: Context) -> tuple[Record, Mapping[str, list[str]]]:
        made = replace(record, situation=context.situation, quote=context.quote)
        return made, quality.flags(context, record.labels[0])

    return _gathered(records, outcomes, provider, "context", use, keep=False)


def _gathered(
    records: Sequence[Record],
    outcomes: Sequence[Outcome[Answer]],
    provider: str,
    prompt: str,
    use: Callable[[Record, Answer], tuple[Record, Mapping[str, list[str]]]],
    keep: bool,
) -> Annotated:
    """``use`` makes a record and its flags of an answer; ``keep`` records without one as they are."""
    done: list[Record] = []
    rows: list[dict[str, Any]] = []
    counts = Counter[str]()
    for record, outcome in zip(records, outcomes, strict=True):
        found: Mapping[str, list[str]] = {}
        if outcome.value is not None:
            made, found = use(record, outcome.value)
            done.append(made)
            counts.update(list(found))
        elif keep:
            done.append(record)
        rows.append(provenance(outcome, provider, table()[prompt]["version"]) | {"flags": found})
    return Annotated(done, rows, counts)


def provenance(outcome: Outcome[Any], provider: str, version: str) -> dict[str, Any]:
    """Where a row comes from: who answered what, when, at which attempt, for how many tokens."""
    row: dict[str, Any] = {"id": outcome.id, "status": outcome.status, "attempts": outcome.attempts}
    if outcome.detail:
        row["detail"] = outcome.detail
    if outcome.request is not None:
        row |= {
            "provider": provider,
            "model": outcome.request.model,
            "prompt": version,
            "prompt_hash": outcome.request.prompt_hash,
            "key": outcome.request.key,
        }
    if outcome.reply is not None:
        reply = outcome.reply
        row |= {
            "served_by": reply.model,
            "date": reply.date,
            "tokens_in": reply.tokens_in,
            "tokens_out": reply.tokens_out,
        }
    return row


def write(out: Path, annotated: Annotated) -> Path:
    """Write the records to ``out`` and the provenance beside it (``.provenance.jsonl``), each whole or not at all."""
    write_jsonl(out, annotated.records)
    beside = out.with_suffix(".provenance.jsonl")
    write_json_lines(beside, annotated.provenance)
    return beside
