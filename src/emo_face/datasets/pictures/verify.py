"""Check a data set on disk: published counts, boxes, files that do not decode, near-duplicates across splits."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.paths import data_table
from emo_face.core.types import ImageArray
from emo_face.datasets.pictures.boxes import fault
from emo_face.datasets.pictures.near_duplicates import dhash, pairs
from emo_face.datasets.records import BOXES, Record
from emo_face.runtime.stills import decoded

Tick = Callable[[int], None]


@dataclass(frozen=True)
class Problem:
    """One finding: ``kind`` (count, box, missing, corrupt, size, duplicate, vad, labels), where, and what."""

    kind: str
    where: str
    detail: str


@dataclass
class Report:
    """What :func:`verify` found. ``ok`` is False as soon as there is one problem."""

    dataset: str
    people: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    images: int = 0
    problems: list[Problem] = field(default_factory=list)
    leaking_pairs: int | None = None

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self, limit: int = 1000) -> dict[str, Any]:
        """A JSON object; at most ``limit`` problems are listed, all are counted."""
        return {
            "dataset": self.dataset,
            "ok": self.ok,
            "images": self.images,
            "people": dict(self.people),
            "labels": dict(self.labels.most_common()),
            "problems_by_kind": dict(Counter(problem.kind for problem in self.problems)),
            "problems": [vars(problem) for problem in self.problems[:limit]],
            "leaking_pairs": self.leaking_pairs,
        }


def verify(
    dataset: str,
    records: Sequence[Record],
    root: Path,
    *,
    published: bool = True,
    pictures: bool = True,
    distance: int = 4,
    tick: Tick | None = None,
) -> Report:
    """Check ``records`` of ``dataset`` (emotic, caer_s, heco) whose pictures lie under ``root``.

    Args:
        published: compare with the counts of ``data/datasets.yaml``.
        pictures: decode every file once, hash it and look for pairs across splits.
        tick: called with the number of pictures done.
    """
    report = Report(dataset)
    report.people.update(record.split for record in records)
    report.labels.update(label for record in records for label in record.labels)
    report.images = len({record.image for record in records})
    for record in records:
        report.problems.extend(_record_problems(record))
    report.problems.extend(_torn_pictures(records))
    if published:
        report.problems.extend(_count_problems(dataset, records, report))
    if pictures:
        _check_pictures(report, records, root, distance, tick)
    return report


def _record_problems(record: Record) -> Iterator[Problem]:
    if not record.labels:
        yield Problem("labels", record.id, "no label")
    yield from _box_problems(record, record.image_size)
    if record.vad is not None and not all(1 <= value <= 10 for value in record.vad):
        yield Problem("vad", record.id, f"expected 1..10, got {record.vad}")


def _box_problems(record: Record, size: tuple[int, int] | None) -> Iterator[Problem]:
    for name in BOXES:
        box = getattr(record, name)
        if text := "" if box is None else fault(box, size):
            yield Problem("box", record.id, f"{name}: {text}")


def _torn_pictures(records: Sequence[Record]) -> list[Problem]:
    """Pictures whose people are in more than one split: the scene view of a test person was trained on."""
    found: dict[str, set[str]] = {}
    for record in records:
        found.setdefault(record.image, set()).add(record.split)
    torn = {image: sorted(splits) for image, splits in found.items() if len(splits) > 1}
    return [Problem("duplicate", image, f"its people are in {' and '.join(splits)}") for image, splits in torn.items()]


def _count_problems(dataset: str, records: Sequence[Record], report: Report) -> list[Problem]:
    wanted = data_table("datasets.yaml").get(dataset)
    if wanted is None:
        return []
    found: list[Problem] = []

    def expect(what: str, got: int, *allowed: int) -> None:
        if got not in allowed:
            text = f"expected {' or '.join(f'{n:,}' for n in allowed)}, got {got:,} ({wanted['source']})"
            found.append(Problem("count", what, text))

    expect("people", len(records), *wanted["total"])
    for split, count in wanted.get("people", {}).items():
        expect(f"people in {split}", report.people[split], count)
    if "images" in wanted:
        expect("images", report.images, wanted["images"])
    per_label = wanted.get("per_label", {})
    if isinstance(per_label, int):
        per_label = dict.fromkeys(report.labels, per_label)
    for label, count in per_label.items():
        expect(f"label {label}", report.labels[label], count)
    if "labels_train_val" in wanted:
        seen = [record for record in records if record.split in ("train", "val")]
        counts = Counter(label for record in seen for label in record.labels)
        alone = Counter(record.labels[0] for record in seen if len(record.labels) == 1)
        expect("labels in train+val", sum(counts.values()), wanted["labels_train_val"])
        for label, count in wanted["top_labels_train_val"].items():
            expect(f"label {label} in train+val", counts[label], count)
        for label, count in wanted["single_label_train_val"].items():
            expect(f"people with only {label} in train+val", alone[label], count)
    return found


def _check_pictures(report: Report, records: Sequence[Record], root: Path, distance: int, tick: Tick | None) -> None:
    """Decode each picture once (never all in memory), check sizes and boxes against it, and hash it."""
    by_image: dict[str, list[Record]] = {}
    for record in records:
        by_image.setdefault(record.image, []).append(record)
    hashes: list[int] = []
    names: list[str] = []
    for done, (image, people) in enumerate(by_image.items(), 1):
        picture = _decode(root / image, image, report)
        if tick is not None:
            tick(done)
        if picture is None:
            continue
        _compare_size(report, people, (picture.shape[1], picture.shape[0]))
        hashes.append(dhash(picture))
        names.append(image)
    splits = [{record.split for record in by_image[name]} for name in names]
    report.leaking_pairs = 0
    for a, b in pairs(np.array(hashes, np.uint64), distance):
        if splits[a] != splits[b]:
            report.leaking_pairs += 1
            detail = (
                f"near-duplicate of {names[b]} ({'/'.join(sorted(splits[a]))} against {'/'.join(sorted(splits[b]))})"
            )
            report.problems.append(Problem("duplicate", names[a], detail))


def _decode(path: Path, image: str, report: Report) -> ImageArray | None:
    if not path.is_file():
        report.problems.append(Problem("missing", image, f"no file at {path}"))
        return None
    picture = decoded(path.read_bytes())
    if picture is None:
        report.problems.append(Problem("corrupt", image, "does not decode"))
    return picture


def _compare_size(report: Report, people: Sequence[Record], size: tuple[int, int]) -> None:
    for record in people:
        if record.image_size is None:
            report.problems.extend(_box_problems(record, size))
        elif tuple(record.image_size) != size:
            text = f"annotated {record.image_size[0]}x{record.image_size[1]}, file is {size[0]}x{size[1]}"
            report.problems.append(Problem("size", record.id, text))
