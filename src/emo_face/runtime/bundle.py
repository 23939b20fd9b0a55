"""Models that come as files: one of the user's own, or a zip file with several and a manifest of their hashes."""

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import yaml
from pydantic import ValidationError

from emo_face.core.errors import ModelError
from emo_face.runtime.files import replacing
from emo_face.runtime.store import MANIFEST, ModelEntry, ModelStore, entry_of, parse_manifest, register, user_cache

LONGEST_MANIFEST = 1 << 20  # bytes
PIECE = 1 << 20  # bytes that are unpacked at once
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)  # the last: encrypted, or a method we cannot


def install(path: Path, name: str, licence: str, purpose: str) -> ModelEntry:
    """Copy a file into the user cache, called as the model is, and trust it; its entry. Raises as :func:`entry_of`.

    Trainers give all of their files one name (``best.onnx``): under that, the next would replace the last.
    """
    made = entry_of(path, name, licence=licence, purpose=purpose)
    entry, cache = made.model_copy(update={"file": f"{name}{path.suffix}"}), user_cache()
    if (target := cache / entry.file).resolve() != path.resolve():
        with replacing(target, entry.size) as partial:
            shutil.copyfile(path, partial)
    register(entry, cache)
    return entry


def write_bundle(store: ModelStore, path: Path, names: Sequence[str] = ()) -> list[ModelEntry]:
    """Write the models ``names``, or all that are here and not in the package, to ``path``; returns their entries.

    Raises:
        ModelError: a named model is missing or damaged, or there is nothing to put into it.
    """
    if names:
        found = [store.resolve(name) for name in names]
    else:
        found = [there for name in store.entries if (there := store.find(name)) and there.place != "packaged"]
    if not found:
        raise ModelError("nothing to bundle but what the package has; pull a model first: `emo-face models pull yunet`")
    entries = [there.entry for there in found]
    text = yaml.safe_dump({"version": 1, "models": [e.model_dump(exclude_defaults=True) for e in entries]})
    with replacing(path, sum(e.size for e in entries)) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.writestr(MANIFEST, text)
        for there in found:
            archive.write(there.path, there.entry.file)
    return entries


def read_bundle(path: Path, store: ModelStore) -> list[ModelEntry]:
    """Put a bundle's models into the user cache, each checked by the bundle's hash; returns their entries.

    One that this package does not know by this hash is registered as the user's own, before the package's.

    Raises:
        ModelError: no bundle, or a file in it is missing or damaged; names it. Nothing of a bad file is kept.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open(MANIFEST) as source:
                listed = parse_manifest(source.read(LONGEST_MANIFEST))
            for entry in listed.models:
                with archive.open(entry.file) as source, replacing(store.cache / entry.file, entry.size) as partial:
                    if _copy(source, partial, entry.size) != entry.sha256:
                        why = "is damaged: its sha256 is not the bundle's; copy it again"
                        raise ModelError(f"{path}: {entry.file} {why}")
                known = store.entries.get(entry.name)
                if known is None or known.sha256 != entry.sha256:
                    register(entry, store.cache)
    except (OSError, KeyError, *_BROKEN, yaml.YAMLError, ValidationError) as error:
        raise ModelError(f"{path}: not a bundle of `emo-face models bundle`: {str(error).splitlines()[0]}") from None
    return listed.models


def _copy(source: IO[bytes], target: Path, size: int) -> str:
    """Copy at most ``size`` bytes and one more; sha256 of what came."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while piece := source.read(min(PIECE, size + 1)):
            size -= len(piece)
            digest.update(piece)
            file.write(piece)
            if size < 0:
                break
    return digest.hexdigest()
