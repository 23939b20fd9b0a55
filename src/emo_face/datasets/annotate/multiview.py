"""The texts of the multi-view paper's corpus: caption, pose, situation and rationale of each person (appendix A.1)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.datasets.annotate.collect import Job, Outcome
from emo_face.datasets.annotate.context import Annotated, provenance
from emo_face.datasets.annotate.prompts import about_picture
from emo_face.datasets.annotate.provider import Request, RowError
from emo_face.datasets.qa import quality, templates
from emo_face.datasets.records import Record

TASKS = ("caption", "pose", "situation", "rationale")
"""Each is the name of the record's field that it fills."""
MAX_TOKENS = {"caption": 80, "pose": 120, "situation": 200, "rationale": 500}


def jobs(records: Sequence[Record], root: Path, model: str, tasks: Sequence[str], temperature: float) -> list[Job[str]]:
    """A job per record and task; answers that break their listing's rules are asked again.

    Raises:
        UserError: an unknown task, or a record without a box: the prompts speak of the person in the red box.
    """
    if unknown := [task for task in tasks if task not in TASKS]:
        raise UserError(f"--tasks: unknown task {unknown[0]!r}; tasks are {', '.join(TASKS)}")
    blank = [record.id for record in records if record.bbox_body is None and record.bbox_face is None]
    if blank:
        raise UserError(
            f"{len(blank)} of {len(records)} people have no box, first {blank[0]!r}: the prompts speak of the person "
            "in the red box; find boxes by `emo-face data boxes --help`, or give them no texts by --boxed-only"
        )
    return [_job(record, root, model, task, temperature) for record in records for task in tasks]


def _job(record: Record, root: Path, model: str, task: str, temperature: float) -> Job[str]:
    def ask(attempt: int) -> Request:
        if task == "rationale" and not record.labels:
            raise RowError(f"record {record.id}: no label to explain")
        request = Request(model, "", _prompt(record, task), "", MAX_TOKENS[task], temperature, attempt)
        return about_picture(record, root, request)

    return Job(f"{record.id}/{task}", ask, _parser(record, task))


def _prompt(record: Record, task: str) -> str:
    if task == "rationale":
        return templates.rationale_prompt(templates.options_of(record.label_set), record.labels)
    return templates.annotation_prompt(task)


def _parser(record: Record, task: str) -> Callable[[str], str]:
    """Text of an answer; raises ValueError if it breaks the rules of its listing."""

    def parse(reply: str) -> str:
        text = quality.parse_rationale(reply)[1] if task == "rationale" else reply
        text = " ".join(text.split()).strip('"“”')
        if fault := quality.fault(task, text, record.labels, record.label_set):
            raise ValueError(f"{task}: {fault}")
        return text

    return parse


def gather(
    records: Sequence[Record], tasks: Sequence[str], outcomes: Sequence[Outcome[str]], provider: str
) -> Annotated:
    """All records with the texts that they got; a text that nobody could make stays as it was.

    ``flags`` counts, per task, the texts that are missing.
    """
    by_id = {outcome.id: outcome for outcome in outcomes}
    version = str(templates.prompts()["version"])
    missing = Counter[str]()
    done = []
    for record in records:
        values = {task: by_id[f"{record.id}/{task}"].value for task in tasks}
        texts: dict[str, Any] = {task: value for task, value in values.items() if value is not None}
        missing.update(values.keys() - texts.keys())
        done.append(replace(record, **texts))
    return Annotated(done, [provenance(outcome, provider, version) for outcome in outcomes], missing)
