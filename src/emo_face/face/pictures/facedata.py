"""A drawn face as data: control points, painted parts and what each ARKit channel moves.

The JSON files (``web/static/faces/<theme>.json``, written by ``export/export_themes.py``) are read by the page
and by :mod:`emo_face.face.pictures.sketch` alike, so that both show the same face.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.core.paths import PACKAGE
from emo_face.core.types import Array, FloatArray, IntArray

FACES = PACKAGE / "web" / "static" / "faces"

Unit = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gradient(_Strict):
    """Paint in the part's box, or between two heights (``over``); stops are (offset, palette colour, alpha)."""

    gradient: Literal["down", "radial"]
    stops: tuple[tuple[Unit, str, Unit], ...]
    over: tuple[float, float] | None = None


class Part(_Strict):
    """One painted shape along control points; ``clip`` is the index of the part that cuts it."""

    name: str
    path: tuple[int, ...]
    open: bool = False
    corners: tuple[int, ...] = ()
    fill: str | Gradient | None = None
    stroke: str | None = None
    width: float = 0.0
    opacity: Unit = 1.0
    clip: int | None = None


class Morph(_Strict):
    """What the product of the channels ``of`` adds: ``move`` (point, dx, dy)..., ``style`` (part, opacity, width)."""

    of: tuple[str, ...]
    move: tuple[int, ...] = ()
    style: tuple[tuple[int, float, float], ...] = ()


class _File(_Strict):
    format: Literal["emo-face-2d/1"]
    name: str
    title: str
    view: tuple[float, float, float, float]
    palette: dict[Literal["light", "dark"], dict[str, Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]]]
    points: tuple[float, ...]
    order: tuple[tuple[int, int], ...]
    parts: tuple[Part, ...]
    morphs: tuple[Morph, ...]


@dataclass(frozen=True)
class Pose:
    """A face at one moment: points (n, 2) in design units, opacity and stroke width of each part."""

    points: Array
    opacity: Array
    width: Array


@dataclass(frozen=True)
class FaceData:
    """A theme, ready to be posed.

    Attributes:
        view: x, y, width, height of the picture in design units.
        palette: colours as ``#rrggbb`` by name, for ``light`` and ``dark``.
    """

    name: str
    title: str
    view: tuple[float, float, float, float]
    palette: dict[str, dict[str, str]]
    parts: tuple[Part, ...]
    _rest: Pose
    _channels: tuple[tuple[int, ...], ...]
    _move: Array
    _opacity: Array
    _width: Array
    _order: tuple[tuple[IntArray, IntArray], ...]

    def pose(self, arkit: Sequence[float] | FloatArray) -> Pose:
        """The face with 52 ARKit values in [0, 1] (clipped; NaN counts as 0), in the order of ``ARKIT_52``.

        Raises:
            ValueError: ``arkit`` has not 52 values.
        """
        values = np.asarray(arkit, dtype=np.float64)
        if values.shape != (len(ARKIT_52),):
            raise ValueError(f"expected {len(ARKIT_52)} ARKit values, got shape {values.shape}")
        values = np.clip(np.nan_to_num(values, nan=0.0), 0.0, 1.0)
        weights = np.array([values[list(c)].prod() for c in self._channels])
        points = self._rest.points + (weights @ self._move).reshape(-1, 2)
        self._keep_order(points)
        opacity = np.clip(self._rest.opacity + weights @ self._opacity, 0.0, 1.0)
        return Pose(points, opacity, np.maximum(self._rest.width + weights @ self._width, 0.0))

    def _keep_order(self, points: Array) -> None:
        """Lids and lips meet halfway instead of crossing; rows of pairs are taken in the file's order."""
        y = points[:, 1]
        for upper, lower in self._order:
            crossed = y[upper] > y[lower]
            if crossed.any():
                up, low = upper[crossed], lower[crossed]
                y[up] = y[low] = (y[up] + y[low]) / 2


def _batches(order: tuple[tuple[int, int], ...]) -> tuple[tuple[IntArray, IntArray], ...]:
    """Pairs in the file's order, in runs that share no point, so that a run can be done at once."""
    runs: list[list[tuple[int, int]]] = []
    seen: set[int] = set()
    for pair in order:
        if not runs or seen & set(pair):
            runs.append([])
            seen = set()
        runs[-1].append(pair)
        seen |= set(pair)
    return tuple((np.array([p[0] for p in run]), np.array([p[1] for p in run])) for run in runs)


def theme_names(folder: Path = FACES) -> tuple[str, ...]:
    """Themes that are installed, ``robot`` first."""
    return tuple(sorted((p.stem for p in folder.glob("*.json")), key=lambda n: (n != "robot", n)))


@cache
def load_face(theme: str = "robot", folder: Path = FACES) -> FaceData:
    """Read and check a theme.

    Raises:
        ConfigError: no such theme (names those there are), or the file is damaged (names file and field).
    """
    path = folder / f"{theme}.json"
    if theme not in theme_names(folder):
        raise ConfigError(f"unknown face theme {theme!r}: expected one of {', '.join(theme_names(folder))}")
    try:
        return _build(_File.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{path}: field {'.'.join(map(str, first['loc']))}: {first['msg']}; run python export/export_themes.py"
        ) from None
    except (IndexError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: {error}; run python export/export_themes.py") from None


def _build(raw: _File) -> FaceData:
    points = np.array(raw.points, dtype=np.float64).reshape(-1, 2)
    n, parts = len(points), raw.parts
    for part in parts:
        if not part.path or max(part.path) >= n or min(part.path) < 0:
            raise ValueError(f"part {part.name!r} names a point outside 0..{n - 1}")
        if part.clip is not None and not 0 <= part.clip < len(parts):
            raise ValueError(f"part {part.name!r} is clipped by unknown part {part.clip}")
    move = np.zeros((len(raw.morphs), n, 2))
    opacity, width = np.zeros((2, len(raw.morphs), len(parts)))
    channels = []
    for k, morph in enumerate(raw.morphs):
        channels.append(tuple(ARKIT_INDEX[c] for c in morph.of))
        triples = np.array(morph.move, dtype=np.int64).reshape(-1, 3)
        move[k, triples[:, 0]] = triples[:, 1:]
        for part_index, d_opacity, d_width in morph.style:
            opacity[k, part_index], width[k, part_index] = d_opacity, d_width
    rest = Pose(points, np.array([p.opacity for p in parts]), np.array([p.width for p in parts]))
    order = _batches(raw.order)
    palette = {str(k): dict(v) for k, v in raw.palette.items()}
    return FaceData(
        raw.name,
        raw.title,
        raw.view,
        palette,
        parts,
        rest,
        tuple(channels),
        move.reshape(len(raw.morphs), -1),
        opacity,
        width,
        order,
    )
