"""Where packaged files live, from a checkout, an install, or a colcon workspace."""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]


@cache
def share_dir() -> Path:
    """Directory that holds ``models/``, ``config/`` and ``launch/``.

    A checkout is its own share directory; an install has ``<prefix>/share/emo_face`` beside one of
    the prefixes of this interpreter, of the package's ``lib`` directory, or of ``AMENT_PREFIX_PATH``.

    Raises:
        FileNotFoundError: no candidate holds ``models/manifest.yaml``; names all that were tried.
    """
    checkout = PACKAGE.parents[1]
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    prefixes += [*PACKAGE.parents[:5], Path(sys.prefix)]
    candidates = [checkout, *(p / "share" / "emo_face" for p in prefixes)]
    for candidate in candidates:
        if (candidate / "models" / "manifest.yaml").is_file():
            return candidate
    tried = "\n  ".join(map(str, candidates))
    raise FileNotFoundError(f"models/manifest.yaml of emo_face not found; tried\n  {tried}\nreinstall the package")


def data_file(name: str) -> Path:
    """Path of a data file shipped inside the package (``src/emo_face/data``)."""
    path = PACKAGE / "data" / name
    if not path.is_file():
        raise FileNotFoundError(f"packaged data file {path} is missing; reinstall emo_face")
    return path


@cache
def data_table(name: str) -> dict[str, Any]:
    """The content of a packaged YAML file; one object for all who ask."""
    import yaml

    table: dict[str, Any] = yaml.safe_load(data_file(name).read_text(encoding="utf-8"))
    return table


STRAY = frozenset({"__macosx", "@eadir", "thumbs.db", "desktop.ini", "lost+found", "$recycle.bin",
                   "system volume information"})  # fmt: skip


def is_stray(path: Path) -> bool:
    """Whether a file or folder lies beside people's data without belonging to it, by its name.

    AppleDouble files of macOS (``._name``, RFC 1740), ``__MACOSX`` of its archives, ``@eaDir`` of Synology, Windows'
    ``Thumbs.db``, and whatever starts with a dot: ``.DS_Store``, ``.ipynb_checkpoints``, ``.thumbnails``.
    """
    return path.name.startswith(".") or path.name.lower() in STRAY
