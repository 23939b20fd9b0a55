"""Eyes, brows, cheeks, nose and jaw: how each ARKit channel moves them, for any theme's proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from kit import SIDES, Face, ellipse, gradient, smoothstep

N = 9  # points of a lid


@dataclass(frozen=True)
class Eyes:
    """Proportions of a pair of eyes, in design units."""

    x: float = 150
    y: float = -42
    rx: float = 92
    up: float = 100  # height of the upper lid above the eye's middle
    down: float = 96
    roundness: float = 0.5  # 0.5 round, 0.8 almond
    tilt: float = 0.0  # outer corner higher by this much
    iris: float = 60
    pupil: float = 31
    travel: tuple[float, float] = (36, 34)  # of the iris at full look
    wide: float = 24
    lash: float = 13
    slant: float = 1.0  # how much brows tilt the lids
    sharp_corners: bool = False


def lid_lines(face: Face, e: Eyes, s: float, side: str) -> tuple[str, str]:
    """Upper and lower lid contour, from the inner to the outer corner."""
    t = np.sin(np.linspace(-np.pi / 2, np.pi / 2, N))
    profile = np.clip(1 - t * t, 0, 1) ** e.roundness
    x = s * (e.x + e.rx * t)
    skew = -e.tilt * t
    face.line(f"lidUp{side}", zip(x, e.y + skew - e.up * profile, strict=True))
    face.line(f"lidLow{side}", zip(x, e.y + skew + e.down * profile, strict=True))
    face.keep_above(f"lidUp{side}", f"lidLow{side}")
    return f"lidUp{side}", f"lidLow{side}"


def lid_motion(face: Face, e: Eyes, s: float, side: str, extra: tuple[str, ...] = ()) -> None:
    """Blink, squint, wide, cheek raise and the lids' share of gaze. ``extra`` lines follow the upper lid in part."""
    up, low = f"lidUp{side}", f"lidLow{side}"
    t = np.sin(np.linspace(-np.pi / 2, np.pi / 2, N))
    profile = np.clip(1 - t * t, 0, 1) ** e.roundness
    shut = 0.5 * e.down * profile  # where the lids meet, below the eye's middle

    def dy(value: np.ndarray | float) -> object:
        return lambda x, y: (0, value)

    face.move(f"eyeBlink{side}", [up], dy(shut + e.up * profile))
    face.move(f"eyeBlink{side}", [low], dy(shut - e.down * profile))
    face.move(f"eyeSquint{side}", [up], dy(0.24 * e.up * profile))
    face.move(f"eyeSquint{side}", [low], dy(-0.42 * e.down * profile))
    face.move(f"cheekSquint{side}", [low], dy(-0.62 * e.down * profile * (0.55 + 0.45 * profile)))
    face.move(f"eyeWide{side}", [up], dy(-e.wide * profile))
    face.move(f"eyeWide{side}", [low], dy(0.42 * e.wide * profile))
    face.move(f"eyeLookDown{side}", [up], dy(0.30 * e.up * profile))
    face.move(f"eyeLookUp{side}", [up], dy(-0.10 * e.up * profile))
    face.move(f"eyeLookUp{side}", [low], dy(-0.06 * e.down * profile))
    # A brow pressed down takes the inner half of the lid along, a raised one lifts it: anger, sorrow.
    inner = smoothstep(-0.4, 0.8, -t) * profile
    outer = smoothstep(-0.4, 0.8, t) * profile
    face.move(f"browDown{side}", [up], dy(e.slant * e.up * (0.34 * inner + 0.10 * profile)))
    face.move("browInnerUp", [up], dy(e.slant * e.up * (0.34 * outer - 0.05 * inner)))
    # A whole brow raised lifts the whole lid: surprise is round, not sad.
    face.move(("browInnerUp", f"browOuterUp{side}"), [up], dy(-e.slant * e.up * (0.44 * outer + 0.06 * profile)))
    face.move(f"noseSneer{side}", [low], dy(-e.down * (0.20 * inner + 0.16 * profile)))
    face.move(f"noseSneer{side}", [up], dy(0.10 * e.up * profile))
    for line in extra:
        face.move(f"eyeBlink{side}", [line], lambda x, y: (0, 0.35 * e.up))
        face.move(f"eyeLookDown{side}", [line], lambda x, y: (0, 0.10 * e.up))
        face.move(f"eyeWide{side}", [line], lambda x, y: (0, -0.6 * e.wide))
        face.move(f"browDown{side}", [line], lambda x, y: (0, 0.22 * e.up))


