"""The gallery: every emotion at several intensities on every theme and rig, in one picture."""

from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np

from emo_face.core.labels import basic7, label_set
from emo_face.core.types import FloatArray, ImageArray
from emo_face.face.expressions.facs import default_facs
from emo_face.face.pictures.facedata import load_face
from emo_face.face.pictures.sketch import draw_face
from emo_face.face.rig.rig import Rig

INTENSITIES = (0.4, 0.7, 1.0)
RIG_THEME = "robot"
PAPER, INK, SOFT = (250, 249, 248), (58, 42, 34), (134, 118, 104)  # BGR
MARGIN, HEADING, FOOT = 24, 58, 22  # pixels


def expression(emotion: str, intensity: float) -> FloatArray:
    """ARKit values (52,) of a basic emotion by the packaged FACS table."""
    facs = default_facs()
    return facs.arkit(dict(facs.mixture_of_label(emotion)), intensity)


def draw_cells(
    theme: str,
    cell: int,
    intensities: Sequence[float] = INTENSITIES,
    preset: Callable[[str, float], FloatArray] = expression,
    labels: Sequence[str] | None = None,
) -> ImageArray:
    """A plain grid: a row per intensity, a column per label (the seven emotions), ``cell`` pixels wide each."""
    mode: Literal["light", "dark"] = "dark" if theme == "eyes" else "light"
    size = (cell, round(cell * 1.04))
    rows = [
        np.hstack([draw_face(preset(emotion, k), size, theme, mode=mode) for emotion in labels or basic7().labels])
        for k in intensities
    ]
    return np.vstack(rows)


def draw_gallery(
    themes: Sequence[str], rigs: Sequence[Rig] = (), cell: int = 150, intensities: Sequence[float] = INTENSITIES
) -> ImageArray:
    """The gallery with headings, as a BGR picture: every theme, then what each rig can show of the same expressions."""
    blocks = [
        _block(load_face(theme).title, draw_cells(theme, cell, intensities), cell, intensities) for theme in themes
    ]
    for rig in rigs:

        def shown(emotion: str, intensity: float, rig: Rig = rig) -> FloatArray:
            return rig.shown(np.asarray(expression(emotion, intensity), dtype=np.float64))

        title = f"{rig.name}: what its {len(rig.names)} actuators can show"
        blocks.append(_block(title, draw_cells(RIG_THEME, cell, intensities, shown), cell, intensities))
    blocks.append(_blank(FOOT, blocks[0].shape[1]))
    return np.vstack(blocks)


def spoken_expressions() -> list[str]:
    """What a face shows for words: GoEmotions' 28, then the listener's own answers."""
    fine = [name.capitalize() for name in label_set("goemotions28").labels]
    return [*fine, "Attention", "Interest", "Concern", "Sympathy", "Reassurance"]


def draw_expressions(
    theme: str, labels: Sequence[str], cell: int = 120, intensities: Sequence[float] = INTENSITIES
) -> ImageArray:
    """Any expressions or labels on one theme, seven in a row, at every intensity, as a BGR picture."""
    blocks = []
    for start in range(0, len(labels), len(basic7())):
        part = list(labels[start : start + len(basic7())])
        missing = len(basic7()) - len(part)
        cells = draw_cells(theme, cell, intensities, labels=[*part, *["Neutral"] * missing])
        if missing:
            cells[:, len(part) * cell :] = PAPER
        blocks.append(_block("", cells, cell, intensities, [*part, *[""] * missing]))
    return np.vstack(blocks)


def draw_shuffled(theme: str, labels: Sequence[str], cell: int, seed: int) -> tuple[ImageArray, list[str]]:
    """Every label once at full strength, shuffled, with numbers from 1 instead of names; and the names in that order.

    For naming a face blind: look at the picture, write the names down, then read the key.
    """
    names = [labels[i] for i in np.random.default_rng(seed).permutation(len(labels))]
    faces = [draw_cells(theme, cell, (1.0,), labels=[name]) for name in names]
    for number, face in enumerate(faces, 1):
        _write(face, str(number), (6, 18), 0.5, SOFT)
    faces += [np.full_like(faces[0], PAPER)] * (-len(faces) % len(basic7()))
    rows = [np.hstack(faces[start : start + len(basic7())]) for start in range(0, len(faces), len(basic7()))]
    return np.vstack(rows), names


def _block(
    title: str, cells: ImageArray, cell: int, intensities: Sequence[float], labels: Sequence[str] | None = None
) -> ImageArray:
    height, width = cells.shape[:2]
    label = 64
    block = _blank(HEADING + height + MARGIN, width + label + MARGIN)
    block[HEADING : HEADING + height, label : label + width] = cells
    _write(block, title, (label, 24), 0.66, INK)
    for column, emotion in enumerate(labels or basic7().labels):
        _write(block, emotion, (label + column * cell + 6, HEADING - 9), 0.5, SOFT)
    for row, intensity in enumerate(intensities):
        _write(block, f"{intensity:.0%}", (14, HEADING + round((row + 0.5) * height / len(intensities))), 0.5, SOFT)
    return block


def _blank(height: int, width: int) -> ImageArray:
    return np.full((height, width, 3), PAPER, dtype=np.uint8)


def _write(image: ImageArray, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_DUPLEX, size, colour, 1, cv2.LINE_AA)
