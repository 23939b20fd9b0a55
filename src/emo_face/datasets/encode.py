"""Encode people in shards: by one process or many, each person once, decoding beside encoding."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from emo_face.core.errors import UserError
from emo_face.core.types import Person
from emo_face.datasets.feature_file import FORMAT, FeatureFile
from emo_face.datasets.records import Record, read_image
from emo_face.datasets.views import Pictures, person_of, stack_views
from emo_face.perception.multiview.checkpoint import config_of_card, load_encoder
from emo_face.perception.multiview.config import EncoderConfig, to_dict
from emo_face.perception.multiview.encoders import load_eyes
from emo_face.perception.multiview.preprocess import ViewBatch, view_batch
from emo_face.runtime.engines.place import place
from emo_face.runtime.runners.local import WORKER
from emo_face.runtime.runners.prefetch import prefetch
from emo_face.runtime.shards import CUT, Job, Row, RowFile
from emo_face.runtime.store import sha256_of

AHEAD = 2
"""Batches of pictures that are decoded while one is encoded."""


class Source(Protocol):
    """An encoder that may be loaded elsewhere. ``key``: everything that its features depend on."""

    @property
    def key(self) -> str: ...

    @property
    def config(self) -> EncoderConfig: ...

    def load(self) -> Any:
        """The encoder on this worker's device, in eval mode."""


