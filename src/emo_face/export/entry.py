"""The model store's entry of an exported file, for ``models/manifest.yaml``."""

from pathlib import Path

import yaml

from emo_face.runtime.store import entry_of


def print_entry(path: Path, name: str, licence: str, purpose: str) -> None:
    """Print the entry of a model that ships with the package."""
    how = f"it ships with the package; reinstall emo_face, or retrain it by `emo-face train {name}`"
    entry = entry_of(path, path.stem, licence=licence, purpose=purpose, how=how)
    print(yaml.safe_dump([entry.model_dump()], sort_keys=False, width=120))
