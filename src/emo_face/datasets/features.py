"""Frozen features on disk: encoded once, in shards, resumable, tied by hash to the encoder and the records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from emo_face.core.errors import UserError
from emo_face.datasets.records import Record
from emo_face.datasets.views import Pictures, person_of, read_image, stack_views
from emo_face.perception.multiview.checkpoint import own_state
from emo_face.perception.multiview.config import to_dict
from emo_face.perception.multiview.encoder import MultiViewEncoder, gather
from emo_face.perception.multiview.preprocess import view_batch
from emo_face.runtime.files import replacing
from emo_face.runtime.store import sha256_of

FORMAT = "emo_face.multiview.features/2"  # 2: pictures are resized as BLIP does
META, INDEX = "meta.json", "index.jsonl"


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


def encoder_key(encoder: MultiViewEncoder) -> str:
    """sha256 over config and every weight that features depend on (image encoder, Q-Formers, queries, projections)."""
    digest = hashlib.sha256(json.dumps(to_dict(encoder.config), sort_keys=True).encode())
    state = {**own_state(encoder), **{f"vision.{n}": v for n, v in encoder.vision.state_dict().items()}}
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def record_keys(records: Sequence[Record], pictures: Pictures) -> dict[str, str]:
    """Record id -> sha256 over what the person's pixels depend on: the picture's bytes, own boxes, boxes drawn."""
    found = {}
    for group in _by_picture(records):
        path = pictures.root / group[0].image
        content = sha256_of(path) if path.is_file() else ""  # missing: encoding it says so
        drawn: list[Any] = []
        if pictures.config.scene_box == "all":
            everybody = {p.person_id: p for p in (*map(person_of, group), *pictures.neighbours.get(group[0].image, []))}
            drawn = sorted(str((p.body, p.face.box if p.face else None)) for p in everybody.values())
        for record in group:
            wanted = [content, str(record.bbox_body), str(record.bbox_face), drawn]
            found[record.id] = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:16]
    return found


class FeatureCache:
    """A folder of shards. A shard counts only once its line is in the index, so a kill loses at most one."""

    def __init__(
        self, folder: Path, encoder: MultiViewEncoder, shard: int = 1024, files: Mapping[str, str] | None = None
    ) -> None:
        """Open or start a cache. Raises UserError if the folder was made by another encoder.

        ``files`` is the encoder's :func:`~emo_face.perception.multiview.fingerprint.fingerprint`, for Stage 2's card.
        """
        self.folder, self.encoder, self.shard = folder, encoder, shard
        key = encoder_key(encoder)
        meta: dict[str, Any] = {
            "format": FORMAT,
            "encoder": key,
            "views": list(encoder.config.views),
            "size": encoder.feature_size,
        }
        path = folder / META
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
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            scratch.write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def reading(cls, folder: Path) -> FeatureCache:
        """Open a cache only to :meth:`load` it, without its encoder. Raises UserError if there is none."""
        if not (folder / META).is_file():
            raise UserError(f"{folder}: no {META}; cache features first: emo-face train multiview cache --help")
        cache = cls.__new__(cls)
        cache.folder = folder
        return cache

    def meta(self) -> dict[str, Any]:
        """``views``, ``size``, the ``encoder``'s key, and the fingerprint of its ``files`` where known."""
        found: dict[str, Any] = json.loads((self.folder / META).read_text(encoding="utf-8"))
        return found

    def build(
        self,
        records: Sequence[Record],
        pictures: Pictures,
        batch: int = 16,
        device: str = "cpu",
        tick: Callable[[int], None] | None = None,
    ) -> Features:
        """Encode what is not cached yet and return the features of all ``records``.

        Args:
            batch: people a pass, at least; whole pictures stay together, so that a scene is encoded once.
            tick: called with the number of people done.

        Raises:
            UserError: a picture cannot be read, the disk or the GPU is full (finished shards are kept).
        """
        done = {name: key for line in self._lines() for name, key in line["rows"]}
        keys = record_keys(records, pictures)
        todo = [record for record in records if done.get(record.id) != keys[record.id]]
        pending: list[Record] = []
        found: list[tuple[NDArray[np.float16], NDArray[np.uint8]]] = []
        for people in _whole_pictures(todo, batch):
            try:
                found.append(self._encode(people, pictures, device))
            except torch.cuda.OutOfMemoryError:
                fewer = (
                    f"try --batch-size {len(people) // 2}" if len(people) > 1 else "use a larger GPU or --device cpu"
                )
                raise UserError(
                    f"{device}: no memory left for the views of {len(people)} people at once; {fewer}, "
                    "finished shards are kept"
                ) from None
            pending.extend(people)
            if tick is not None:
                tick(len(people))
            if len(pending) >= self.shard:
                self._write(pending, found, keys)
                pending, found = [], []
        if pending:
            self._write(pending, found, keys)
        return self.load().of(records)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _encode(
        self, people: Sequence[Record], pictures: Pictures, device: str
    ) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
        config = self.encoder.config
        batches = []
        for group in _by_picture(people):
            known = {record.id for record in group}
            others = [p for p in pictures.neighbours.get(group[0].image, []) if p.person_id not in known]
            frame = read_image(pictures.root, group[0].image)
            batches.append(view_batch(frame, [person_of(record) for record in group], config, others))
        pixels, rows = stack_views(batches, config.views)
        self.encoder.eval()
        pooled = self.encoder.pool(self.encoder({view: value.to(device) for view, value in pixels.items()}))
        features = gather(pooled, rows.to(device), config.views).to(torch.float16).cpu().numpy()
        if not np.isfinite(features).all():
            raise UserError(f"features of {people[0].id!r} or a neighbour are not finite; use float32 or bf16 weights")
        return features, (rows >= 0).to(torch.uint8).numpy()

    def _write(
        self, people: Sequence[Record], found: Sequence[tuple[NDArray[Any], NDArray[Any]]], keys: Mapping[str, str]
    ) -> None:
        features = torch.from_numpy(np.concatenate([pair[0] for pair in found]))
        present = torch.from_numpy(np.concatenate([pair[1] for pair in found]))
        name = f"features-{len(self._lines()):05d}.safetensors"
        with replacing(self.folder / name, features.numel() * 2 + present.numel()) as scratch:
            save_file({"features": features, "present": present}, str(scratch))
        rows = [(record.id, keys[record.id]) for record in people]
        line = {"shard": name, "sha256": sha256_of(self.folder / name), "rows": rows}
        with (self.folder / INDEX).open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")

    def _lines(self) -> list[dict[str, Any]]:
        path = self.folder / INDEX
        if not path.is_file():
            return []
        lines = []
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break  # a kill cut the last line; its shard is written again
        if len(lines) != len(path.read_text(encoding="utf-8").splitlines()):
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return lines

    def load(self) -> Features:
        """All cached features; where a person was cached twice (boxes changed) the newer counts.

        Raises UserError for a shard that is missing or whose bytes changed.
        """
        ids: list[str] = []
        parts: list[tuple[NDArray[Any], NDArray[Any]]] = []
        for line in self._lines():
            path = self.folder / line["shard"]
            if not path.is_file() or sha256_of(path) != line["sha256"]:
                raise UserError(
                    f"{path}: missing or changed since it was written; delete {self.folder} and cache again"
                )
            content = load_file(str(path))
            ids.extend(name for name, _ in line["rows"])
            parts.append((content["features"].numpy(), content["present"].numpy()))
        if not parts:
            raise UserError(f"{self.folder}: the cache is empty; run the cache step")
        newest = {name: i for i, name in enumerate(ids)}
        keep = sorted(newest.values())
        features = np.concatenate([part[0] for part in parts])[keep]
        return Features(tuple(ids[i] for i in keep), features, np.concatenate([part[1] for part in parts])[keep])


def _by_picture(records: Sequence[Record]) -> list[list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.image, []).append(record)
    return list(groups.values())


def _whole_pictures(records: Sequence[Record], batch: int) -> Iterator[list[Record]]:
    people: list[Record] = []
    for group in _by_picture(records):
        people.extend(group)
        if len(people) >= batch:
            yield people
            people = []
    if people:
        yield people
