"""Built TensorRT engines in the user's cache: found by everything they depend on, written whole or not at all.

An engine is two files, ``MODEL-KEY.engine`` and ``MODEL-KEY.json``. The second names the first one's sha256 and every
field of its key, so that a damaged, half-written or stale engine is recognised and never handed to TensorRT.
"""

import fcntl
import glob
import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emo_face.runtime.engines.plan import Plan
from emo_face.runtime.files import replacing
from emo_face.runtime.store import sha256_of, user_cache

FORMAT = 1
Key = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One engine file. ``state``: ``ok``, ``damaged`` (says why in ``detail``) or ``stale``. ``size``: bytes."""

    path: Path
    state: str
    detail: str = ""
    size: int = 0
    card: Mapping[str, Any] = field(default_factory=dict)


def engine_key(model: Path, plan: Plan, tensorrt: str, gpu: str, compute: str) -> dict[str, Any]:
    """Everything that an engine depends on. NVIDIA, "TensorRT Developer Guide", Engine Compatibility.

    Args:
        tensorrt: version. gpu: device name. compute: capability.
    """
    files = [model, *sorted(model.parent.glob(f"{model.name}.data"))]
    return {
        "format": FORMAT,
        **plan.described(),
        "files": {f.name: sha256_of(f) for f in files},
        "tensorrt": tensorrt,
        "gpu": gpu,
        "compute": compute,
        "platform": f"{platform.system()}-{platform.machine()}",
        "precision": "strongly typed: as in the graph",
    }


def differences(old: Key, new: Key) -> str:
    """Which fields of two keys differ, for a person: ``tensorrt 10.3.0 -> 10.13.3``."""
    short = {"files", "profile"}
    return ", ".join(
        f"another {name}" if name in short else f"{name} {old.get(name)} -> {new[name]}"
        for name in new
        if old.get(name) != new[name]
    )


class EngineCache:
    """A folder of engines."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or user_cache() / "engines"

    def path(self, key: Key) -> Path:
        """Where the engine of ``key`` lies."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{key['model']}-{digest[:16]}.engine"

    def find(self, key: Key) -> Entry | None:
        """The engine of ``key``: whole (``ok``), ``damaged``, or None."""
        path = self.path(key)
        if not path.exists() and not path.with_suffix(".json").exists():
            return None
        return inspect(path)

    def stale(self, key: Key) -> str:
        """Why the engines that are there for this model do not serve ``key``; empty: there are none."""
        others = [entry for entry in self.entries() if entry.card.get("key", {}).get("model") == key["model"]]
        return next((differences(entry.card["key"], key) for entry in reversed(others)), "")

    def write(self, key: Key, engine: bytes | memoryview, details: Mapping[str, Any]) -> Path:
        """Keep an engine; the card goes last, so that a torn write is seen.

        Raises:
            UserError: the disk is full; nothing is left behind.
        """
        path, card = self.path(key), self.path(key).with_suffix(".json")
        card.unlink(missing_ok=True)
        with replacing(path, need=len(engine)) as scratch:
            scratch.write_bytes(engine)
        content = {"key": dict(key), "sha256": hashlib.sha256(engine).hexdigest(), **details}
        with replacing(card) as scratch:
            scratch.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return path

    def entries(self) -> list[Entry]:
        """Every engine in the folder, oldest first."""
        if not self.folder.is_dir():
            return []
        files = {f.with_suffix(".engine") for f in self.folder.iterdir() if f.suffix in (".engine", ".json")}
        return [inspect(path, contents=False) for path in sorted(files, key=_age)]

    def remove(self, path: Path) -> None:
        """Delete one engine with its card and lock."""
        for suffix in (".engine", ".json", ".lock"):
            path.with_suffix(suffix).unlink(missing_ok=True)
            for left in self.folder.glob(f"{glob.escape(path.with_suffix(suffix).name)}.*.part"):
                left.unlink(missing_ok=True)

    @contextmanager
    def lock(self, key: Key, waiting: Callable[[str], None]) -> Iterator[None]:
        """Hold the right to build the engine of ``key``; a second process waits, and ``waiting`` hears it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path(key).with_suffix(".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting(f"another process builds the engine of {key['model']}: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def inspect(path: Path, contents: bool = True) -> Entry:
    """Whether an engine file and its card belong together; ``contents``: hash it too."""
    card_path = path.with_suffix(".json")
    if not path.is_file() or not card_path.is_file():
        return Entry(path, "damaged", f"half-written: its {'card' if path.is_file() else 'engine'} is missing")
    size = path.stat().st_size
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        expected = str(card["sha256"])
        card["key"]["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Entry(path, "damaged", f"{card_path.name} cannot be read ({error})", size)
    if contents and (got := sha256_of(path)) != expected:
        return Entry(path, "damaged", f"sha256 expected {expected}, got {got}", size, card)
    return Entry(path, "ok", "", size, card)


def _age(path: Path) -> float:
    return (path if path.is_file() else path.with_suffix(".json")).stat().st_mtime
