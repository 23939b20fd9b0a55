"""Build, list, check, time and remove TensorRT engines. An engine serves the GPU and the TensorRT that built it.

  emo-face engine build                           every model of the nano tier that is here
  emo-face engine build nano_face                 only this one
  emo-face engine build --multiview out/export    encoder and head of an exported multi-view model
  emo-face engine build --contextface out/export  head, vision tower and prefill of an exported ContextFace
  emo-face engine list [--json]                   what is in ~/.cache/emo_face/engines, and what is stale or damaged
  emo-face engine verify                          hash every engine; exit code 1 if one is damaged
  emo-face engine bench [NAME ...]                milliseconds on the CPU, on CUDA and on TensorRT
  emo-face engine clean [--all]                   remove stale and damaged engines, or all

Nodes use what is built with `engine: auto` or `engine: tensorrt`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_face.bench.engines import measure
from emo_face.cli._verb import JSON, actions
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.expression.contextface.exported.plans import plans
from emo_face.runtime.engines.base import EngineUnavailable
from emo_face.runtime.engines.cache import EngineCache, Entry, differences, inspect
from emo_face.runtime.engines.tensorrt.library import tensorrt
from emo_face.runtime.store import open_store

if TYPE_CHECKING:
    from emo_face.perception.engines import Target

add_models = arguments(
    option("--imgsz", type=int, default=320, help="the parameter detector.imgsz (default 320)"),
    option("--face-imgsz", type=int, default=320, help="the parameter detector.face_imgsz (default 320)"),
    option("--yolo", default="yolo11n", help="the parameter detector.yolo (default yolo11n)"),
    option("--multiview", type=Path, metavar="DIR", help="an exported multi-view model"),
    option("--contextface", type=Path, metavar="DIR", help="an exported ContextFace"),
)
MODELS = (option("names", nargs="*", metavar="NAME", help="only these models"), add_models, JSON)
AGAIN = option("--again", action="store_true", help="rebuild engines that exist")
ROUNDS = option("--rounds", type=int, default=50, help="runs to time (default 50)")
EVERYTHING = option("--all", action="store_true", help="remove every engine and the cached kernel timings")


def run(args: argparse.Namespace) -> int:
    """Run one action; exit code 1 says that an engine is damaged."""
    return int(args.act(args, EngineCache()))


def targets(args: argparse.Namespace) -> list[Target]:
    """The models that the arguments name. Raises UserError if a name is no model that is here."""
    found = list(exported(args))
    if not found or args.names:
        found += nano(args)
    known = {target.plan.name for target in found}
    if unknown := [name for name in args.names if name not in known]:
        raise UserError(f"no model {', '.join(unknown)} is here; there are {', '.join(sorted(known))}")
    return [target for target in found if not args.names or target.plan.name in args.names]


def nano(args: argparse.Namespace) -> Iterator[Target]:
    """The nano tier's models that are here."""
    from emo_face.perception.engines import nano_targets

    return nano_targets(open_store(), args.imgsz, args.yolo, args.face_imgsz)


def exported(args: argparse.Namespace) -> Iterator[Target]:
    """Graphs of the folders that the arguments name. Raises ModelError if a folder holds none."""
    from emo_face.perception.engines import Target, multiview_targets

    if args.multiview is not None:
        yield from multiview_targets(args.multiview)
    if args.contextface is not None:
        yield from (Target(path, plan) for path, plan in plans(args.contextface))


def _build(args: argparse.Namespace, cache: EngineCache) -> int:
    from emo_face.export.tensorrt import build, shown

    rows = build(targets(args), cache, args.again)
    print(json.dumps(rows, indent=2) if args.json else "\n".join(map(shown, rows)))
    return 0


def _bench(args: argparse.Namespace, cache: EngineCache) -> int:
    rows = [row for target in targets(args) for row in measure(target.path, target.plan, cache, args.rounds)]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        what = row["why_not"] or f"p50 {row['p50_ms']:.2f} ms, p95 {row['p95_ms']:.2f} ms at {row['shapes']}"
        print(f"{row['model']:20} {row['engine']:22} {what}")
    return 0


def entries(cache: EngineCache, contents: bool) -> list[Entry]:
    """Every engine; one of another GPU or version than this machine's is ``stale``."""
    found = [inspect(entry.path) if contents else entry for entry in cache.entries()]
    try:
        library = tensorrt()
    except EngineUnavailable:  # nothing to compare with
        return found
    here = {"tensorrt": library.version, "gpu": library.gpu.name, "compute": library.gpu.compute}
    stale = {e.path: differences(e.card["key"], here) for e in found if e.state == "ok"}
    return [replace(e, state="stale", detail=stale[e.path]) if stale.get(e.path) else e for e in found]


def _list(args: argparse.Namespace, cache: EngineCache) -> int:
    _show(entries(cache, contents=False), args.json, cache)
    return 0


def _verify(args: argparse.Namespace, cache: EngineCache) -> int:
    found = entries(cache, contents=True)
    _show(found, args.json, cache)
    damaged = [entry for entry in found if entry.state == "damaged"]
    for entry in damaged:
        print(f"{entry.path}: {entry.detail}; remove it by `emo-face engine clean`", file=sys.stderr)
    return int(bool(damaged))


def _show(found: list[Entry], as_json: bool, cache: EngineCache) -> None:
    if as_json:
        print(json.dumps([{**asdict(entry), "path": str(entry.path)} for entry in found], indent=2))
        return
    if not found:
        print(f"no engines in {cache.folder}; `emo-face engine build` makes them")
    for entry in found:
        key: dict[str, Any] = dict(entry.card.get("key", {}))
        made = f"TensorRT {key.get('tensorrt')} for {key.get('gpu')}" if key else "?"
        print(f"{entry.path.name}  {entry.state}  {entry.size / 1e6:.1f} MB  {made}  {entry.detail}".rstrip())


def _clean(args: argparse.Namespace, cache: EngineCache) -> int:
    gone = [entry for entry in entries(cache, contents=True) if args.all or entry.state != "ok"]
    for entry in gone:
        cache.remove(entry.path)
    if args.all and cache.folder.is_dir():
        for file in cache.folder.glob("timings-*.bin"):
            file.unlink()
    freed = sum(entry.size for entry in gone) / 1e6
    print(f"{len(gone)} engines removed, {freed:.1f} MB; {len(cache.entries())} left in {cache.folder}")
    return 0


add_arguments = actions(
    {
        "build": (_build, "build what is missing or stale", (*MODELS, AGAIN)),
        "bench": (_bench, "time each engine of each model", (*MODELS, ROUNDS)),
        "list": (_list, "show every engine", (JSON,)),
        "verify": (_verify, "hash every engine", (JSON,)),
        "clean": (_clean, "remove stale and damaged engines", (EVERYTHING,)),
    }
)
