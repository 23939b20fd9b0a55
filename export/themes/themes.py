"""The three faces: proportions, colours and decoration."""

from __future__ import annotations

from features import (
    Brows,
    Cheeks,
    Eyes,
    Jaw,
    brow_pair,
    cheek_pair,
    creases,
    eye_pair,
    gaze_motion,
    jaw_motion,
    lid_lines,
    lid_motion,
    nose,
)
from human import human
from kit import SIDES, Face, ellipse, gradient, palette
from mouth import Mouth, mouth

SHELL = ("down", (0, "shellLight", 1), (0.5, "shell", 1), (1, "shellDark", 1))
PLATE = ("down", (0, "plate", 1), (0.6, "plate", 1), (1, "plateLow", 1))


def robot() -> Face:
    """Friendly robot: a teal helmet around a warm face, big eyes, coral cheeks."""
    face = Face("robot", "Friendly robot", palette("robot"))
    eyes, brows = Eyes(), Brows(travel=1.08)
    face.line("stem", [(0, -380), (0, -430), (0, -462)])
    face.part("stem", closed=False, stroke="shellDark", width=18)
    face.line("bulb", ellipse(0, -470, 32, 32))
    face.part("bulb", fill=gradient("down", (0, "bulb", 1), (1, "accent", 1)))
    for s, side in SIDES:
        face.line(f"ear{side}", ellipse(s * 405, 0, 62, 112, 12, 3.0))
        face.part(f"ear{side}", fill=gradient("down", (0, "accent", 1), (1, "accentDark", 1)))
    face.line("shell", ellipse(0, 0, 412, 402, 24, 3.0))
    face.part("shell", fill=gradient(*SHELL, over=(-402, 402)))
    face.line("plate", ellipse(0, 14, 356, 352, 24, 3.0))
    face.part("plate", fill=gradient(*PLATE, over=(-338, 366)))
    jaw_motion(face, Jaw(), ["shell", "plate"])
    cheek_pair(face, Cheeks(), eyes)
    creases(face, brows)
    eye_pair(face, eyes)
    brow_pair(face, brows)
    nose(face, 84)
    mouth(face, Mouth(half=108, travel=1.15), lip_lower="lipLow")
    return face


def minimal() -> Face:
    """Minimal eyes: two lights and a line; everything else appears only when it has something to say."""
    face = Face("eyes", "Minimal eyes", palette("eyes"))
    eyes = Eyes(x=178, y=-50, rx=116, up=128, down=124, iris=54, pupil=40, travel=(44, 40), wide=30, slant=1.55)
    brows = Brows(x=178, y=-244, half=92, thick=12, thin=9, arch=14, slope=6, travel=1.0)
    face.line("outline", ellipse(0, 10, 430, 420, 24, 3.2))
    face.part("outline", stroke="line", width=7, opacity=0.5)
    jaw_motion(face, Jaw(puff=40), ["outline"])
    cheek_pair(face, Cheeks(x=300, y=150, rx=84, ry=56, opacity=0.28), eyes)
    creases(face, brows)
    for s, side in SIDES:
        up, low = lid_lines(face, eyes, s, side)
        halo = face.line(f"halo{side}", ellipse(s * eyes.x, eyes.y, 215, 225))
        face.part(halo, fill=gradient("radial", (0, "halo", 0.75), (0.5, "halo", 0.42), (1, "halo", 0)), opacity=0.62)
        face.style(f"eyeBlink{side}", halo, opacity=-0.5)
        face.style(f"eyeWide{side}", halo, opacity=0.38)
        face.style(f"eyeSquint{side}", halo, opacity=-0.15)
        light = face.part(f"light{side}", up, f"-{low}", fill=gradient("down", (0, "eye", 1), (1, "eyeLow", 1)))
        for name, gx, gy, radius, paint in (
            ("iris", 0, 0, eyes.iris, "deep"),
            ("glint", -24, -26, 17, "shine"),
            ("glintB", 22, 24, 8, "shine"),
        ):
            line = face.line(
                f"{name}{side}", ellipse(s * eyes.x + gx, eyes.y + gy, radius, radius * (1.12 if name == "iris" else 1))
            )
            face.part(line, fill=paint, clip=light)
            gaze_motion(face, eyes, s, side, [line])
        gaze_motion(face, eyes, s, side, [up, low, halo], 0.45)
        face.part(f"edge{side}", up, closed=False, stroke="eye", width=9)
        lid_motion(face, eyes, s, side)
    brow_pair(face, brows)
    nose(face, 128, width=20, height=11)
    mouth(face, Mouth(y=252, half=92, upper=6, lower=7, curve=12, jaw=112, travel=1.1, chin=84))
    return face


THEMES = {"robot": robot, "eyes": minimal, "human": human}