def gaze_motion(face: Face, e: Eyes, s: float, side: str, lines: list[str], share: float = 1.0) -> None:
    """Iris, pupil and highlights look where the four look channels point."""
    tx, ty = e.travel[0] * share, e.travel[1] * share
    for name, dx, dy in (("In", -s * tx, 0.0), ("Out", s * tx, 0.0), ("Up", 0.0, -ty), ("Down", 0.0, ty)):
        face.move(f"eyeLook{name}{side}", lines, lambda x, y, d=(dx, dy): d)


def eye_pair(face: Face, e: Eyes, *, socket: bool = True) -> None:
    """Draw both eyes: lid skin, white, iris, pupil, highlights, lash line."""
    for s, side in SIDES:
        cx = s * e.x
        up, low = lid_lines(face, e, s, side)
        if socket:
            face.line(f"socket{side}", ellipse(cx, e.y - 3, e.rx + 15, (e.up + e.down) / 2 + 17, 10, 2.2))
            face.part(f"socket{side}", fill="lid")
            face.move(f"eyeWide{side}", [f"socket{side}"], lambda x, y: (0, np.where(y < e.y, -0.8 * e.wide, 4)))
            face.move(f"cheekSquint{side}", [f"socket{side}"], lambda x, y: (0, np.where(y > e.y, -12, 0)))
        ends = (0, N - 1) if e.sharp_corners else ()
        white = face.part(
            f"white{side}",
            up,
            f"-{low}",
            corners=ends,
            fill=gradient("down", (0, "whiteShade", 1), (0.35, "white", 1), (1, "white", 1)),
        )
        round_parts = (
            (
                "iris",
                0.0,
                0.0,
                e.iris,
                gradient("down", (0, "irisDark", 1), (0.55, "iris", 1), (1, "irisLight", 1)),
                1.0,
            ),
            ("pupil", 0.0, 0.0, e.pupil, "pupil", 1.0),
            ("glintA", -0.34, -0.40, e.iris * 0.27, "glint", 1.06),
            ("glintB", 0.36, 0.38, e.iris * 0.14, "glint", 1.06),
        )
        for name, gx, gy, radius, fill, share in round_parts:
            line = face.line(f"{name}{side}", ellipse(cx + gx * e.iris, e.y + gy * e.iris, radius, radius))
            ring = {"stroke": "irisRing", "width": max(4, e.iris * 0.10)} if name == "iris" else {}
            face.part(line, fill=fill, clip=white, **ring)
            gaze_motion(face, e, s, side, [line], share)
        face.move(f"eyeWide{side}", [f"pupil{side}"], lambda x, y, c=cx: (-0.16 * (x - c), -0.16 * (y - e.y)))
        face.part(f"lashLow{side}", low, closed=False, stroke="lashSoft", width=max(3, e.lash * 0.4), opacity=0.55)
        face.part(f"lash{side}", up, closed=False, stroke="ink", width=e.lash)
        lid_motion(face, e, s, side)


@dataclass(frozen=True)
class Brows:
    """Proportions of a pair of brows."""

    x: float = 152
    y: float = -200
    half: float = 96
    thick: float = 15  # half thickness at the inner end
    thin: float = 8  # half thickness at the outer end
    arch: float = 18
    slope: float = 4  # outer end lower by this much
    travel: float = 1.0  # of the morphs


