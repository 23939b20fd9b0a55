"""Models for a machine without network: one zip file with the weights and a manifest of their hashes."""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from emo_face.core.errors import ModelError
from emo_face.runtime.files import replacing
from emo_face.runtime.store import MANIFEST, Manifest, ModelEntry, ModelStore, register


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

    A model that this package knows must have the package's hash; another one is registered as the user's own.

    Raises:
        ModelError: no bundle, or a file in it is missing or damaged; names it. Nothing of a bad file is kept.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            listed = Manifest.model_validate(yaml.safe_load(archive.read(MANIFEST)))
            for entry in listed.models:
                with archive.open(entry.file) as source:
                    data = source.read(entry.size + 1)
                if hashlib.sha256(data).hexdigest() != entry.sha256:
                    raise ModelError(f"{path}: {entry.file} is damaged: its sha256 is not the bundle's; copy it again")
                with replacing(store.cache / entry.file, len(data)) as partial:
                    partial.write_bytes(data)
                known = store.entries.get(entry.name)
                if known is None or known.sha256 != entry.sha256:
                    register(entry, store.cache)
    except (OSError, KeyError, zipfile.BadZipFile, yaml.YAMLError, ValidationError) as error:
        raise ModelError(f"{path}: not a bundle of `emo-face models bundle`: {str(error).splitlines()[0]}") from None
    return listed.models
