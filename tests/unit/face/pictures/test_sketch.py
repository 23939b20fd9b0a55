"""The drawn face: every channel shows, left mirrors right, damaged themes are refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from arkit_values import arkit_values as values
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.face.pictures.facedata import FACES, load_face, theme_names
from emo_face.face.pictures.sketch import draw_face

ROOT = Path(__file__).resolve().parents[4]
THEMES = theme_names()
SIZE = (200, 208)


def mirrored(arkit: np.ndarray) -> np.ndarray:
    """Left and right exchanged."""
    swap = {"Left": "Right", "Right": "Left"}
    result = arkit.copy()
    for i, name in enumerate(ARKIT_52):
        for end, other in swap.items():
            if name.endswith(end):
                result[ARKIT_INDEX[name.removesuffix(end) + other]] = arkit[i]
    return result


def test_three_themes_robot_first() -> None:
    assert THEMES == ("robot", "eyes", "human")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("channel", ARKIT_52)
def test_every_channel_changes_the_picture_where_its_feature_is(theme: str, channel: str) -> None:
    neutral, moved = draw_face(np.zeros(52), SIZE, theme), draw_face(values(**{channel: 1.0}), SIZE, theme)
    change = np.abs(neutral.astype(int) - moved).max(axis=2)
    assert (change > 20).sum() >= 25, "a person would not see this"
    across = change.sum(axis=0)[: SIZE[0] // 2].sum() / change.sum()
    if channel.endswith("Left") and not channel.startswith(("jaw", "mouthLeft")):
        assert across < 0.5, "the face's own left is on the right of the picture"
    if channel.endswith("Right") and not channel.startswith(("jaw", "mouthRight")):
        assert across > 0.5
    upper = change[: int(SIZE[1] * 0.58)].sum() / change.sum()
    if channel.startswith(("eye", "brow")):
        assert upper > (0.8 if theme == "eyes" else 0.95)  # eyes that shine light up what is below them
    if channel.startswith(("jaw", "mouth", "tongue")):
        assert upper < 0.5


@pytest.mark.parametrize("theme", THEMES)
def test_half_a_channel_moves_points_half_way(theme: str) -> None:
    face = load_face(theme)
    rest, half, full = (face.pose(values(browInnerUp=v)).points for v in (0.0, 0.5, 1.0))
    assert np.abs(full - rest).max() > 30
    np.testing.assert_allclose(half - rest, (full - rest) / 2, atol=1e-9)


@pytest.mark.parametrize("theme", ["robot", "eyes"])
def test_symmetric_values_give_a_symmetric_face(theme: str) -> None:
    for arkit in (np.zeros(52), values(mouthSmile=0.8, browDown=0.5, eyeWide=0.3, jawOpen=0.4)):
        picture = draw_face(arkit, SIZE, theme).astype(int)
        difference = np.abs(picture - picture[:, ::-1])
        assert np.mean(difference > 40) < 0.03, "only the glints in the eyes are on one side"


@pytest.mark.parametrize("theme", THEMES)
def test_left_and_right_are_mirror_images(theme: str) -> None:
    rng = np.random.default_rng(7)
    face = load_face(theme)
    arkit = rng.uniform(0, 0.6, 52)
    one, other = face.pose(arkit).points, face.pose(mirrored(arkit)).points
    one_sided = ("glint", "hair", "strand")  # light comes from one side, and so does a parting
    odd = {i for part in face.parts if part.name.startswith(one_sided) for i in part.path}
    for i in sorted(set(range(len(one))) - odd):
        nearest = np.hypot(*(other * [-1, 1] - one[i]).T).min()
        assert nearest < 3, f"point {i} at {one[i]} has no partner"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=52, max_size=52), st.sampled_from(THEMES))
def test_lids_and_lips_never_cross(arkit: list[float], theme: str) -> None:
    face = load_face(theme)
    points = face.pose(arkit).points
    for upper, lower in json.loads((FACES / f"{theme}.json").read_text())["order"]:
        assert points[upper, 1] <= points[lower, 1] + 12, "lips may lean, not turn inside out"


@pytest.mark.parametrize("theme", THEMES)
def test_closed_eyes_show_no_white(theme: str) -> None:
    face = load_face(theme)
    pose = face.pose(values(eyeBlink=1.0, cheekSquint=1.0, eyeSquint=1.0))
    eye = next(p for p in face.parts if p.name in ("whiteLeft", "lightLeft"))
    outline = pose.points[list(eye.path)]
    x, y = outline[:, 0], outline[:, 1]
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area < 0.02 * np.ptp(x) ** 2


@pytest.mark.parametrize("theme", THEMES)
def test_mouth_close_brings_the_lips_of_an_open_jaw_together(theme: str) -> None:
    face = load_face(theme)
    gap = next(p for p in face.parts if p.name == "gap")

    def height(**channels: float) -> float:
        return float(np.ptp(face.pose(values(**channels)).points[list(gap.path), 1]))

    assert height(jawOpen=1.0) > 80
    assert height(jawOpen=1.0, mouthClose=1.0) < 0.5 * height(jawOpen=1.0)


def test_values_outside_the_range_are_clipped_and_nan_is_rest() -> None:
    wild = np.full(52, np.nan)
    wild[ARKIT_INDEX["jawOpen"]] = 7.0
    np.testing.assert_array_equal(draw_face(wild, SIZE), draw_face(values(jawOpen=1.0), SIZE))


def test_size_and_background() -> None:
    picture = draw_face(np.zeros(52), (320, 120), background=(1, 2, 3))
    assert picture.shape == (120, 320, 3)
    assert tuple(picture[0, 0]) == (1, 2, 3)
    scene = np.full((120, 320, 3), 90, np.uint8)
    over = draw_face(np.zeros(52), (320, 120), background=scene)
    assert (over[:, :60] == 90).all()
    assert (over[:, 110:210] != 90).any()
    with pytest.raises(ValueError, match="background has shape"):
        draw_face(np.zeros(52), (100, 100), background=scene)


def test_wrong_length_and_unknown_theme_are_named() -> None:
    with pytest.raises(ValueError, match="expected 52"):
        draw_face(np.zeros(51))
    with pytest.raises(ConfigError, match="expected one of robot, eyes, human"):
        draw_face(np.zeros(52), theme="clown")


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("parts", lambda v: [{**v[0], "path": [9999]}], "names a point outside"),
        ("parts", lambda v: [{**v[0], "fill": 3}], "parts.0.fill"),
        ("morphs", lambda v: [{"of": ["earWiggle"]}], "earWiggle"),
        ("format", lambda v: "emo-face-2d/9", "format"),
        ("view", lambda v: [0, 0, 1], "view"),
    ],
)
def test_a_damaged_theme_is_refused_with_file_and_field(
    tmp_path: Path, field: str, change: object, message: str
) -> None:
    data = json.loads((FACES / "robot.json").read_text())
    data[field] = change(data[field])  # type: ignore[operator]
    (tmp_path / "robot.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=message) as error:
        load_face("robot", tmp_path)
    assert "robot.json" in str(error.value)


def test_theme_files_are_what_the_drawings_make() -> None:
    script = ROOT / "export" / "export_themes.py"
    if not script.is_file():
        pytest.skip("not a checkout: export/ is not installed")
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
