"""Label-aware balancing (appendix A.2.2): a minor-label question more, fewer people with major labels only.

The paper gives rates ("down-sampled at a rate of 0.2") without saying whether they are dropped or kept; both
readings are here, and :func:`report` prints both beside the paper's 24.20 -> 14.49 % of Engagement.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from emo_face.core.errors import UserError
from emo_face.datasets.qa.templates import prompts
from emo_face.datasets.records import Record

Reading = Literal["drop", "keep"]


@dataclass(frozen=True)
class Plan:
    """How one label set is balanced: ``alone`` rates people whose only label is that one."""

    major: frozenset[str]
    minor: tuple[str, ...]
    major_only_rate: float
    alone: Mapping[str, float]


def plan_of(set_name: str) -> Plan | None:
    """The plan of a label set, None if its classes are balanced (CAER-S)."""
    entry = prompts()["balance"].get(set_name)
    if entry is None:
        return None
    return Plan(frozenset(entry["major"]), tuple(entry["minor"]), float(entry["major_only_rate"]), dict(entry["alone"]))


def keep_probability(record: Record, plan: Plan | None, reading: Reading) -> float:
    """Chance in [0, 1] that a person stays: 1 unless all labels are major."""
    if plan is None or not record.labels or not set(record.labels) <= plan.major:
        return 1.0
    rate = plan.alone.get(record.labels[0], plan.major_only_rate) if len(record.labels) == 1 else plan.major_only_rate
    return 1.0 - rate if reading == "drop" else rate


def down_sample(records: Sequence[Record], rng: np.random.Generator, reading: Reading = "drop") -> list[Record]:
    """Records that stay, in their order; one draw per record whatever its labels, so that seeds compare."""
    if reading not in ("drop", "keep"):
        raise UserError(f"reading: expected drop or keep, got {reading!r}")
    draws = rng.random(len(records))
    plans = {name: plan_of(name) for name in {record.label_set for record in records}}
    return [
        record
        for record, draw in zip(records, draws, strict=True)
        if draw < keep_probability(record, plans[record.label_set], reading)
    ]


def minor_labels(record: Record) -> tuple[str, ...]:
    """Labels of the person that are minor in its set: the answer of the extra question; empty for none."""
    plan = plan_of(record.label_set)
    return () if plan is None else tuple(label for label in plan.minor if label in record.labels)


def answer_counts(records: Iterable[Record], with_minor: bool) -> Counter[str]:
    """Label occurrences in the classification answers (how the paper counts, A.4.1)."""
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record.labels)
        if with_minor:
            counts.update(minor_labels(record))
    return counts


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Percent of all label occurrences, largest first."""
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return {name: 100 * count / total for name, count in ranked} if total else {}


def report(records: Sequence[Record], seed: int = 0) -> dict[str, Any]:
    """Label shares before and after, for both readings of the rate, with the paper's pair; ``text`` is printable.

    Raises UserError for no records, or records of more than one label set.
    """
    sets = {record.label_set for record in records}
    if len(sets) != 1:
        raise UserError(f"balance: expected records of one label set, got {sorted(sets) or 'no records'}")
    name = sets.pop()
    before = shares(answer_counts(records, with_minor=False))
    after = {
        reading: shares(answer_counts(down_sample(records, np.random.default_rng(seed), reading), with_minor=True))
        for reading in ("drop", "keep")
    }
    paper = prompts()["balance"].get(name, {}).get("paper_share")
    lines = [f"{'label':20s} {'before':>8s} {'drop':>8s} {'keep':>8s}   % of labels in classification answers"]
    lines += [
        f"{label:20s} {value:8.2f} {after['drop'].get(label, 0):8.2f} {after['keep'].get(label, 0):8.2f}"
        for label, value in before.items()
    ]
    if paper:
        lines.append(f"paper: {paper['label']} {paper['before']} -> {paper['after'] or 'not printed'}")
    return {"label_set": name, "before": before, "after": after, "paper": paper, "text": "\n".join(lines)}
