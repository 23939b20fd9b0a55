"""The mouth: four lip contours, teeth and tongue, and the 27 channels that move them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from kit import SIDES, Face, gradient, smoothstep

T = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 11))  # -1 the face's right corner .. +1 its left
B = 1 - T * T  # 1 in the middle, 0 at the corners
E = np.abs(T)
ROWS = ("lipUpOut", "lipUpIn", "lipLowIn", "lipLowOut")


@dataclass(frozen=True)
class Mouth:
    """Proportions of a mouth, in design units."""

    y: float = 206
    half: float = 104
    upper: float = 9  # lip thickness
    lower: float = 11
    bow: float = 0.0  # depth of the cupid's bow, share of the upper lip
    curve: float = 12  # resting smile
    jaw: float = 118  # how far the lower lip drops
    travel: float = 1.0
    chin: float = 92  # chin crease, below the mouth


def _side(s: float) -> np.ndarray:
    """Share of a one-sided channel along the mouth; the two sides add up to one."""
    return smoothstep(-0.55, 0.55, s * T)


def _profile(m: Mouth) -> dict[str, np.ndarray]:
    mid = m.y - m.curve * T * T
    full = B**0.55
    bow = 1 - m.bow * np.exp(-((T / 0.16) ** 2)) + 0.25 * m.bow * np.exp(-(((E - 0.3) / 0.2) ** 2))
    return {
        "lipUpOut": mid - m.upper * full * bow,
        "lipUpIn": mid.copy(),
        "lipLowIn": mid.copy(),
        "lipLowOut": mid + m.lower * full,
    }


def mouth(face: Face, m: Mouth, *, lip_upper: str = "lip", lip_lower: str = "lip", outline: float = 0.0) -> None:
    """Draw the mouth and connect its channels."""
    for row, y in _profile(m).items():
        face.line(row, zip(m.half * T, y, strict=True))
    teeth_and_tongue_lines(face, m)
    ends = (0, len(T) - 1)
    face.part("gap", "lipUpIn", "-lipLowIn", corners=ends, fill="mouth")
    face.part("teethLow", "teethLowTop", "-teethLowRoot", fill="teethShade", clip="gap")
    face.part("tongue", fill=gradient("down", (0, "tongueLight", 1), (1, "tongue", 1)), clip="gap")
    face.part("teethUp", "teethUpRoot", "-teethUpEdge", fill="teeth", clip="gap")
    edge = {"stroke": "lip", "width": outline} if outline else {}
    face.part("lipLow", "lipLowIn", "-lipLowOut", corners=ends, fill=lip_lower, **edge)
    face.part("tongueOut", fill=gradient("down", (0, "tongue", 1), (1, "tongueLight", 1)), opacity=0)
    face.part("tongueLine", closed=False, stroke="tongueLine", width=6, opacity=0)
    face.part("lipUp", "lipUpOut", "-lipUpIn", corners=ends, fill=lip_upper, **edge)
    for upper, lower in pairwise(ROWS):
        face.keep_above(upper, lower)
    _expressive(face, m)
    _lips(face, m)
    _jaw(face, m)
    _creases(face, m)


def teeth_and_tongue_lines(face: Face, m: Mouth) -> None:
    """Teeth are fixed to skull and jaw, so that lips uncover them."""
    t = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 7))
    x, mid = 0.9 * m.half * t, m.y - m.curve * (0.9 * t) ** 2
    b = np.clip(1 - t * t, 0, 1) ** 0.4
    face.line("teethUpRoot", zip(x, mid - 44, strict=True))
    face.line("teethUpEdge", zip(x, mid + 1 + 7 * b, strict=True))
    face.line("teethLowTop", zip(0.82 * x, mid - 2 - 10 * b, strict=True))
    face.line("teethLowRoot", zip(0.82 * x, mid + 46, strict=True))
    a = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    face.line("tongue", zip(0.58 * m.half * np.cos(a), m.y + 42 + 38 * np.sin(a), strict=True))
    w = 0.36 * m.half
    # Its root stays behind the upper lip; the rest slides out by how far down the tongue it lies.
    side = ((1.0, 0.0), (1.04, 0.35), (0.96, 0.66), (0.62, 0.91))
    right = [(w * u, m.y - 6 + 12 * v) for u, v in side]
    face.line("tongueOut", [*right, (0, m.y + 6), *((-x, y) for x, y in reversed(right))])
    face.line("tongueLine", [(0, m.y - 3), (0, m.y), (0, m.y + 3)])


def rows(face: Face, channel: str | tuple[str, ...], dx: object, **dy: object) -> None:
    """Move the four contours: ``dx`` for all, ``dy`` for ``all``, ``up`` (both upper), ``low`` or a row by its name."""
    for row in ROWS:
        part = "up" if row.startswith("lipUp") else "low"
        value = sum((np.asarray(dy[k], float) for k in ("all", part, row) if k in dy), np.zeros(len(T)))
        face.move(channel, [row], lambda x, y, v=value: (dx, v))


def _follow(
    face: Face, channel: str, lines: tuple[str, ...], half: float, field: Callable[[np.ndarray], tuple[object, object]]
) -> None:
    """Teeth follow a lip motion given as a function of t."""
    face.move(channel, lines, lambda x, y: field(np.clip(x / half, -1, 1)))


TEETH = ("teethUpRoot", "teethUpEdge", "teethLowTop", "teethLowRoot")


def _expressive(face: Face, m: Mouth) -> None:
    """Smile, frown, stretch, dimple: the corners."""
    k = m.travel
    for s, side in SIDES:
        w = _side(s)
        rows(face, f"mouthSmile{side}", w * s * 50 * k * E**1.4, all=w * k * (-66 * E**2.1 + 14 * B))
        rows(face, f"mouthFrown{side}", w * s * -6 * k * E, all=w * k * (58 * E**2 - 20 * B))
        rows(
            face,
            f"mouthStretch{side}",
            w * s * 50 * k * E,
            all=w * (m.curve + 12 * k) * E**2,
            lipUpOut=w * 4 * B,
            lipLowOut=w * -2 * B,
            low=w * 8 * B,
        )
        rows(face, f"mouthDimple{side}", w * s * 26 * k * E**2, all=w * k * -10 * E**2)

        def share(t: np.ndarray, s: float = s) -> np.ndarray:
            return smoothstep(-0.55, 0.55, s * t)

        _follow(
            face,
            f"mouthSmile{side}",
            TEETH,
            m.half,
            lambda t, s=s, h=share: (
                h(t) * s * 40 * k * np.abs(t),
                h(t) * k * (-58 * np.abs(t) ** 2.1 + 20 * (1 - t * t)),
            ),
        )
        _follow(
            face,
            f"mouthFrown{side}",
            TEETH,
            m.half,
            lambda t, s=s, h=share: (0, h(t) * k * (40 * t * t - 18 * (1 - t * t))),
        )
        _follow(
            face,
            f"mouthStretch{side}",
            TEETH,
            m.half,
            lambda t, s=s, h=share: (h(t) * s * 42 * k * np.abs(t), h(t) * (m.curve + 8) * t * t),
        )
        everything = [*ROWS, *TEETH, "tongue", "tongueOut", "tongueLine"]
        face.move(f"mouth{side}", everything, lambda x, y, s=s: (s * 52 * k, -10 * k * smoothstep(-20, m.half, s * x)))


def _lips(face: Face, m: Mouth) -> None:
    """Roll, shrug, press, raise, lower, pucker, funnel: the lips themselves."""
    k, full = m.travel, B**0.55
    thin_u, thin_l = m.upper * full, m.lower * full
    rows(face, "mouthRollUpper", 0, lipUpOut=0.85 * thin_u + 5 * full, lipUpIn=7 * full)
    rows(face, "mouthRollLower", 0, lipLowOut=-0.85 * thin_l - 5 * full, lipLowIn=-7 * full)
    rows(face, "mouthShrugUpper", 0, up=-20 * k * B, low=-14 * k * B, lipUpOut=-4 * B)
    rows(face, "mouthShrugLower", 0, low=-18 * k * B, up=-13 * k * B, lipLowOut=8 * B)
    for s, side in SIDES:
        w = _side(s)
        rows(
            face,
            f"mouthPress{side}",
            w * s * 10 * E,
            all=w * (1.4 * m.curve * E**2 - 4 * k * B),  # a resting smile does not survive pressed lips
            lipUpOut=w * 0.62 * thin_u,
            lipLowOut=-w * 0.62 * thin_l,
        )
        bump = w * np.clip(1 - E**4, 0, 1)
        rows(face, f"mouthUpperUp{side}", 0, up=-36 * k * bump, lipUpOut=-3 * bump)
        # Pressed lips stay shut, however the muscles around them pull.
        rows(face, (f"mouthPress{side}", f"mouthUpperUp{side}"), 0, up=34 * k * bump)
        rows(face, (f"mouthPress{side}", f"mouthLowerDown{side}"), 0, low=-34 * k * bump)
        rows(face, f"mouthLowerDown{side}", 0, low=36 * k * bump, lipLowOut=3 * bump)
        rows(face, f"noseSneer{side}", 0, up=-13 * k * w * B**0.7, low=-5 * k * w * B)
    rows(
        face,
        "mouthPucker",
        -0.56 * m.half * T,
        all=m.curve * 0.8 * E**2,
        lipUpOut=-15 * k * full,
        lipLowOut=17 * k * full,
    )
    rows(
        face,
        "mouthFunnel",
        -0.46 * m.half * T,
        lipUpIn=-16 * k * full,
        lipLowIn=22 * k * full,
        lipUpOut=-30 * k * full,
        lipLowOut=38 * k * full,
        all=m.curve * E**2,
    )
    for channel, share in (("mouthPucker", 0.5), ("mouthFunnel", 0.42)):
        face.move(channel, TEETH, lambda x, y, q=share: (-q * x, 0))
        face.move(channel, ["tongue"], lambda x, y, q=share: (-q * x, 0))
    rows(face, "mouthClose", 0, up=5 * B, low=-7 * B, lipUpOut=3 * B)


def _jaw(face: Face, m: Mouth) -> None:
    """The jaw carries lower lip, lower teeth and tongue; ``mouthClose`` brings the lips together again."""
    corner = 0.33  # share of the drop that reaches the corners, which also draw in: an open mouth is tall
    drop = m.jaw * (B**0.6 * (1 - corner) + corner)
    lift = corner * m.jaw * E**2 - 12 * B
    rows(face, "jawOpen", -0.36 * m.half * T, low=drop, up=lift)
    for rounded in ("mouthFunnel", "mouthPucker"):  # both draw the corners in: together no further than a round O
        rows(face, ("jawOpen", rounded), 0.34 * m.half * T)
    face.move("jawOpen", ["teethLowTop", "teethLowRoot"], lambda x, y: (-0.1 * x, 0.94 * m.jaw))
    face.move("jawOpen", ["tongue"], lambda x, y: (0, 0.86 * m.jaw))
    face.move("jawOpen", ["tongueOut", "tongueLine"], lambda x, y: (0, 0.62 * m.jaw))
    rows(face, ("jawOpen", "mouthClose"), 0, low=-drop + 0.26 * m.jaw * B + lift, up=0.26 * m.jaw * B)
    for s, side in SIDES:
        up = _side(s) * -0.8 * corner * m.jaw * E**2
        rows(face, ("jawOpen", f"mouthSmile{side}"), _side(s) * 0.3 * m.half * T, all=up)
        rows(face, f"jaw{side}", s * 14 * B, low=0)
        face.move(
            f"jaw{side}",
            ["lipLowIn", "lipLowOut", "teethLowTop", "teethLowRoot", "tongue", "tongueOut", "tongueLine"],
            lambda x, y, s=s: (s * 26, 0),
        )
    rows(face, "jawForward", 0, low=-5 * B, lipLowOut=13 * B**0.55)
    rows(face, "cheekPuff", -0.14 * m.half * T, lipUpOut=-3 * B, lipLowOut=3 * B)
    face.move("tongueOut", ["tongueOut", "tongueLine"], lambda x, y: (0.06 * x, 92 * (y - m.y + 6) / 12))
    face.style("tongueOut", "tongueOut", opacity=6)
    face.style("tongueOut", "tongueLine", opacity=0.9)
    rows(face, "tongueOut", 0, low=11 * B, up=-5 * B)


def _creases(face: Face, m: Mouth) -> None:
    """Folds that show only while a muscle works, and the chin."""
    chin = face.line("chin", [(x, m.y + m.chin + 13 * (1 - (x / 46) ** 2)) for x in (-46, -24, 0, 24, 46)])
    face.part(chin, closed=False, stroke="crease", width=7, opacity=0.35)
    face.move("jawOpen", [chin], lambda x, y: (0, 0.52 * m.jaw))
    face.move("mouthShrugLower", [chin], lambda x, y: (0.1 * x, -22 + 0.012 * x * x))
    face.style("mouthShrugLower", chin, opacity=0.6, width=2)
    face.move("jawForward", [chin], lambda x, y: (0.45 * x, 8))
    face.style("jawForward", chin, opacity=0.65, width=4)
    face.move("mouthRollLower", [chin], lambda x, y: (0, -6))
    for s, side in SIDES:
        face.move(f"jaw{side}", [chin], lambda x, y, s=s: (s * 40, 0))
        corner = m.half + 22
        dimple = face.line(
            f"dimple{side}", [(s * (corner - 4), m.y - 40), (s * (corner + 10), m.y - 14), (s * (corner - 4), m.y + 14)]
        )
        face.part(dimple, closed=False, stroke="crease", width=7, opacity=0)
        face.move(f"mouthSmile{side}", [dimple], lambda x, y, s=s: (s * 50 * m.travel, -58 * m.travel))
        face.move(f"mouthStretch{side}", [dimple], lambda x, y, s=s: (s * 46 * m.travel, 8))
        face.move(f"mouthDimple{side}", [dimple], lambda x, y, s=s: (s * 20, -8))
        face.move(f"mouthFrown{side}", [dimple], lambda x, y, s=s: (0, 34))
        face.move(f"mouthPress{side}", [dimple], lambda x, y, s=s: (s * 8, 0))
        face.move(f"mouth{side}", [dimple], lambda x, y, s=s: (s * 52, -8))
        face.style(f"mouthDimple{side}", dimple, opacity=0.95)
        face.style(f"mouthSmile{side}", dimple, opacity=0.55)
        face.style(f"mouthPress{side}", dimple, opacity=0.75)
        face.style(f"mouthStretch{side}", dimple, opacity=0.4)
        face.style(f"mouthFrown{side}", dimple, opacity=0.25)
