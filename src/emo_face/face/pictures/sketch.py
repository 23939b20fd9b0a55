"""Draw the screen face without a browser: for the demo video, the gallery and tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import Array, FloatArray, ImageArray
from emo_face.face.pictures.facedata import FaceData, Gradient, Part, Pose, load_face

Colour = tuple[float, float, float]
Background = Colour | ImageArray | None

HANDLE = 0.375  # of the distance to the next point: eight points make a circle
STEPS = 8  # line pieces per curve segment
SHIFT = 4  # fractional bits of OpenCV's drawing
SMALL = 1000  # pictures up to this size are drawn at twice the size


def draw_face(
    arkit: Sequence[float] | FloatArray,
    size: tuple[int, int] = (480, 480),
    theme: str = "robot",
    background: Background = None,
    mode: Literal["light", "dark"] = "dark",
) -> ImageArray:
    """Draw one face.

    Args:
        arkit: (52,) values in [0, 1], order of ``ARKIT_52``; clipped, NaN counts as 0.
        size: width and height in pixels; the face keeps its proportions and is centred.
        theme: ``robot``, ``eyes`` or ``human``.
        background: None for the theme's own, a BGR colour, or a BGR picture of ``size`` to draw over.
        mode: palette.

    Returns:
        (height, width, 3) uint8 BGR.

    Raises:
        ValueError: not 52 values, or ``background`` has another size.
        ConfigError: unknown theme.
    """
    face = load_face(theme)
    pose = face.pose(arkit)
    scale = 2 if max(size) <= SMALL else 1
    big = (size[0] * scale, size[1] * scale)
    colours = _colours(theme, mode)
    canvas = _canvas(background, size, big, colours["background"])
    painter = _Painter(canvas, face, pose, colours)
    for index in range(len(face.parts)):
        painter.paint(index)
    return canvas if scale == 1 else np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


@cache
def _colours(theme: str, mode: str) -> dict[str, Colour]:
    def bgr(text: str) -> Colour:
        r, g, b = (int(text[i : i + 2], 16) for i in (1, 3, 5))
        return (float(b), float(g), float(r))

    return {name: bgr(text) for name, text in load_face(theme).palette[mode].items()}


def _canvas(background: Background, size: tuple[int, int], big: tuple[int, int], default: Colour) -> ImageArray:
    if isinstance(background, np.ndarray) and background.ndim == 3:
        if background.shape != (size[1], size[0], 3):
            raise ValueError(f"background has shape {background.shape}, expected {(size[1], size[0], 3)}")
        return np.ascontiguousarray(cv2.resize(background, big, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return _filled(default if background is None else (background[0], background[1], background[2]), big)


def _filled(colour: Colour, size: tuple[int, int]) -> ImageArray:
    """A picture of one colour; a row at a time is much faster than NumPy's pixel at a time."""
    width, height = size
    rows = np.empty((height, 3 * width), dtype=np.uint8)
    rows[:] = np.tile(np.round(np.asarray(colour)).astype(np.uint8), width)
    return rows.reshape(height, width, 3)


@dataclass(frozen=True)
class _Curves:
    """The curves of all parts of a theme at once: for each path point its neighbours, for each segment its ends."""

    points: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    smooth: Array
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    slices: tuple[slice, ...]

    def sample(self, posed: Array) -> Array:
        """Points (n, 2) along every part's curve; ``slices`` tells which belong to which part.

        A Catmull-Rom spline whose handles scale with the distance to their neighbour, so that uneven spacing does
        not overshoot, and vanish at corners. The page draws the same curve with Bezier segments.
        """
        at = posed[self.points]
        to_before, to_after = at[self.before] - at, at[self.after] - at
        len_in, len_out = np.hypot(to_before[:, 0], to_before[:, 1]), np.hypot(to_after[:, 0], to_after[:, 1])
        scale = HANDLE * self.smooth / np.maximum(len_in + len_out, 1e-6)
        tangent = (to_after - to_before) * scale[:, None]
        leave, arrive = at + tangent * len_out[:, None], at - tangent * len_in[:, None]
        segments = np.stack([at[self.start], leave[self.start], arrive[self.end], at[self.end]], axis=1)
        sampled: Array = np.matmul(_bezier_basis(), segments).reshape(-1, 2)
        return sampled


@cache
def _curves(theme: str) -> _Curves:
    points, before, after, smooth, start, end, slices = [], [], [], [], [], [], []  # type: ignore[var-annotated]
    for part in load_face(theme).parts:
        n, first = len(part.path), len(points)
        own = list(range(n))
        points += part.path
        before += [first + (i - 1 if i else 0 if part.open else n - 1) for i in own]
        after += [first + (i + 1 if i < n - 1 else i if part.open else 0) for i in own]
        smooth += [0.0 if i in part.corners else 1.0 for i in own]
        segments = own[:-1] if part.open else own
        slices.append(slice(STEPS * len(start), STEPS * (len(start) + len(segments))))
        start += [first + i for i in segments]
        end += [first + (i + 1) % n for i in segments]
    at, prior, following = (np.array(v, dtype=np.int64) for v in (points, before, after))
    return _Curves(at, prior, following, np.array(smooth), np.array(start), np.array(end), tuple(slices))


@cache
def _bezier_basis() -> Array:
    t = np.linspace(0, 1, STEPS)[:, None]  # both ends, so that open curves are whole
    return np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3])


