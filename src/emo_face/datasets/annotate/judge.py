"""The supplement's quality assessment: a sample of contexts judged on four metrics and two verdicts."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.datasets.annotate.collect import Job, Outcome
from emo_face.datasets.annotate.context import provenance
from emo_face.datasets.annotate.prompts import judge_request
from emo_face.datasets.annotate.schema import Judgement, parse_judgement, table
from emo_face.datasets.records import Record

VERDICTS = {"sufficient": "Samples Sufficient for Training", "ambiguous": "Samples with Ambiguity"}


def sample(records: Sequence[Record], count: int, seed: int = 0) -> list[Record]:
    """``count`` records with a context, drawn by ``seed``, in file order. Raises UserError if none has one."""
    whole = [record for record in records if record.situation and record.quote]
    if not whole:
        raise UserError(
            "judge: no record has a situation and a quote; make them with: emo-face annotate context --help"
        )
    if count <= 0 or count >= len(whole):
        return whole
    return [whole[i] for i in np.sort(np.random.default_rng(seed).permutation(len(whole))[:count])]


def jobs(records: Iterable[Record], model: str) -> list[Job[Judgement]]:
    """A job a record."""

    def make(record: Record) -> Job[Judgement]:
        return Job(record.id, lambda attempt: judge_request(record, model, attempt), parse_judgement)

    return [make(record) for record in records]


def rows(outcomes: Sequence[Outcome[Judgement]], provider: str) -> list[dict[str, Any]]:
    """One row per record: scores and provenance."""
    version = table()["judge"]["version"]
    return [(o.value.model_dump() if o.value is not None else {}) | provenance(o, provider, version) for o in outcomes]


def summary(outcomes: Sequence[Outcome[Judgement]], seed: int = 0, rounds: int = 1000) -> dict[str, Any]:
    """Mean of each metric and share (%) of each verdict, with 95 % bootstrap intervals, over judged rows.

    Raises:
        UserError: no row was judged.
    """
    judged = [outcome.value for outcome in outcomes if outcome.value is not None]
    if not judged:
        why = next((f"the first: {outcome.status}, {outcome.detail}" for outcome in outcomes), "there are none")
        raise UserError(f"judge: none of {len(outcomes)} rows was judged; {why}")
    picks = np.random.default_rng(seed).integers(0, len(judged), (rounds, len(judged)))
    found: dict[str, Any] = {"n": len(judged)}
    for name in (*table()["judge"]["metrics"], *VERDICTS):
        values = np.array([float(getattr(judgement, name)) for judgement in judged])
        values = values * 100 if name in VERDICTS else values
        low, high = np.percentile(values[picks].mean(1), [2.5, 97.5])
        found[name] = {"value": float(values.mean()), "low": float(low), "high": float(high)}
    return found
