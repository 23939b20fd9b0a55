"""Draw the visitor of `emo-face demo`: a 3D head that does what config/demo_scene.yaml says, as a film.

    python export/build_visitor.py --head3d FOLDER            writes src/emo_face/data/samples/visitor.mp4
    python export/build_visitor.py --head3d FOLDER --still 10 --out visitor.png

FOLDER holds ict_facekit_light_expressions.npz: ICT-FaceKit light (USC ICT, MIT). Nobody real is in the film, and what
the visitor shows is known.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.types import FloatArray, ImageArray
from emo_face.datasets.renders.draw import SKIPPED, HeadRenderer
from emo_face.datasets.renders.look import RenderLook
from emo_face.face.expressions.facs import default_facs
from emo_face.recording.film import FilmWriter
from emo_face.runtime.progress import track

ROOT = Path(__file__).resolve().parent.parent
SCENE, FILM = ROOT / "config" / "demo_scene.yaml", ROOT / "src/emo_face/data/samples/visitor.mp4"
WIDTH, HEIGHT, RATE = 640, 480, 24
SIDE = 420  # pixels of the square that the head is drawn in
LETTERS_A_SECOND, LONGEST = 17.0, 3.2
CALM = {"browDownLeft": 0.25, "browDownRight": 0.25, "mouthPressLeft": 0.1, "mouthPressRight": 0.1}
BLINKS = (2.2, 5.6, 8.1, 11.9, 15.3, 18.1, 28.6)  # s
SKIN = 0.8
CHANNELS = (  # of the picture, blue, green, red: exposure, shirt, and the albedo of what is not skin
    {"exposure": 0.50, "cloth": 0.54, "lip": 0.42, "hair": 0.08, "brow": 0.10, "iris": 0.25},
    {"exposure": 0.58, "cloth": 0.34, "lip": 0.45, "hair": 0.11, "brow": 0.13, "iris": 0.20},
    {"exposure": 0.76, "cloth": 0.22, "lip": 0.68, "hair": 0.17, "brow": 0.20, "iris": 0.12},
)


@dataclass(frozen=True)
class Scene:
    """What happens when; times in seconds."""

    period: float
    lines: tuple[tuple[float, str], ...]
    keys: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, path: Path) -> Scene:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        lines = tuple((line["at"], line["text"]) for line in raw["lines"] if not line.get("unseen"))
        return cls(raw["period"], lines, tuple(raw["visitor"]))

    def place(self, at: float) -> float:
        """Share of the picture's width from its middle."""
        return float(np.interp(at, [key["at"] for key in self.keys], [key["place"] for key in self.keys]))

    def arkit(self, at: float) -> FloatArray:
        """(52,) activations in [0, 1]: expression, calm where there is none, blinks and talk."""
        total = np.zeros(len(ARKIT_52))
        felt = 0.0
        for name in {key["shows"] for key in self.keys if "shows" in key}:
            times = [key["at"] for key in self.keys]
            strengths = [key.get("strength", 0.0) if key.get("shows") == name else 0.0 for key in self.keys]
            strength = float(np.interp(at, times, strengths))
            total += default_facs().arkit({name: strength}, 0.95)
            felt += strength
        for name, value in CALM.items():
            total[ARKIT_INDEX[name]] += value * max(0.0, 1.0 - felt)
        closed = max(np.exp(-(((at - blink) / 0.07) ** 2)) for blink in BLINKS)
        for name in ("eyeBlinkLeft", "eyeBlinkRight"):
            total[ARKIT_INDEX[name]] = max(total[ARKIT_INDEX[name]], closed)
        jaw, funnel = self.talk(at)
        total[ARKIT_INDEX["jawOpen"]] += jaw
        total[ARKIT_INDEX["mouthFunnel"]] += funnel
        return np.clip(total, 0.0, 1.0)

    def talk(self, at: float) -> tuple[float, float]:
        """Jaw and rounded lips of somebody who is saying a line: about four syllables per second."""
        for end, text in self.lines:
            start = end - min(LONGEST, len(text) / LETTERS_A_SECOND)
            if start <= at < end:
                syllable = abs(np.sin(np.pi * 4.1 * (at - start)))
                loud = 0.7 + 0.3 * np.sin(2.3 * (at - start))
                return 0.16 * syllable * loud, 0.12 * abs(np.sin(np.pi * 1.7 * (at - start)))
        return 0.0, 0.0