class _Painter:
    """Paints the parts of one posed face onto a canvas."""

    def __init__(self, canvas: ImageArray, face: FaceData, pose: Pose, colours: dict[str, Colour]) -> None:
        height, width = canvas.shape[:2]
        x, y, view_w, view_h = face.view
        self.scale = min(width / view_w, height / view_h)
        centre = np.array([x + view_w / 2, y + view_h / 2])
        self.canvas, self.face, self.pose, self.colours = canvas, face, pose, colours
        self.points = (pose.points - centre) * self.scale + np.array([width / 2, height / 2])
        self.top = height / 2 - centre[1] * self.scale  # where the face's height 0 is
        curves = _curves(face.name)
        sampled = np.round(curves.sample(self.points) * (1 << SHIFT)).astype(np.int32)
        self.paths = [sampled[part] for part in curves.slices]

    def paint(self, index: int) -> None:
        """Fill, then stroke, one part."""
        part, opacity = self.face.parts[index], float(self.pose.opacity[index])
        if opacity <= 0:
            return
        path = self.paths[index]
        plain = opacity >= 1 and part.clip is None
        if isinstance(part.fill, str) and plain:
            cv2.fillPoly(self.canvas, [path], self.colours[part.fill], cv2.LINE_AA, SHIFT)
        elif part.fill is not None:
            self._blend(part, path, opacity, part.fill, 0)
        thickness = round(float(self.pose.width[index]) * self.scale)
        if part.stroke is None or thickness < 1:
            return
        if plain:
            cv2.polylines(self.canvas, [path], not part.open, self.colours[part.stroke], thickness, cv2.LINE_AA, SHIFT)
        else:
            self._blend(part, path, opacity, part.stroke, thickness)

    def _blend(
        self, part: Part, path: NDArray[np.int32], opacity: float, paint: str | Gradient, thickness: int
    ) -> None:
        box = self._box(path, thickness)
        if box is None:
            return
        x0, y0, x1, y1 = box
        shift = np.array([x0, y0], dtype=np.int32) << SHIFT
        mask = np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)
        if thickness:
            cv2.polylines(mask, [path - shift], not part.open, 255.0, thickness, cv2.LINE_AA, SHIFT)
        else:
            cv2.fillPoly(mask, [path - shift], 255.0, cv2.LINE_AA, SHIFT)
        if part.clip is not None:
            cutter = np.zeros_like(mask)
            cv2.fillPoly(cutter, [self.paths[part.clip] - shift], 255.0, cv2.LINE_AA, SHIFT)
            mask = np.asarray(cv2.multiply(mask, cutter, scale=1 / 255), dtype=np.uint8)
        region = self.canvas[y0:y1, x0:x1]
        if isinstance(paint, str):
            colour, stop_alpha = _filled(self.colours[paint], (x1 - x0, y1 - y0)), None
        else:
            colour, stop_alpha = self._gradient(paint, part, box)
        if opacity >= 1 and stop_alpha is None:
            _cover(region, colour, mask)
            return
        alpha = mask.astype(np.float32) * np.float32(opacity / 255)
        if stop_alpha is not None:
            alpha *= stop_alpha
        region[:] = cv2.blendLinear(region, colour, 1 - alpha, alpha)

    def _box(self, path: NDArray[np.int32], thickness: int) -> tuple[int, int, int, int] | None:
        margin = thickness // 2 + 2
        low = np.floor(path.min(axis=0) / (1 << SHIFT)).astype(int) - margin
        high = np.ceil(path.max(axis=0) / (1 << SHIFT)).astype(int) + margin
        height, width = self.canvas.shape[:2]
        x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
        x1, y1 = min(int(high[0]), width), min(int(high[1]), height)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _gradient(
        self, paint: Gradient, part: Part, box: tuple[int, int, int, int]
    ) -> tuple[ImageArray, NDArray[np.float32] | None]:
        """Colour and alpha (None: opaque) over ``box``; it spans the control points, or ``over``."""
        points = self.points[list(part.path)]
        low, high = points.min(axis=0), points.max(axis=0)
        if paint.over is not None:
            low[1], high[1] = (y * self.scale + self.top for y in paint.over)
        span = np.maximum(high - low, 1e-3)
        x0, y0, x1, y1 = box
        v = (np.arange(y0, y1) + 0.5 - low[1]) / span[1]
        if paint.gradient == "down":
            u = np.clip(v, 0, 1)[:, None]
        else:
            h = (np.arange(x0, x1) + 0.5 - low[0]) / span[0]
            u = np.minimum(np.hypot(2 * h[None, :] - 1, 2 * v[:, None] - 1), 1.0)
        offsets = [stop[0] for stop in paint.stops]
        table = np.array([(*self.colours[name], alpha) for _, name, alpha in paint.stops])
        colour = np.stack([np.interp(u, offsets, table[:, k]) for k in range(3)], axis=-1).astype(np.uint8)
        if colour.shape[1] != x1 - x0:
            colour = np.asarray(cv2.repeat(colour, 1, x1 - x0), dtype=np.uint8)
        opaque = bool((table[:, 3] >= 1).all())
        return colour, None if opaque else np.interp(u, offsets, table[:, 3]).astype(np.float32)


def _cover(region: ImageArray, colour: ImageArray, mask: NDArray[np.uint8]) -> None:
    """Lay an opaque ``colour`` over ``region``: copied inside, mixed only along the edge."""
    edge = cv2.findNonZero(cv2.inRange(mask, 1, 254))
    if edge is not None:
        at = (edge[:, 0, 1], edge[:, 0, 0])
        share = mask[at][:, None].astype(np.float32) / 255
        mixed = np.round(region[at] * (1 - share) + colour[at] * share)
    cv2.copyTo(colour, cv2.inRange(mask, 255, 255), region)
    if edge is not None:
        region[at] = mixed
