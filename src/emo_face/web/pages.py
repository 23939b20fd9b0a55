"""The static files of the screen face, read once and served from memory."""

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import ConfigError
from emo_face.core.labels import basic7, label_colour
from emo_face.face.mesh.glb import check_container

STATIC = Path(__file__).resolve().parent / "static"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
HOME = "index.html"
ROUTES = {"tune.html": "/tune", "3d.html": "/3d"}  # of the pages beside the face
MODEL_MB = 100


@dataclass(frozen=True)
class Page:
    """One answer: its body plain and compressed."""

    body: bytes
    compressed: bytes
    content_type: str
    etag: str


def _page(body: bytes, content_type: str) -> Page:
    return Page(body, gzip.compress(body, 9, mtime=0), content_type, hashlib.sha256(body).hexdigest()[:16])


def load_pages(
    theme: str, model: Path | None = None, folder: Path = STATIC, home: str = HOME, dashboard: str = ""
) -> dict[str, Page]:
    """Every page by its route; ``theme`` is the face shown unless the page asks for another, ``model`` a GLB for /3d.

    ``home`` is the page at ``/``; only the face has others beside it. ``dashboard``: its address, for a link.

    Raises:
        ConfigError: no such theme, no GLB, the 3D view is not built, or the page itself is missing from the install.
    """
    faces = sorted((folder / "faces").glob("*.json"))
    titles = {path.stem: json.loads(path.read_text(encoding="utf-8"))["title"] for path in faces}
    if theme not in titles:
        raise ConfigError(f"screen.theme {theme!r} is unknown: expected one of {', '.join(titles)}")
    pages = {}
    routes = {home: "/", **(ROUTES if home == HOME else {})}
    for path in sorted(p for p in folder.rglob("*") if p.suffix in TYPES):
        name = path.relative_to(folder).as_posix()
        if path.suffix != ".html" or name in routes:
            pages[routes.get(name, f"/{name}")] = _page(path.read_bytes(), TYPES[path.suffix])
    if "/" not in pages:
        raise ConfigError(f"{folder / home} is missing; reinstall emo_face")
    if model is None:
        pages.pop("/3d", None)
    else:
        pages["/model.glb"] = _model(model, built="/head3d.js" in pages)
    config = {
        "channels": ARKIT_52,
        "emotions": {label: label_colour(label) for label in basic7().labels},
        "theme": theme,
        "themes": titles,
        "model": model is not None,
        "dashboard": dashboard,
    }
    pages["/config.json"] = _page(json.dumps(config).encode(), TYPES[".json"])
    return pages


def _model(path: Path, built: bool) -> Page:
    """A user's GLB, checked as far as its sizes go: a browser would allocate what it claims."""
    if not built:
        raise ConfigError("screen.model needs the 3D view, which is not built: run python export/build_head3d.py")
    try:
        if path.stat().st_size > MODEL_MB * 1_000_000:
            raise ConfigError(f"screen.model {path} is larger than {MODEL_MB} MB")
        body = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"screen.model {path} cannot be read: {error.strerror}") from None
    try:
        check_container(body)
    except ValueError as error:
        raise ConfigError(f"screen.model {path}: {error}; make one with emo-face head3d") from None
    return Page(body, body, "model/gltf-binary", hashlib.sha256(body).hexdigest()[:16])
