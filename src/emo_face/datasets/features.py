"""Frozen features on disk: encoded once, in shards, resumable, tied by hash to the encoder and the records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import UserError
from emo_face.datasets.encode import EncodeJob, InMemory, Source, groups
from emo_face.datasets.feature_file import FORMAT, FeatureFile
from emo_face.datasets.records import Record
from emo_face.datasets.views import Pictures
from emo_face.runtime.files import locked, write_json
from emo_face.runtime.runners import Runner, run_shards
from emo_face.runtime.runners.local import LocalRunner
from emo_face.runtime.shards import Row, plan
from emo_face.runtime.store import sha256_of

META, INDEX = "meta.json", "index.json"
SHARDS = 32


@dataclass(frozen=True)
class Features:
    """Frozen features of some people.

    Attributes:
        ids: record ids. features: (n, views, size) float16. present: (n, views) 0/1; missing rows are zero.
    """

    ids: tuple[str, ...]
    features: NDArray[np.float16]
    present: NDArray[np.uint8]

    def of(self, records: Sequence[Record]) -> Features:
        """The rows of these records, in their order. Raises UserError naming one that is not cached."""
        where = {name: i for i, name in enumerate(self.ids)}
        missing = [record.id for record in records if record.id not in where]
        if missing:
            raise UserError(
                f"features of {len(missing)} people are not cached, first {missing[0]!r}; run the cache step"
            )
        rows = [where[record.id] for record in records]
        return Features(tuple(record.id for record in records), self.features[rows], self.present[rows])


class FeatureCache:
    """A folder of shards, and an index of those that count: written once every one of them is whole."""

    def __init__(self, folder: Path, encoder: Any, files: Mapping[str, str] | None = None) -> None:
        """Open or start a cache. Raises UserError if the folder was made by another encoder.

        Args:
            encoder: a loaded one, or a :class:`~emo_face.datasets.encode.Source`.
            files: the encoder's :func:`~emo_face.perception.multiview.fingerprint.fingerprint`, for Stage 2's card.
        """
        self.folder = folder
        self.source: Source = encoder if hasattr(encoder, "load") else InMemory(encoder)
        meta: dict[str, Any] = {
            "format": FORMAT,
            "encoder": self.source.key,
            "views": list(self.source.config.views),
        }
        path = folder / META
        with locked(folder):
            if path.is_file():
                found = json.loads(path.read_text(encoding="utf-8"))
                changed = [name for name in meta if found.get(name) != meta[name]]
                if changed:
                    raise UserError(
                        f"{path}: field {changed[0]!r}: expected {meta[changed[0]]!r}, got {found.get(changed[0])!r}: "
                        "these features come from another encoder; choose another folder or delete this one"
                    )
                meta = found
            if files and "files" not in meta:
                meta["files"] = dict(files)
            write_json(path, meta)

    @classmethod
    def reading(cls, folder: Path) -> FeatureCache:
        """Open a cache only to :meth:`load` it, without its encoder. Raises UserError if there is none."""
        if not (folder / META).is_file():
            raise UserError(f"{folder}: no {META}; cache features first: emo-face train multiview cache --help")
        cache = cls.__new__(cls)
        cache.folder = folder
        return cache

    def meta(self) -> dict[str, Any]:
        """``views``, ``size``, the ``encoder``'s key, and the fingerprint of its ``files`` if known."""
        found: dict[str, Any] = json.loads((self.folder / META).read_text(encoding="utf-8"))
        return {**found, "size": self._index().get("size", 0)}

    def build(
        self,
        records: Sequence[Record],
        pictures: Pictures,
        batch: int = 16,
        shards: int = SHARDS,
        runner: Runner | None = None,
        tick: Callable[[int], None] | None = None,
    ) -> Features:
        """Encode what is not cached yet and return the features of all ``records``.

        Args:
            batch: people a pass, at least; whole pictures stay together, so that a scene is encoded once.
            shards: files at most. runner: who works; None works here.
            tick: called with the number of pictures done by now.

        Raises:
            UserError: pictures cannot be read, the disk or the GPU is full (finished shards are kept).
        """
        job = EncodeJob(pictures.root, self.folder, self.source, batch)
        items = groups(records, pictures)
        rows = run_shards(job, items, self.folder, shards, runner or LocalRunner(1), tick or (lambda done: None))
        bad = [row["error"] for row in rows if "error" in row]
        if bad:
            raise UserError(f"{len(bad)} people could not be encoded: {bad[0]}; the others are kept, run it again")
        self._note([shard.path.name for shard in plan(job, items, self.folder, shards)], rows)
        return _features(rows).of(records)

    def _note(self, shards: Sequence[str], rows: Sequence[Row]) -> None:
        """Let these shards count, beside those that hold others; delete what nobody needs any more."""
        names = {row["id"] for row in rows}
        with locked(self.folder):
            before = self._index().get("shards", {})
            kept = [name for name in before if name not in shards and self._holds_others(name, names)]
            index = {name: sha256_of(self.folder / name) for name in (*kept, *shards)}
            write_json(self.folder / INDEX, {"size": int(rows[0]["features"].shape[1]), "shards": index})
            for name in set(before) - set(index):
                (self.folder / name).unlink(missing_ok=True)

    def _holds_others(self, name: str, names: set[str]) -> bool:
        path = self.folder / name
        return path.is_file() and any(person not in names for person, _, _ in FeatureFile.people(path))

    def _index(self) -> dict[str, Any]:
        path = self.folder / INDEX
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found

    def load(self) -> Features:
        """All cached features; if a person was cached twice (boxes changed) the newer counts.

        Raises UserError for a shard that is missing or whose bytes changed.
        """
        rows: list[Row] = []
        for name, digest in self._index().get("shards", {}).items():
            path = self.folder / name
            if not path.is_file() or sha256_of(path) != digest:
                raise UserError(
                    f"{path}: missing or changed since it was written; delete {self.folder} and cache again"
                )
            rows.extend(FeatureFile().read(path))
        if not rows:
            raise UserError(f"{self.folder}: the cache is empty or unfinished; run the cache step")
        return _features(list({row["id"]: row for row in rows}.values()))


def _features(rows: Sequence[Row]) -> Features:
    return Features(
        tuple(row["id"] for row in rows),
        np.stack([row["features"] for row in rows]),
        np.stack([row["present"] for row in rows]),
    )
