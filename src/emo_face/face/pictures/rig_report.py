"""What a rig can and cannot show: numbers and a picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from emo_face.core.arkit import ARKIT_52
from emo_face.core.labels import basic7
from emo_face.core.types import Array, ImageArray
from emo_face.face.expressions.facs import default_facs
from emo_face.face.pictures.sketch import draw_face
from emo_face.face.rig.rig import Rig

GOOD, FAIR = 0.75, 0.5
_TILE, _HEAD = 220, 56


@dataclass(frozen=True, slots=True)
class Reach:
    """How well a rig shows one emotion.

    Attributes:
        emotion: label. score: 1 - (missed energy / wanted energy) over all 52 channels, in [0, 1].
        wanted, shown: (52,) ARKit values.
        missing: channels that lose most, with wanted and shown value.
        saturated: actuators at an end of their range.
        distinct_from: the other emotion whose shown face is closest, and the cosine similarity to it.
    """

    emotion: str
    score: float
    wanted: Array
    shown: Array
    missing: tuple[tuple[str, float, float], ...]
    saturated: tuple[str, ...]
    distinct_from: tuple[str, float]


def reach(rig: Rig, intensity: float = 1.0) -> list[Reach]:
    """Reachability of the seven basic emotions at ``intensity`` in (0, 1]."""
    facs = default_facs()
    labels = [label for label in basic7().labels if label != "Neutral"]
    wanted = {label: np.asarray(facs.arkit({label: 1.0}, intensity), dtype=np.float64) for label in labels}
    shown = {label: rig.shown(face) for label, face in wanted.items()}
    return [_reach(rig, label, wanted[label], shown) for label in labels]


def _reach(rig: Rig, label: str, wanted: Array, shown: dict[str, Array]) -> Reach:
    face = shown[label]
    lost = (wanted - face) ** 2
    score = 1.0 - float(lost.sum()) / max(float((wanted**2).sum()), 1e-12)
    worst = np.argsort(-lost)[:5]
    missing = tuple((ARKIT_52[i], float(wanted[i]), float(face[i])) for i in worst if lost[i] > 0.01)
    position = rig.targets(wanted)
    span = rig.limits.upper - rig.limits.lower
    at_end = np.minimum(position - rig.limits.lower, rig.limits.upper - position) <= 1e-6 * span
    away = np.abs(position - rig.limits.neutral) > 0.05 * span
    others = {name: _cosine(face, other) for name, other in shown.items() if name != label}
    closest = max(others, key=lambda name: others[name])
    ends = tuple(name for name, hit in zip(rig.names, at_end & away, strict=True) if hit)
    return Reach(label, max(0.0, score), wanted, face, missing, ends, (closest, others[closest]))


def _cosine(a: Array, b: Array) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 1e-9 else 1.0


def unreachable(rig: Rig) -> tuple[str, ...]:
    """ARKit channels that move nothing on this rig."""
    return tuple(name for name, moves in zip(ARKIT_52, rig.channels, strict=True) if not moves)


def text_report(rig: Rig, reaches: list[Reach]) -> str:
    """The report for a terminal."""
    lines = [f"{rig.name}: {rig.file.description}", f"{len(rig.names)} actuators, driver {rig.driver.kind}", ""]
    lines.append(f"{'emotion':<10} {'shown':>6}  {'closest to':<16} lost most (wanted -> shown)")
    for r in reaches:
        lost = ", ".join(f"{name} {a:.2f}->{b:.2f}" for name, a, b in r.missing) or "-"
        near = f"{r.distinct_from[0]} {r.distinct_from[1]:.2f}"
        lines.append(f"{r.emotion:<10} {100 * r.score:>5.0f}%  {near:<16} {lost}")
        if r.saturated:
            lines.append(f"{'':<10} {'':>6}  {'':<16} at the end of their range: {', '.join(r.saturated)}")
    silent = unreachable(rig)
    lines += ["", f"channels that move nothing ({len(silent)} of {len(ARKIT_52)}): {', '.join(silent) or 'none'}"]
    return "\n".join(lines)


def picture(rig: Rig, reaches: list[Reach], theme: str = "human") -> ImageArray:
    """Wanted and shown face of each emotion side by side, with scores. BGR."""
    image = np.full((_HEAD + 2 * _TILE + 34, len(reaches) * _TILE, 3), 245, dtype=np.uint8)
    _write(image, f"{rig.name}: wanted above, shown by {len(rig.names)} actuators below", (12, 34), 0.8)
    for i, r in enumerate(reaches):
        x = i * _TILE
        for row, face in enumerate((r.wanted, r.shown)):
            y = _HEAD + row * _TILE
            image[y : y + _TILE, x : x + _TILE] = draw_face(face, (_TILE, _TILE), theme, mode="light")
        colour = (60, 140, 40) if r.score >= GOOD else (0, 150, 220) if r.score >= FAIR else (50, 50, 210)
        _write(image, f"{r.emotion} {100 * r.score:.0f}%", (x + 12, image.shape[0] - 10), 0.65, colour)
    return image


def _write(
    image: ImageArray, text: str, place: tuple[int, int], size: float, colour: tuple[int, int, int] = (40, 40, 40)
) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