def brow_pair(face: Face, b: Brows, fill: str = "brow") -> None:
    """Two tapered brows; the inner end carries sorrow and anger, the outer end surprise."""
    t = np.linspace(-1, 1, 6)  # inner to outer
    half = b.thick + (b.thin - b.thick) * smoothstep(-0.6, 1.0, t)
    half[0] *= 0.8
    k = b.travel
    for s, side in SIDES:
        x = s * (b.x + b.half * t)
        mid = b.y - b.arch * (1 - t * t) + b.slope * t
        up = face.line(f"browUp{side}", zip(x, mid - half, strict=True))
        low = face.line(f"browLow{side}", zip(x, mid + half, strict=True))
        face.part(f"brow{side}", up, f"-{low}", fill=fill)
        lines = [up, low]

        def u(x: np.ndarray, s: float = s) -> np.ndarray:
            return (s * x - b.x) / b.half  # -1 inner .. 1 outer

        face.move(
            "browInnerUp",
            lines,
            lambda x, y, s=s, u=u: (
                -s * 6 * k,
                k * (-80 * smoothstep(0.9, -1, u(x)) + 9 * smoothstep(0.2, 1, u(x)) - 4),
            ),
        )
        face.move(
            f"browOuterUp{side}",
            lines,
            lambda x, y, s=s, u=u: (0, -54 * k * smoothstep(-1.1, 0.3, u(x)) + 6 * k * smoothstep(0.3, 1, u(x))),
        )
        # Both ends raised make a high round arch, not a hook at the inner end; unless the brow is knit, in fear.
        both = ("browInnerUp", f"browOuterUp{side}")
        for channels, share in ((both, 1.0), ((*both, f"browDown{side}"), -2.0)):
            face.move(
                channels,
                lines,
                lambda x, y, u=u, share=share: (
                    0,
                    share * k * (26 * smoothstep(0.3, -1.4, u(x)) - 8 * smoothstep(-0.2, 1, u(x))),
                ),
            )
        face.move(
            f"browDown{side}",
            lines,
            lambda x, y, s=s, u=u: (-s * 20 * k * smoothstep(1, -1, u(x)), k * (62 * smoothstep(0.9, -1, u(x)) + 10)),
        )
        face.move(f"noseSneer{side}", lines, lambda x, y, s=s, u=u: (0, 16 * k * smoothstep(0.4, -1, u(x))))
        face.move(f"eyeWide{side}", lines, lambda x, y: (0, -8 * k))
        face.move(f"eyeBlink{side}", lines, lambda x, y: (0, 5 * k))


def creases(face: Face, b: Brows, *, colour: str = "crease", width: float = 6) -> None:
    """Lines that only show while a muscle works: forehead, between the brows."""
    y = b.y - b.arch - 42
    face.line("forehead", [(x, y - 8 * (1 - (x / 110) ** 2)) for x in (-110, -55, 0, 55, 110)])
    face.part("forehead", closed=False, stroke=colour, width=width, opacity=0)
    face.style("browInnerUp", "forehead", opacity=0.75)
    face.move("browInnerUp", ["forehead"], lambda x, y: (0, -34))
    for s, side in SIDES:
        face.style(f"browOuterUp{side}", "forehead", opacity=0.35)
        face.line(f"frown{side}", [(s * 15, b.y - 20), (s * 20, b.y + 10), (s * 15, b.y + 42)])
        face.part(f"frown{side}", closed=False, stroke=colour, width=width, opacity=0)
        face.style(f"browDown{side}", f"frown{side}", opacity=0.9)
        face.move(f"browDown{side}", [f"frown{side}"], lambda x, y: (0, 22))


@dataclass(frozen=True)
class Cheeks:
    """Blush and bulge of the cheeks."""

    x: float = 238
    y: float = 108
    rx: float = 78
    ry: float = 52
    opacity: float = 0.55


