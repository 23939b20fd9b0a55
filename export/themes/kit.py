"""The drawing board on which a face is authored: named lines, painted parts, and what each ARKit channel moves.

A face is data (``src/emo_face/web/static/faces/*.json``). This builder writes it; two renderers read it
(``web/static/face.js``, ``emo_face.face.pictures.sketch``). Coordinates are design units: x to the right of the
picture, y down, the origin between the eyes and the mouth. ``Left`` is the face's own left, so it is
drawn on the right of the picture (side ``s = +1``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from emo_face.core.arkit import ARKIT_INDEX

FORMAT = "emo-face-2d/1"
VIEW = (-500, -520, 1000, 1040)  # x, y, width, height of every face
SIDES = ((1.0, "Left"), (-1.0, "Right"))
Field = Callable[[np.ndarray, np.ndarray], tuple[Any, Any]]


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth between."""
    u = np.clip((np.asarray(x, float) - low) / (high - low), 0.0, 1.0)
    return u * u * (3 - 2 * u)


def ellipse(cx: float, cy: float, rx: float, ry: float, n: int = 8, power: float = 2.0) -> np.ndarray:
    """(n, 2) points of a superellipse, evenly spaced along it; ``power`` 2 is an ellipse, more is squarer."""
    a = np.linspace(0, 2 * np.pi, 4000)
    c, s = np.cos(a), np.sin(a)
    r = (np.abs(c) ** power + np.abs(s) ** power) ** (-1 / power)
    x, y = rx * r * c, ry * r * s
    along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    at = np.linspace(0, along[-1], n, endpoint=False)
    return np.stack([cx + np.interp(at, along, x), cy + np.interp(at, along, y)], axis=1)


def gradient(kind: str, *stops: tuple[float, str, float], over: tuple[float, float] | None = None) -> dict[str, Any]:
    """A paint over the part's bounding box, ``down`` or ``radial``; stops are (offset, colour, alpha).

    ``over`` pins a ``down`` gradient between two heights, so that the paint of a large part stays where it is when its
    outline moves: then the page paints only the outline again.
    """
    return {"gradient": kind, "stops": [list(stop) for stop in stops], **({"over": over} if over else {})}


def palette(name: str) -> dict[str, dict[str, str]]:
    """Colours of a face for ``light`` and ``dark``, from ``palettes.yaml``."""
    both = yaml.safe_load(Path(__file__).with_name("palettes.yaml").read_text(encoding="utf-8"))[name]
    return {"light": both["light"], "dark": {**both["light"], **both["dark"]}}


class Face:
    """Collects points, parts and morphs, and writes them as one JSON object."""

    def __init__(self, name: str, title: str, colours: dict[str, dict[str, str]]) -> None:
        self.head = {"format": FORMAT, "name": name, "title": title, "view": VIEW, "palette": colours}
        self.points: list[tuple[float, float]] = []
        self.lines: dict[str, list[int]] = {}
        self.parts: list[dict[str, Any]] = []
        self.order: list[list[int]] = []
        self._moves: dict[tuple[str, ...], dict[int, np.ndarray]] = {}
        self._styles: dict[tuple[str, ...], dict[str, dict[str, float]]] = {}

    def line(self, name: str, points: Iterable[Sequence[float]]) -> str:
        """Add a run of control points that parts can be painted along and channels can move."""
        if name in self.lines:
            raise ValueError(f"line {name!r} is defined twice")
        rows = [(float(x), float(y)) for x, y in points]
        self.lines[name] = list(range(len(self.points), len(self.points) + len(rows)))
        self.points += rows
        return name

    def xy(self, line: str) -> tuple[np.ndarray, np.ndarray]:
        """The resting x and y of a line's points."""
        rows = np.array([self.points[i] for i in self.lines[line]])
        return rows[:, 0], rows[:, 1]

    def part(self, name: str, *path: str, closed: bool = True, corners: Iterable[int] = (), **style: Any) -> str:
        """Paint along lines (``-name`` is a line backwards). Style: fill, stroke, width, opacity, clip (a part)."""
        indices: list[int] = []
        for step in path or (name,):
            run = self.lines[step.lstrip("-")]
            run = run[::-1] if step.startswith("-") else run
            indices += [i for i in run if not indices or i != indices[-1]]
        part: dict[str, Any] = {"name": name, "path": indices, **style}
        if not closed:
            part["open"] = True
        if corners := list(corners):
            part["corners"] = [c % len(indices) for c in corners]
        self.parts.append(part)
        return name

    def keep_above(self, upper: str, lower: str) -> None:
        """Never let a point of ``upper`` pass below its partner in ``lower``: lids and lips meet, they do not cross."""
        self.order += [[i, j] for i, j in zip(self.lines[upper], self.lines[lower], strict=True)]

    def move(self, channels: str | tuple[str, ...], lines: Iterable[str], field: Field) -> None:
        """``channels`` at 1 (a product if several) shifts every point of ``lines`` by ``field(x, y) -> (dx, dy)``."""
        key = self._key(channels)
        for line in lines:
            x, y = self.xy(line)
            dx, dy = (np.broadcast_to(np.asarray(v, float), x.shape) for v in field(x, y))
            for i, delta in zip(self.lines[line], np.stack([dx, dy], axis=1), strict=True):
                moves = self._moves.setdefault(key, {})
                moves[i] = moves.get(i, np.zeros(2)) + delta

    def style(self, channels: str | tuple[str, ...], part: str, *, opacity: float = 0.0, width: float = 0.0) -> None:
        """``channels`` at 1 adds to a part's opacity (clamped to [0, 1]) and stroke width."""
        deltas = {k: v for k, v in (("opacity", opacity), ("width", width)) if v}
        self._styles.setdefault(self._key(channels), {}).setdefault(part, {}).update(deltas)

    @staticmethod
    def _key(channels: str | tuple[str, ...]) -> tuple[str, ...]:
        key = (channels,) if isinstance(channels, str) else tuple(channels)
        for name in key:
            if name not in ARKIT_INDEX:
                raise ValueError(f"unknown ARKit channel {name!r}")
        return key

    def to_json(self) -> str:
        """The face as compact JSON; one part or morph a line, so that a diff can be read."""
        index = {part["name"]: n for n, part in enumerate(self.parts)}
        for part in self.parts:
            if "clip" in part:
                part["clip"] = index[part["clip"]]
        morphs = []
        for key in sorted({*self._moves, *self._styles}, key=lambda k: (len(k), [ARKIT_INDEX[c] for c in k])):
            move: list[int] = []
            for i, delta in sorted(self._moves.get(key, {}).items()):
                dx, dy = (round(float(v)) for v in delta)
                move += [i, dx, dy] if dx or dy else []
            style = [[index[p], d.get("opacity", 0), d.get("width", 0)] for p, d in self._styles.get(key, {}).items()]
            morphs.append({"of": list(key), **({"move": move} if move else {}), **({"style": style} if style else {})})
        flat = [round(v) for point in self.points for v in point]
        body = {**self.head, "points": flat, "order": self.order}
        text = ",\n".join(f"{_dump(k)}:{_dump(v)}" for k, v in body.items())
        lists = (("parts", self.parts), ("morphs", morphs))
        return "{" + text + "".join(f',\n"{k}":[\n' + ",\n".join(map(_dump, v)) + "\n]" for k, v in lists) + "}\n"


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