class Visitor:
    """Draws the visitor in a room."""

    def __init__(self, folder: Path) -> None:
        self.renderer = HeadRenderer(folder, SIDE, (*SKIPPED, "M_EyeLashes"))
        x, y, z = np.abs(self.renderer.rest[:, 0]), self.renderer.rest[:, 1], self.renderer.rest[:, 2]
        self.ears = (x > 6.8) & (y > -3.5) & (y < 4.2) & (z > -3.0) & (z < 2.5)
        self.shirt = y < -12.5 - 0.35 * (z > 0) * np.maximum(0.0, 3.0 - x)
        self.room = room()

    def draw(self, arkit: FloatArray, place: float, at: float) -> ImageArray:
        """(HEIGHT, WIDTH, 3) BGR at ``at`` seconds."""
        turned = 0.05 * np.sin(0.9 * at) - 0.35 * np.sign(place) * min(1.0, 4 * abs(place))
        sway = [turned, 0.03 * np.sin(1.3 * at), 0.02 * np.sin(0.7 * at)]
        turn = Rotation.from_euler("yxz", sway).as_matrix()
        drawn = [
            self.renderer.render(arkit, self.look(channel, turn), np.random.default_rng(5)) for channel in CHANNELS
        ]
        head, mask = np.dstack([part.image for part in drawn]), drawn[0].mask
        frame = self.room.copy()
        left, top = round(WIDTH / 2 - SIDE / 2 + place * WIDTH), HEIGHT - SIDE
        first, last = max(0, left), min(WIDTH, left + SIDE)
        if first < last:
            inside = slice(first - left, last - left)
            soft = cv2.GaussianBlur(mask[:, inside].astype(np.float32), (0, 0), 0.7)[..., None]
            part = frame[top:, first:last]
            frame[top:, first:last] = np.rint(soft * head[:, inside] + (1 - soft) * part).astype(np.uint8)
        return frame

    def look(self, channel: dict[str, float], turn: FloatArray) -> RenderLook:
        """Everything but the expression, for one channel of the picture."""
        own = np.zeros((len(self.renderer.rest), 2), np.float32)
        own[self.ears], own[self.shirt] = (SKIN, 1.0), (channel["cloth"], 1.0)
        colours = {name: channel[name] for name in ("exposure", "lip", "hair", "brow", "iris")}
        look = RenderLook(
            rotation=turn, shift=(0.0, 0.0), field_cm=36.0, warp_scale=np.ones(3), warp_centres=np.zeros((0, 3)),
            warp_offsets=np.zeros((0, 3)), warp_radii=np.zeros(0), skin=SKIN, brow=0.1, lip=0.5, hair=0.1, iris=0.2,
            sclera=0.95, beard=0.0, stubble_line=-4.0, brow_width=0.4, brow_shift=-0.3, hairline=9.5, hair_lift=1.2,
            glasses=0.0, lights=np.array([[-0.35, 0.5, 0.8, 0.7], [0.8, 0.2, 0.5, 0.25]]), ambient=0.35, shine=0.08,
            exposure=0.5, gamma=0.8, background=np.full((SIDE, SIDE), 165.0, np.float32), photo=own,
        )  # fmt: skip
        return replace(look, **colours)


def room() -> ImageArray:
    """A wall with a window, out of focus."""
    down = np.linspace(1.0, 0.78, HEIGHT)[:, None, None]
    wall = (np.array([178.0, 190.0, 196.0]) * down * np.ones((1, WIDTH, 1))).astype(np.uint8)
    cv2.rectangle(wall, (40, 40), (170, 260), (225, 214, 190), -1)
    cv2.rectangle(wall, (40, 40), (170, 260), (236, 238, 240), 10)
    cv2.line(wall, (105, 40), (105, 260), (236, 238, 240), 6)
    cv2.rectangle(wall, (500, 90), (600, 190), (120, 150, 120), -1)
    cv2.rectangle(wall, (500, 90), (600, 190), (70, 90, 110), 6)
    return np.asarray(cv2.GaussianBlur(wall, (0, 0), 4.0), np.uint8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head3d", type=Path, required=True, help="folder with ict_facekit_light_expressions.npz")
    parser.add_argument("--scene", type=Path, default=SCENE, help="default: config/demo_scene.yaml")
    parser.add_argument("--out", type=Path, default=FILM, help="film, or picture with --still")
    parser.add_argument("--still", type=float, metavar="S", help="one picture, of this second")
    parser.add_argument("--rate", type=float, default=RATE, help="frames/s (default: %(default)s)")
    args = parser.parse_args()
    scene, visitor = Scene.read(args.scene), Visitor(args.head3d)

    def frame(at: float) -> ImageArray:
        return visitor.draw(scene.arkit(at), scene.place(at), at)

    if args.still is not None:
        return 0 if cv2.imwrite(str(args.out), frame(args.still)) else 1
    with FilmWriter(args.out, args.rate) as film:
        for number in track(range(round(scene.period * args.rate)), "visitor"):
            film.add(frame(number / args.rate))
    print(f"{args.out}: {args.out.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