def cheek_pair(face: Face, c: Cheeks, e: Eyes, *, colour: str = "crease", width: float = 6) -> None:
    """Blush that lifts with a smile, a fold under the eye when the cheek rises, a bulge when it is puffed."""
    for s, side in SIDES:
        cx = s * c.x
        puff = face.line(f"puff{side}", ellipse(cx - s * 22, c.y + 62, 74, 70))
        face.part(puff, fill=gradient("radial", (0, "glow", 0.95), (0.55, "glow", 0.35), (1, "glow", 0)), opacity=0)
        blush = face.line(f"blush{side}", ellipse(cx, c.y, c.rx, c.ry))
        face.part(
            blush,
            fill=gradient("radial", (0, "blush", 0.95), (0.45, "blush", 0.6), (0.8, "blush", 0.12), (1, "blush", 0)),
            opacity=c.opacity,
        )
        fold_y = e.y + e.down + 14
        fold = face.line(
            f"fold{side}", [(s * (e.x + dx), fold_y + 16 - 16 * (1 - (dx / 66) ** 2)) for dx in (-66, -34, 0, 34, 66)]
        )
        face.part(fold, closed=False, stroke=colour, width=width, opacity=0)
        rim = face.line(
            f"rim{side}",
            [(s * (c.x + 6 + dx), c.y + 62 + 62 * np.sqrt(1 - (dx / 66) ** 2)) for dx in (-60, -36, 0, 36, 60)],
        )
        face.part(rim, closed=False, stroke=colour, width=width, opacity=0)
        lines = [blush, puff]
        face.move(f"cheekSquint{side}", [*lines, fold], lambda x, y: (0, -22))
        face.style(f"cheekSquint{side}", fold, opacity=0.8)
        face.style(f"cheekSquint{side}", blush, opacity=0.30)
        face.move(f"mouthSmile{side}", lines, lambda x, y, s=s: (s * 8, -20))
        face.style(f"mouthSmile{side}", blush, opacity=0.22)
        face.move(f"mouthFrown{side}", lines, lambda x, y: (0, 10))
        face.style("cheekPuff", puff, opacity=1)
        face.style("cheekPuff", rim, opacity=0.7)
        face.style("cheekPuff", blush, opacity=0.3)
        face.move("cheekPuff", lines, lambda x, y, c0=cx, s=s: (0.24 * (x - c0) + s * 12, 0.24 * (y - c.y) + 8))
        face.move("jawOpen", [puff], lambda x, y: (0, 16))


@dataclass(frozen=True)
class Jaw:
    """How far the lower face follows the jaw, in design units; ``top`` is where it starts to move."""

    top: float = 60
    bottom: float = 400
    drop: float = 52
    shift: float = 42
    forward: float = 20
    puff: float = 34
    puff_y: float = 150


def jaw_motion(face: Face, j: Jaw, lines: list[str]) -> None:
    """Outline of the lower face."""

    def w(y: np.ndarray) -> np.ndarray:
        return smoothstep(j.top, j.bottom, y)

    face.move("jawOpen", lines, lambda x, y: (-0.02 * x * w(y), j.drop * w(y)))
    face.move("jawLeft", lines, lambda x, y: (j.shift * w(y), 0))
    face.move("jawRight", lines, lambda x, y: (-j.shift * w(y), 0))
    face.move("jawForward", lines, lambda x, y: (0.07 * x * w(y), j.forward * w(y)))
    face.move(
        "cheekPuff",
        lines,
        lambda x, y: (np.sign(x) * (np.abs(x) > 60) * j.puff * np.exp(-(((y - j.puff_y) / 130) ** 2)), 0),
    )
    for s, side in SIDES:
        face.move(
            f"mouthSmile{side}",
            lines,
            lambda x, y, s=s: (s * 9 * (s * x > 60) * np.exp(-(((y - j.puff_y + 40) / 110) ** 2)), 0),
        )


def nose(
    face: Face,
    y: float,
    *,
    width: float = 34,
    height: float = 24,
    fill: str = "nose",
    colour: str = "crease",
    line: float = 6,
) -> None:
    """A soft nose whose wings lift, with wrinkles beside the bridge when it sneers."""
    tip = face.line("nose", ellipse(0, y, width, height, 10, 2.3))
    face.part(tip, fill=fill)
    for s, side in SIDES:
        face.move(
            f"noseSneer{side}", [tip], lambda x, yy, s=s: (s * 5 * (s * x > 4), -15 * smoothstep(-10, 30, s * x) - 3)
        )
        for n, (dx, dy) in enumerate(((0, 0), (9, 24))):
            wrinkle = face.line(
                f"wrinkle{n}{side}",
                [(s * (24 + dx), y - 78 + dy), (s * (40 + dx), y - 64 + dy), (s * (50 + dx), y - 46 + dy)],
            )
            face.part(wrinkle, closed=False, stroke=colour, width=line, opacity=0)
            face.style(f"noseSneer{side}", wrinkle, opacity=0.9)
        face.move(f"mouthUpperUp{side}", [tip], lambda x, yy, s=s: (0, -5 * smoothstep(-10, 30, s * x)))
    face.move("mouthFunnel", [tip], lambda x, yy: (-0.06 * x, -2))
