"""The gallery: a picture test that fails when an expression changes by accident.

A wanted change: look at ``emo-face gallery``, then store the new reference by
``python tests/unit/face/pictures/test_gallery.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.face.pictures.facedata import theme_names
from emo_face.face.pictures.gallery import INTENSITIES, draw_cells, draw_gallery, expression, spoken_expressions
from emo_face.face.rig.rig import load_rig

REFERENCE = Path(__file__).resolve().parents[3] / "data" / "gallery_reference.png"
CELL = (96, 100)  # width, height
TOLERANCE = 3.0  # mean absolute difference in the patch that changed most, in grey levels of 255
PATCH = 11  # pixels


def _picture() -> np.ndarray:
    return np.vstack([draw_cells(theme, CELL[0]) for theme in theme_names()])


def _change(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of the patch that differs most: a moved mouth counts, softer edges do not."""
    return float(cv2.blur(np.abs(one.astype(np.float32) - other).mean(axis=2), (PATCH, PATCH)).max())


def _differences(picture: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Change by cell name."""
    found = {}
    for r in range(picture.shape[0] // CELL[1]):
        for c, emotion in enumerate(basic7().labels):
            at = np.s_[r * CELL[1] : (r + 1) * CELL[1], c * CELL[0] : (c + 1) * CELL[0]]
            theme, intensity = theme_names()[r // len(INTENSITIES)], INTENSITIES[r % len(INTENSITIES)]
            found[f"{theme} {emotion} {intensity}"] = _change(picture[at], reference[at])
    return found


def test_no_expression_changed_by_accident() -> None:
    reference = cv2.imread(str(REFERENCE))
    assert reference is not None, f"{REFERENCE} is missing: run python tests/unit/face/pictures/test_gallery.py"
    picture = _picture()
    assert picture.shape == reference.shape
    changed = {name: round(v, 2) for name, v in _differences(picture, reference).items() if v > TOLERANCE}
    assert not changed, (
        f"changed: {changed}; if wanted, look at emo-face gallery and run "
        "python tests/unit/face/pictures/test_gallery.py"
    )


@pytest.mark.parametrize("channel", ["mouthSmileLeft", "browInnerUp", "eyeSquintRight"])
def test_the_picture_test_notices_a_small_change(channel: str) -> None:
    def nudged(emotion: str, intensity: float) -> np.ndarray:
        values = np.array(expression(emotion, intensity))
        index = ARKIT_INDEX[channel]
        values[index] = values[index] + 0.2 if values[index] < 0.5 else values[index] - 0.2
        return values

    for theme in theme_names():
        before, after = draw_cells(theme, CELL[0], (1.0,)), draw_cells(theme, CELL[0], (1.0,), nudged)
        changes = [
            _change(before[:, c : c + CELL[0]], after[:, c : c + CELL[0]]) for c in range(0, 7 * CELL[0], CELL[0])
        ]
        print(theme, channel, [round(c, 1) for c in changes])
        assert max(changes) > TOLERANCE, theme


@pytest.mark.parametrize("theme", theme_names())
def test_emotions_look_different_and_grow_with_intensity(theme: str) -> None:
    cells = {k: draw_cells(theme, CELL[0], (k,)).reshape(CELL[1], 7, CELL[0], 3).astype(int) for k in (0.0, 0.4, 1.0)}
    neutral = basic7().index("Neutral")
    for c, emotion in enumerate(basic7().labels):
        faint, full = (np.abs(cells[k][:, c] - cells[0.0][:, c]).mean() for k in (0.4, 1.0))
        if c == neutral:
            assert full == 0
        else:
            assert full > 1.2 * faint > 0.6, emotion
        for other in range(c + 1, 7):
            assert np.abs(cells[1.0][:, c] - cells[1.0][:, other]).mean() > 1.0, (emotion, basic7().labels[other])


def test_command_writes_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "gallery.png"
    assert main(["gallery", "--out", str(out), "--theme", "eyes", "--cell", "40", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert cv2.imread(str(out)).shape == (answer["height"], answer["width"], 3)
    assert draw_gallery(["eyes"], cell=40).shape == (answer["height"], answer["width"], 3)


def test_rigs_are_drawn_below_the_themes() -> None:
    rig = load_rig(share_dir() / "config" / "rigs" / "minimal_4servo.yaml")
    alone, both = draw_gallery(["robot"], cell=48), draw_gallery(["robot"], [rig], cell=48)
    assert both.shape[0] > 1.8 * alone.shape[0]
    upper, lower = both[: alone.shape[0] - 30], both[alone.shape[0] - 22 :]
    rows = min(len(upper), len(lower))
    assert (upper[60:rows] != lower[60:rows]).any(), "four servos cannot show everything"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--theme", "clown"], "robot, eyes, human"), (["--cell", "4"], "32 to 1000"), (["--out", "x.jpg"], ".png")],
)
def test_command_refuses(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gallery", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_shuffled_sheet_has_numbers_and_its_key_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "blind.png"
    command = ["gallery", "--words", "--theme", "robot", "--cell", "40", "--out", str(sheet)]
    assert main([*command, "--shuffle", "3"]) == 0
    key = json.loads((tmp_path / "blind.key.json").read_text())
    assert sorted(key.values()) == sorted(spoken_expressions())
    assert list(key.values()) != spoken_expressions()
    assert cv2.imread(str(sheet)).shape[1] == 7 * 40
    assert main(["gallery", "--theme", "robot", "--shuffle", "3", "--out", str(sheet)]) == 2
    assert "--words" in capsys.readouterr().err


if __name__ == "__main__":
    REFERENCE.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(REFERENCE), _picture(), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"stored {REFERENCE}")
