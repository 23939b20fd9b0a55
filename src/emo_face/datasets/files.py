"""Folders of data sets as people have them: stray files are left out and counted."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from emo_face.core.paths import is_stray


def folders(folder: Path, skipped: Counter[str] | None = None) -> list[Path]:
    """The folders in ``folder`` by name; stray ones are counted in ``skipped``."""
    return _kept([path for path in folder.iterdir() if path.is_dir()], "stray folder", skipped)


def pictures(folder: Path, suffixes: Collection[str], skipped: Counter[str] | None = None) -> list[Path]:
    """The files in ``folder`` with one of ``suffixes`` (lower case), by name; stray ones are counted in ``skipped``."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file()]
    return _kept(found, "stray file", skipped)


def _kept(paths: list[Path], kind: str, skipped: Counter[str] | None) -> list[Path]:
    kept = [path for path in paths if not is_stray(path)]
    if skipped is not None and len(kept) < len(paths):
        skipped[kind] += len(paths) - len(kept)
    return sorted(kept)