@dataclass(frozen=True)
class InMemory:
    """An encoder that is loaded here."""

    encoder: Any

    @property
    def config(self) -> EncoderConfig:
        """Of the encoder."""
        found: EncoderConfig = self.encoder.config
        return found

    @property
    def key(self) -> str:
        """sha256 over the configuration and every weight."""
        digest = hashlib.sha256(json.dumps(to_dict(self.config), sort_keys=True).encode())
        state = self.encoder.state_dict()
        for name in sorted(state):
            digest.update(name.encode())
            digest.update(state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def load(self) -> Any:
        """See :class:`Source`."""
        return self.encoder.eval()


@dataclass(frozen=True)
class OnDisk:
    """An encoder's folder on a checkpoint. ``files``: its fingerprint. ``device``: several GPUs are shared out."""

    folder: Path
    base: Path
    dtype: str
    device: str
    files: Mapping[str, str]

    @property
    def config(self) -> EncoderConfig:
        """Of the encoder's card."""
        return config_of_card(self.folder)

    @property
    def key(self) -> str:
        """The fingerprint of the files, and the number format."""
        return hashlib.sha256(json.dumps([sorted(self.files.items()), self.dtype]).encode()).hexdigest()

    def load(self) -> Any:
        """See :class:`Source`."""
        eyes = load_eyes(self.base, self.config, self.dtype)
        return place(load_encoder(self.folder, eyes), own_device(self.device), "the encoder")


def own_device(device: str) -> str:
    """``cuda:1`` for the second worker process of this machine if there are several GPUs."""
    if device != "cuda" or torch.cuda.device_count() < 2:
        return device
    return f"cuda:{int(os.environ.get(WORKER, '0')) % torch.cuda.device_count()}"


@dataclass(frozen=True)
class Group:
    """People of one picture, others whose boxes are drawn, and what the people's pixels depend on."""

    image: str
    people: tuple[Record, ...]
    others: tuple[Person, ...]
    keys: tuple[str, ...]


def groups(records: Sequence[Record], pictures: Pictures) -> list[Group]:
    """The records by picture. A key is sha256 over the picture's bytes, the person's boxes and the boxes drawn."""
    by_picture: dict[str, list[Record]] = {}
    for record in records:
        by_picture.setdefault(record.image, []).append(record)
    return [_group(image, people, pictures) for image, people in by_picture.items()]


def _group(image: str, people: Sequence[Record], pictures: Pictures) -> Group:
    path = pictures.root / image
    content = sha256_of(path) if path.is_file() else ""  # missing: encoding it says so
    known = {record.id for record in people}
    others = [person for person in pictures.neighbours.get(image, []) if person.person_id not in known]
    drawn: list[Any] = []
    if pictures.config.scene_box == "all":
        everybody = {person.person_id: person for person in (*map(person_of, people), *others)}
        drawn = sorted(str((p.body, p.face.box if p.face else None)) for p in everybody.values())
    wanted = [[content, str(record.bbox_body), str(record.bbox_face), drawn] for record in people]
    keys = tuple(hashlib.sha256(json.dumps(one).encode()).hexdigest()[:16] for one in wanted)
    return Group(image, tuple(people), tuple(others), keys)


@dataclass(frozen=True)
class EncodeJob(Job[Group]):
    """Views of people -> pooled features. ``batch``: people a pass, at least, as whole pictures stay together."""

    images: Path
    folder: Path
    source: Source
    batch: int = 16
    form: ClassVar[RowFile] = FeatureFile()

    @property
    def key(self) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        return json.dumps(["features", FORMAT, self.source.key])

    def item_key(self, item: Group) -> str:
        """See :class:`~emo_face.runtime.shards.Job`."""
        return json.dumps([[record.id, key] for record, key in zip(item.people, item.keys, strict=True)])

    def worker(self) -> Callable[[Sequence[Group]], Sequence[Row]]:
        """Load the encoder, and note what older shards hold."""
        return _Worker(self, self.source.load()).rows


@dataclass
class _Worker:
    job: EncodeJob
    encoder: Any
    known: dict[tuple[str, str], Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in sorted(self.job.folder.glob(f"*{FeatureFile.suffix}")):
            try:
                people = FeatureFile.people(path)
            except CUT:
                continue
            self.known.update({(name, key): path for name, key, why in people if not why})

    def rows(self, items: Sequence[Group]) -> list[Row]:
        """Rows of a shard: a person whom an older shard holds is copied from it."""
        found: dict[str, Row] = {}
        todo = []
        for item in items:
            new = []
            for record, key in zip(item.people, item.keys, strict=True):
                row = self._copied(record.id, key)
                if row is None:
                    new.append((record, key))
                else:
                    found[record.id] = row
            if new:
                drawn = (*item.others, *(person_of(r) for r in item.people if r.id in found))
                todo.append(Group(item.image, tuple(r for r, _ in new), drawn, tuple(k for _, k in new)))
        for row in self._encoded(todo):
            found[row["id"]] = row
        return [found[record.id] for item in items for record in item.people]

    def _copied(self, name: str, key: str) -> Row | None:
        path = self.known.get((name, key))
        if path is None:
            return None
        try:
            return _rows_of(path)[name]
        except CUT:
            return None

    def _encoded(self, todo: Sequence[Group]) -> Iterator[Row]:
        for whole, views in prefetch(self._decoded, _passes(todo, self.job.batch), AHEAD):
            good = [(group, seen) for group, seen in zip(whole, views, strict=True) if not isinstance(seen, str)]
            if good:
                yield from self._pass([group for group, _ in good], [seen for _, seen in good])
            for group, seen in zip(whole, views, strict=True):
                if isinstance(seen, str):
                    yield from (self._failed(r.id, k, seen) for r, k in zip(group.people, group.keys, strict=True))

    def _decoded(self, some: Sequence[Group]) -> tuple[Sequence[Group], list[ViewBatch | str]]:
        found: list[ViewBatch | str] = []
        for group in some:
            try:
                frame = read_image(self.job.images, group.image)
                found.append(view_batch(frame, list(map(person_of, group.people)), self.encoder.config, group.others))
            except UserError as error:
                found.append(str(error))
        return some, found

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _pass(self, some: Sequence[Group], views: Sequence[ViewBatch]) -> list[Row]:
        from emo_face.perception.multiview.encoders.instructblip import gather

        pixels, index = stack_views(views, self.encoder.config.views)
        device = next(self.encoder.parameters()).device
        people = [(record, key) for group in some for record, key in zip(group.people, group.keys, strict=True)]
        try:
            pooled = self.encoder.pool(self.encoder({view: value.to(device) for view, value in pixels.items()}))
        except torch.cuda.OutOfMemoryError:
            fewer = f"try --batch-size {len(people) // 2}" if len(people) > 1 else "use a larger GPU or --device cpu"
            raise UserError(
                f"{device}: no memory left for the views of {len(people)} people at once; {fewer}, "
                "finished shards are kept"
            ) from None
        features = gather(pooled, index.to(device), self.encoder.config.views).to(torch.float16).cpu().numpy()
        if not np.isfinite(features).all():
            raise UserError(
                f"features of {people[0][0].id!r} or a neighbour are not finite; use float32 or bf16 weights"
            )
        present = (index >= 0).to(torch.uint8).numpy()
        return [
            {"id": record.id, "key": key, "features": features[i], "present": present[i]}
            for i, (record, key) in enumerate(people)
        ]

    def _failed(self, name: str, key: str, why: str) -> Row:
        views, size = len(self.encoder.config.views), self.encoder.feature_size
        empty = {"features": np.zeros((views, size), np.float16), "present": np.zeros(views, np.uint8)}
        return {"id": name, "key": key, **empty, "error": why}


@lru_cache(maxsize=4)
def _rows_of(path: Path) -> dict[str, Row]:
    return {row["id"]: row for row in FeatureFile().read(path)}


def _passes(todo: Sequence[Group], batch: int) -> Iterator[list[Group]]:
    some: list[Group] = []
    for group in todo:
        some.append(group)
        if sum(len(one.people) for one in some) >= batch:
            yield some
            some = []
    if some:
        yield some
