"""Hashes of what a training learns from: a run that goes on must find the data that it began with."""

from collections.abc import Iterator, Mapping, Sequence

from emo_face.datasets.contexts.tasks import Made, box_of
from emo_face.datasets.records import Record
from emo_face.expression.contextface.prompts import Example, FaceTarget
from emo_face.runtime.store import digest


def hashes(tasks: Mapping[str, Sequence[Example]], validation: Sequence[Example]) -> dict[str, str]:
    """Of records, faces, examples made of neither, and validation, by name; pictures count by their name alone.

    A record counts once, however many forms of the question it is in (40,000 of them: a fifth of a second).
    """
    made = [samples for samples in tasks.values() if isinstance(samples, Made)]
    records = {id(record): record for samples in made for record in samples.records}
    faces = {id(samples.targets): samples.targets for samples in made if samples.targets is not None}
    others = (line for samples in tasks.values() if not isinstance(samples, Made) for line in _lines(samples))
    return {
        "records": digest(_of_record(record) for record in records.values()),
        "faces": digest(part for found in faces.values() for part in found.content()),
        "examples": digest(others),
        "validation": digest(_lines(validation)),
    }


def _of_record(record: Record) -> str:
    texts = (record.situation, record.quote, record.listener_situation, record.reaction)
    return repr((record.id, record.labels, record.image, box_of(record), texts))


def _lines(examples: Sequence[Example]) -> Iterator[str | bytes]:
    for example in examples:
        said = [piece.text for turn in example.turns for piece in (*turn.question, *turn.answer)]
        image = example.image.name if example.image else ""
        yield repr((example.id, example.task, said, image, example.box, example.label, example.form))
        yield from _of_face(example.target)


def _of_face(target: FaceTarget | None) -> Iterator[str | bytes]:
    if target is not None:
        yield target.basis
        yield from (part.tobytes() for part in (target.expression, target.jaw, target.eyelids) if part is not None)
