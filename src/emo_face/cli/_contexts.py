"""`emo-face data targets|contexts|quotes`: what ContextFace learns from beside pictures."""

import argparse
import json
import sys
from collections import Counter
from typing import Any

from emo_face.core.errors import UserError
from emo_face.datasets.contexts import appraisal, face_targets, quotes
from emo_face.datasets.contexts import records as context
from emo_face.datasets.records import read_jsonl, write_jsonl
from emo_face.expression.contextface.config import BASES
from emo_face.face.expressions.facs import default_facs
from emo_face.runtime.progress import track
from emo_face.runtime.store import open_store


def targets(args: argparse.Namespace) -> int:
    """Collect or make face targets and print what they are."""
    people = list(read_jsonl(args.records))
    found = _made(args, people) if args.tool in ("facs", "mediapipe") else _imported(args, people)
    face_targets.write(args.to, found.targets)
    summary = face_targets.statistics(found.targets) | {"left_out": {k: len(v) for k, v in found.left_out.items()}}
    print(json.dumps(summary) if args.json else "\n".join(f"{name}: {value}" for name, value in summary.items()))
    return 0


def moments(args: argparse.Namespace) -> int:
    """Write synthetic moments."""
    records = appraisal.moments(args.count, args.seed)
    write_jsonl(args.to, records)
    print(f"{args.to}: {len(records)} synthetic moments, {_splits(records)}; nobody felt them", file=sys.stderr)
    return 0


def written_lines(args: argparse.Namespace) -> int:
    """Write the lines of GoEmotions and XED as records."""
    records = quotes.read(args.root, args.most, args.seed)
    write_jsonl(args.to, records)
    print(f"{args.to}: {len(records)} lines, {_splits(records)}", file=sys.stderr)
    return 0


def _splits(records: list[Any]) -> dict[str, int]:
    return dict(Counter(record.split for record in records))


def _made(args: argparse.Namespace, people: list[Any]) -> Any:
    """Targets that need no face tool. Raises UserError for a missing flag, ModelError for a missing model."""
    from emo_face.datasets.contexts import made_faces

    if args.basis not in BASES:
        raise UserError(f"--basis {args.basis!r}: expected one of {', '.join(BASES)}")
    if args.tool == "facs":
        return made_faces.by_prototypes(people, args.basis, default_facs())
    if args.images is None:
        raise UserError("--tool mediapipe needs --images, the folder that the records' paths start from")
    from emo_face.perception.build import DetectorSettings, build_detectors
    from emo_face.perception.nano.blendshapes import NAME, BlendshapeReader

    store = open_store()
    reader = BlendshapeReader(store.resolve(NAME).path)
    detector = build_detectors(store, DetectorSettings(face_imgsz=640)).faces
    return made_faces.by_blendshapes(track(people, "faces"), args.images, reader, detector, args.basis)


def _imported(args: argparse.Namespace, people: list[Any]) -> Any:
    """Targets of a face tool's outputs. Raises UserError as :func:`face_targets.import_outputs`."""
    if args.outputs is None:
        raise UserError(f"--tool {args.tool} needs --outputs, the folder of what it wrote (facs, mediapipe: none)")
    paths = None
    if args.annotations is not None:
        named = context.read(args.annotations, args.annotations.stem).expressions
        paths = {name.partition("/")[2]: path for name, path in named.items()}
        paths = {record.id: paths[key] for record in people if (key := record.id.partition("/")[2]) in paths}
    return face_targets.import_outputs(people, args.outputs, args.basis, args.tool, paths)
