"""The human-like face: a drawn person with the same anatomy."""

from __future__ import annotations

from features import Brows, Cheeks, Eyes, Jaw, brow_pair, cheek_pair, creases, eye_pair, jaw_motion
from kit import SIDES, Face, ellipse, gradient, palette, smoothstep
from mouth import Mouth, mouth


def both_sides(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Close a right-hand contour that starts and ends on the middle line."""
    return points + [(-x, y) for x, y in reversed(points[1:-1])]


def human_nose(face: Face, y: float) -> None:
    """Bridge, tip, wings and nostrils."""
    shade = face.line(
        "bridge", both_sides([(0, y - 128), (16, y - 90), (22, y - 40), (46, y - 2), (30, y + 20), (0, y + 26)])
    )
    face.part(shade, fill=gradient("down", (0, "nose", 0), (0.55, "nose", 0.55), (1, "nose", 1)))
    tip = face.line("noseTip", [(-24, y + 20), (-12, y + 27), (0, y + 30), (12, y + 27), (24, y + 20)])
    face.part(tip, closed=False, stroke="crease", width=6, opacity=0.75)
    for s, side in SIDES:
        nostril = face.line(f"nostril{side}", ellipse(s * 20, y + 20, 9, 5))
        face.part(nostril, fill="crease")
        wing = face.line(f"wing{side}", [(s * 38, y - 18), (s * 49, y - 2), (s * 45, y + 16), (s * 33, y + 21)])
        face.part(wing, closed=False, stroke="crease", width=6, opacity=0.75)
        face.move(f"noseSneer{side}", [wing, nostril], lambda x, yy, s=s: (s * 7, -17))
        face.move(f"noseSneer{side}", [shade, tip], lambda x, yy, s=s: (0, -9 * smoothstep(-8, 30, s * x)))
        face.move(f"mouthUpperUp{side}", [wing], lambda x, yy, s=s: (s * 2, -5))
        face.move(f"mouthSmile{side}", [wing], lambda x, yy, s=s: (s * 5, -2))
        for n, (dx, dy) in enumerate(((0, 0), (7, 22))):
            line = face.line(
                f"wrinkle{n}{side}",
                [(s * (17 + dx), y - 108 + dy), (s * (31 + dx), y - 96 + dy), (s * (40 + dx), y - 80 + dy)],
            )
            face.part(line, closed=False, stroke="crease", width=5, opacity=0)
            face.style(f"noseSneer{side}", line, opacity=0.9)
        fold = face.line(
            f"nasolabial{side}", [(s * 60, y + 2), (s * 86, y + 34), (s * 108, y + 76), (s * 112, y + 112)]
        )
        face.part(fold, closed=False, stroke="crease", width=6, opacity=0.10)
        for channel, alpha, dx, dy in (
            ("mouthSmile", 0.6, 22, -20),
            ("noseSneer", 0.65, 2, -14),
            ("mouthUpperUp", 0.4, 4, -8),
            ("cheekSquint", 0.25, 6, -8),
            ("mouthStretch", 0.3, 18, 4),
        ):
            face.style(f"{channel}{side}", fold, opacity=alpha)
            face.move(f"{channel}{side}", [fold], lambda x, yy, d=(s * dx, dy): d)
    face.move("mouthFunnel", [shade, tip], lambda x, yy: (-0.08 * x, 3))


def human_lids(face: Face, e: Eyes) -> None:
    """The fold above each upper lid."""
    for s, side in SIDES:
        line = face.line(
            f"lidFold{side}",
            [
                (s * (e.x + e.rx * t), e.y - 0.7 * e.tilt * t - (e.up + 13) * (1 - 0.72 * t * t))
                for t in (-0.85, -0.45, 0, 0.45, 0.95)
            ],
        )
        face.part(line, closed=False, stroke="crease", width=5, opacity=0.55)
        face.move(f"eyeBlink{side}", [line], lambda x, y: (0, 0.45 * e.up))
        face.move(f"eyeLookDown{side}", [line], lambda x, y: (0, 0.12 * e.up))
        face.move(f"eyeLookUp{side}", [line], lambda x, y: (0, -0.06 * e.up))
        face.move(f"eyeWide{side}", [line], lambda x, y: (0, -0.75 * e.wide))
        face.move(f"eyeSquint{side}", [line], lambda x, y: (0, 0.15 * e.up))
        face.move(
            f"browDown{side}", [line], lambda x, y, s=s: (0, e.up * (0.12 + 0.3 * smoothstep(30, -60, s * x - e.x)))
        )
        face.move("browInnerUp", [line], lambda x, y, s=s: (0, e.up * (-0.14 + 0.3 * smoothstep(-40, 60, s * x - e.x))))


def human_head(face: Face, jaw: Jaw) -> None:
    """Hair behind, shoulders, neck, ears, head."""
    face.line(
        "hairBack",
        both_sides(
            [(0, -470), (150, -458), (280, -385), (345, -250), (356, -80), (340, 80), (305, 165), (250, 190), (0, 200)]
        ),
    )
    face.part("hairBack", fill="hair")
    face.line("shirt", both_sides([(0, 452), (90, 448), (190, 470), (310, 505), (370, 640), (0, 640)]))
    face.part("shirt", fill=gradient("down", (0, "shirt", 1), (1, "shirtDark", 1)))
    face.line("neck", both_sides([(0, 250), (118, 250), (112, 380), (120, 452), (60, 486), (0, 494)]))
    face.part("neck", fill=gradient("down", (0, "neck", 1), (0.55, "neck", 1), (1, "skinLow", 1)))
    for s, side in SIDES:
        face.line(
            f"ear{side}", [(s * 285, -60), (s * 325, -72), (s * 342, -30), (s * 330, 30), (s * 306, 70), (s * 282, 60)]
        )
        face.part(f"ear{side}", fill="ear")
        face.line(f"earIn{side}", [(s * 304, -34), (s * 322, -36), (s * 326, -8), (s * 310, 28)])
        face.part(f"earIn{side}", closed=False, stroke="earIn", width=7, opacity=0.7)
    face.line(
        "head",
        both_sides(
            [
                (0, -400),
                (140, -384),
                (242, -312),
                (290, -190),
                (300, -50),
                (292, 80),
                (266, 205),
                (208, 312),
                (116, 386),
                (48, 408),
                (0, 411),
            ]
        ),
    )
    face.part("head", fill=gradient("down", (0, "skinTop", 1), (0.5, "skin", 1), (1, "skinLow", 1), over=(-400, 411)))
    jaw_motion(face, jaw, ["head"])


def human_hair(face: Face) -> None:
    """A side-parted fringe in front, with two strands of light."""
    outline = [
        (-318, -60),
        (-338, -210),
        (-296, -352),
        (-200, -448),
        (-50, -486),
        (110, -474),
        (240, -416),
        (322, -300),
        (336, -170),
        (316, -50),
        (296, -120),
        (282, -210),
        (240, -282),
        (150, -318),
        (40, -332),
        (-60, -330),
        (-120, -322),
        (-200, -268),
        (-262, -190),
        (-292, -110),
    ]
    face.line("hair", outline)
    face.part("hair", fill=gradient("down", (0, "hairLight", 1), (0.45, "hair", 1), (1, "hair", 1)))
    for n, points in enumerate(
        ([(-90, -340), (-20, -400), (90, -424), (200, -392)], [(-120, -330), (-200, -352), (-262, -300), (-290, -220)])
    ):
        face.line(f"strand{n}", points)
        face.part(f"strand{n}", closed=False, stroke="hairLight", width=11, opacity=0.8)


def human() -> Face:
    """Human-like: a drawn person with the same anatomy."""
    face = Face("human", "Human-like", palette("human"))
    eyes = Eyes(
        x=126,
        y=-42,
        rx=66,
        up=38,
        down=30,
        roundness=0.72,
        tilt=4,
        iris=33,
        pupil=15,
        travel=(25, 17),
        wide=18,
        lash=10,
        sharp_corners=True,
        slant=1.1,
    )
    brows = Brows(x=128, y=-134, half=84, thick=13, thin=5, arch=15, slope=0, travel=0.88)
    jaw = Jaw(top=90, bottom=410, drop=58, shift=36, forward=16, puff=30, puff_y=200)
    human_head(face, jaw)
    cheek_pair(face, Cheeks(x=196, y=112, rx=76, ry=56, opacity=0.34), eyes, width=5)
    creases(face, Brows(x=128, y=-134, half=84, arch=15), width=5)
    human_lids(face, eyes)
    eye_pair(face, eyes, socket=False)
    brow_pair(face, brows)
    human_nose(face, 116)
    mouth(
        face,
        Mouth(y=242, half=92, upper=16, lower=21, bow=0.36, curve=7, jaw=98, travel=0.98, chin=84),
        lip_lower="lipLow",
    )
    human_hair(face)
    return face
