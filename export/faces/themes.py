"""The three faces: proportions, colours and decoration."""

from __future__ import annotations

from features import Brows, Cheeks, Eyes, Jaw, brow_pair, cheek_pair, creases, eye_pair, jaw_motion, nose
from kit import SIDES, Face, ellipse, gradient
from mouth import Mouth, mouth

VIEW = (-500, -520, 1000, 1040)

ROBOT = {
    "light": {
        "background": "#e9eef2", "shell": "#58b7ad", "shellDark": "#2f8a83", "shellLight": "#7fd0c6", "plate": "#fff3e2", "plateLow": "#fbe2c8",
        "accent": "#f4a259", "accentDark": "#d97f35", "bulb": "#ffd166", "ink": "#22304a", "brow": "#2b3a57", "lid": "#f3d3b4",
        "white": "#ffffff", "whiteShade": "#d5dfe6", "iris": "#2a9d8f", "irisDark": "#146b63", "irisLight": "#62d0bd", "irisRing": "#0f4f4b",
        "pupil": "#132033", "glint": "#ffffff", "lashSoft": "#a77f64", "blush": "#ff8f7a", "glow": "#fffaf2", "crease": "#c98f68",
        "nose": "#efb48c", "lip": "#8c3b4a", "lipLow": "#a64f5c", "mouth": "#4b1626", "teeth": "#ffffff", "teethShade": "#e9e6ea",
        "tongue": "#e2566a", "tongueLight": "#f58a95", "tongueLine": "#c23f57",
    },
}  # fmt: skip
ROBOT["dark"] = {
    **ROBOT["light"],
    "background": "#11161f", "shell": "#3f9b93", "shellDark": "#1f6b66", "shellLight": "#5db8ae", "plate": "#fbe9d2", "plateLow": "#efcfae",
    "lid": "#e6c09c", "glow": "#fff4e4", "white": "#fbfdff",
}  # fmt: skip


def robot() -> Face:
    """Friendly robot: a teal helmet around a warm face, big eyes, coral cheeks."""
    face = Face("robot", "Friendly robot", VIEW, ROBOT)
    eyes, brows = Eyes(), Brows()
    face.line("stem", [(0, -380), (0, -430), (0, -462)])
    face.part("stem", closed=False, stroke="shellDark", width=18)
    face.line("bulb", ellipse(0, -470, 32, 32))
    face.part("bulb", fill=gradient("down", (0, "bulb", 1), (1, "accent", 1)))
    for s, side in SIDES:
        face.line(f"ear{side}", ellipse(s * 405, 0, 62, 112, 12, 3.0))
        face.part(f"ear{side}", fill=gradient("down", (0, "accent", 1), (1, "accentDark", 1)))
    face.line("shell", ellipse(0, 0, 412, 402, 24, 3.0))
    face.part("shell", fill=gradient("down", (0, "shellLight", 1), (0.5, "shell", 1), (1, "shellDark", 1)))
    face.line("plate", ellipse(0, 14, 356, 352, 24, 3.0))
    face.part("plate", fill=gradient("down", (0, "plate", 1), (0.6, "plate", 1), (1, "plateLow", 1)))
    jaw_motion(face, Jaw(), ["shell", "plate"])
    cheek_pair(face, Cheeks(), eyes)
    creases(face, brows)
    eye_pair(face, eyes)
    brow_pair(face, brows)
    nose(face, 84)
    mouth(face, Mouth(), lip_lower="lipLow")
    return face


THEMES = {"robot": robot}
