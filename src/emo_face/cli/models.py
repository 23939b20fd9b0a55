"""List, download and verify the models on this machine.

  emo-face models list                  every known model, where it lies, its licence
  emo-face models list --json
  emo-face models verify                hash every model that is here; exit code 1 if one is damaged
  emo-face models verify yunet          only this one; exit code 1 if it is missing or damaged
  emo-face models pull yunet            download into the user cache (https, hash checked)
  emo-face models pull --all            everything that has a public address and is not here yet
  emo-face models add mine ./mine.onnx  trust your own file: its hash goes into your overlay manifest

Lookup order: explicit path, the folders in EMO_FACE_MODELS (searched with their subfolders), the user
cache (~/.cache/emo_face), the package. A file with the wrong hash is refused, never used.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from emo_face.runtime.store import ModelStatus, ModelStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``list``, ``pull``, ``verify`` and ``add``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, text in (("list", "show every known model"), ("verify", "hash the models that are here")):
        sub = actions.add_parser(action, help=text)
        sub.add_argument("names", nargs="*", metavar="NAME", help="only these models")
        sub.add_argument("--json", action="store_true", help="print JSON on stdout and nothing else")
    sub = actions.add_parser("pull", help="download models")
    sub.add_argument("names", nargs="*", metavar="NAME")
    sub.add_argument("--all", action="store_true", help="every model that has a public address and is missing")
    sub = actions.add_parser("add", help="trust a file of your own")
    sub.add_argument("name", metavar="NAME")
    sub.add_argument("path", metavar="PATH", type=Path)
    sub.add_argument("--licence", default="unknown")
    sub.add_argument("--purpose", default="added by the user")


def run(args: argparse.Namespace) -> int:
    """Run one action; exit code 1 says that a named model is missing or damaged."""
    from emo_face.runtime.store import open_store

    store = open_store()
    if args.action == "pull":
        return _pull(store, args.names, args.all)
    if args.action == "add":
        return _add(store, args)
    names = args.names or sorted(store.entries)
    states = [store.status(name) for name in names]
    if args.json:
        print(json.dumps([_as_json(state) for state in states], indent=2))
    else:
        _table(states)
    if args.action == "list":
        return 0
    bad = [s for s in states if s.state == "wrong hash" or (args.names and s.state == "missing")]
    for state in bad:
        print(state.detail, file=sys.stderr)
    return 1 if bad else 0


def _as_json(state: ModelStatus) -> dict[str, object]:
    path = str(state.path) if state.path else None
    found = {"state": state.state, "path": path, "place": state.place, "detail": state.detail}
    return {**state.entry.model_dump(), **found}


def _table(states: list[ModelStatus]) -> None:
    """Three lines a model: the facts, the purpose, and where it lies or how to get it."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    for state in states:
        colour = {"ok": "green", "missing": "yellow"}.get(state.state, "red")
        entry, where = state.entry, f"{state.path} ({state.place})" if state.path else state.detail
        console.print(
            f"[bold]{entry.name}[/]  [{colour}]{state.state}[/]  {entry.size / 1e6:.1f} MB  {escape(entry.licence)}"
        )
        console.print(f"    {escape(entry.purpose)}\n    {escape(where)}", style="dim")


def _pull(store: ModelStore, names: list[str], everything: bool) -> int:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from emo_face.core.errors import UserError
    from emo_face.runtime.download import pull

    if everything:
        names = [n for n, entry in store.entries.items() if entry.url and store.status(n).state != "ok"]
    elif not names:
        raise UserError("name a model, or use --all; `emo-face models list` shows the names")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    for name in names:
        entry = store.entry(name)
        state = store.status(name)
        if state.state == "ok":
            print(f"{name}: already at {state.path}")
            continue
        with Progress(*columns) as bar:
            task = bar.add_task(name, total=entry.size)
            path = pull(entry, store.cache, partial(_advance, bar, task))
        print(f"{name}: {path}")
    return 0


def _advance(bar: Progress, task: TaskID, done: int, _total: int) -> None:
    bar.update(task, completed=done)


def _add(store: ModelStore, args: argparse.Namespace) -> int:
    from emo_face.core.errors import UserError
    from emo_face.runtime.store import entry_of, register

    if not args.path.is_file():
        raise UserError(f"{args.path} is not a file")
    entry = entry_of(args.path, args.name, licence=args.licence, purpose=args.purpose)
    store.cache.mkdir(parents=True, exist_ok=True)
    target = store.cache / entry.file
    if target.resolve() != args.path.resolve():
        shutil.copyfile(args.path, target)
    print(f"{args.name}: {target} (sha256 {entry.sha256}) is now trusted by {register(entry, store.cache)}")
    return 0
