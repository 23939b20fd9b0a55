"""The static files of the screen face, read once and served from memory."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import ConfigError
from emo_face.core.labels import basic7

STATIC = Path(__file__).resolve().parent / "static"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
ROUTES = {"index.html": "/", "tune.html": "/tune"}


@dataclass(frozen=True)
class Page:
    """One answer: its body plain and compressed."""

    body: bytes
    compressed: bytes
    content_type: str
    etag: str


def _page(body: bytes, content_type: str) -> Page:
    return Page(body, gzip.compress(body, 9, mtime=0), content_type, hashlib.sha256(body).hexdigest()[:16])


def load_pages(theme: str, folder: Path = STATIC) -> dict[str, Page]:
    """Every page by its route; ``theme`` is the face shown unless the page asks for another.

    Raises:
        ConfigError: no such theme, or the page itself is missing from the install.
    """
    titles = {}
    for path in sorted((folder / "faces").glob("*.json")):
        titles[path.stem] = json.loads(path.read_text(encoding="utf-8"))["title"]
    if theme not in titles:
        raise ConfigError(f"screen.theme {theme!r} is unknown: expected one of {', '.join(titles)}")
    pages = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix in TYPES):
        name = path.relative_to(folder).as_posix()
        pages[ROUTES.get(name, f"/{name}")] = _page(path.read_bytes(), TYPES[path.suffix])
    if "/" not in pages:
        raise ConfigError(f"{folder / 'index.html'} is missing; reinstall emo_face")
    config = {"channels": ARKIT_52, "emotions": basic7().labels, "theme": theme, "themes": titles}
    pages["/config.json"] = _page(json.dumps(config).encode(), TYPES[".json"])
    return pages
