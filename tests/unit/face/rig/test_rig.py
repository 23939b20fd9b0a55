"""Rigs: what the file says is what the motors do, and every mistake is told with file, line and field."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from arkit_values import arkit_values as face
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from emo_face.cli.main import main
from emo_face.core.errors import ConfigError
from emo_face.face.expressions.facs import default_facs
from emo_face.face.pictures.rig_report import reach, unreachable
from emo_face.face.rig.mixing import RIDGE
from emo_face.face.rig.rig import Rig, load_rig
from emo_face.face.rig.schema import load_rig_file

RIGS = ("minimal_4servo", "head_12servo", "head_25channel")
HEAD = "name: test\nactuators:\n"
SERVO = """\
  - name: {name}
    id: {id}
    unit: rad
    min: -1.0
    max: 0.5
    neutral: 0.0
    velocity: 5
    acceleration: 60
    jerk: 1500
"""


def servo(name: str = "a", number: int = 1, **change: object) -> str:
    """YAML of one actuator, driven by jawOpen unless told otherwise."""
    text = SERVO.format(name=name, id=number)
    change.setdefault("drive", [{"channel": "jawOpen"}])
    for key, value in change.items():
        lines = [line for line in text.splitlines() if not line.strip().startswith(f"{key}:")]
        if value is not None:
            dumped = yaml.safe_dump(value, default_flow_style=True).replace("\n...", "").strip()
            lines.append(f"    {key}: {dumped}")
        text = "\n".join(lines) + "\n"
    return text


def rig_of(text: str) -> Rig:
    return Rig(*load_rig_file(Path("test.yaml"), text))


def test_linear_scaling_uses_each_side_of_neutral() -> None:
    rig = rig_of(HEAD + servo(drive=[{"channel": "jawOpen", "gain": 0.5}, {"channel": "jawForward", "gain": -1.0}]))
    assert rig.targets(face(jawOpen=1.0))[0] == pytest.approx(0.25)
    assert rig.targets(face(jawForward=0.5))[0] == pytest.approx(-0.5)
    assert rig.targets(face(jawForward=1.0, jawOpen=1.0))[0] == pytest.approx(-0.5), "half up, all the way down"


def test_inverted_curved_paired_and_sided_terms() -> None:
    rig = rig_of(HEAD + servo(invert=True))
    assert rig.targets(face(jawOpen=1.0))[0] == -1.0
    rig = rig_of(HEAD + servo(drive=[{"channel": "jawOpen", "curve": [[0, 0], [0.2, 0.6], [1, 1]]}]))
    assert rig.targets(face(jawOpen=0.1))[0] == pytest.approx(0.15)
    assert rig.targets(face(jawOpen=0.6))[0] == pytest.approx(0.4)
    pair = [{"channel": "jawOpen"}, {"pair": ["jawOpen", "mouthClose"], "gain": -0.5}]
    rig = rig_of(HEAD + servo(drive=pair))
    assert rig.targets(face(jawOpen=0.8, mouthClose=0.5))[0] == pytest.approx(0.5 * (0.8 - 0.5 * 0.4))
    rig = rig_of(HEAD + servo(drive=[{"channel": "mouthSmile"}]))
    assert rig.targets(face(mouthSmileLeft=1.0))[0] == pytest.approx(0.25), (
        "a channel without a side is the mean of both"
    )


def test_flame_channels() -> None:
    rig = rig_of(HEAD + servo(drive=[{"channel": "flame_003", "gain": 0.5}]))
    coefficients = np.zeros(100)
    coefficients[3] = -1.2
    assert rig.targets(np.zeros(52), coefficients)[0] == pytest.approx(-0.6)
    assert rig.targets(np.zeros(52))[0] == 0.0


def test_an_actuator_that_serves_several_channels_is_a_compromise() -> None:
    drive = [
        {"channel": "browInnerUp", "gain": 0.5},
        {"channel": "browOuterUp", "gain": 0.5},
        {"channel": "browDown", "gain": -1},
    ]
    rig = rig_of(HEAD + servo(drive=drive, max=1.0))
    assert rig.targets(face(browInnerUp=1.0, browOuterUp=1.0))[0] == pytest.approx(1.0)
    assert rig.targets(face(browInnerUp=1.0))[0] == pytest.approx(0.5)
    assert rig.targets(face(browDown=0.7))[0] == pytest.approx(-0.7)


def test_shared_channels_are_bounded_least_squares() -> None:
    """Against SciPy's solver, on the 12-servo head's own effects, for faces that pull no actuator both ways."""
    rig, rng = load_rig("head_12servo"), np.random.default_rng(0)
    mixer = rig.mixer
    ridge = np.sqrt(RIDGE) * np.eye(mixer._both.shape[1])
    for _ in range(40):
        brows, mouth = rng.random(3), rng.random(5)
        wanted = face(
            browInnerUp=brows[0],
            browOuterUpLeft=brows[1],
            browOuterUpRight=brows[2],
            mouthSmileLeft=mouth[0],
            mouthSmileRight=mouth[1],
            mouthStretch=mouth[2],
            mouthUpperUp=mouth[3],
            mouthDimple=mouth[4],
        )
        features = rig.bank.evaluate(wanted)
        a, b = np.vstack([mixer._both, ridge]), np.concatenate([features, np.zeros(len(ridge))])
        best = lsq_linear(a, b, (0, 1), method="bvls", tol=1e-14).x
        half = len(best) // 2
        assert np.minimum(best[:half], best[half:]).max() < 1e-6
        drives = mixer.drive(features)[mixer._columns]
        np.testing.assert_allclose(drives, best[:half] - best[half:], atol=1e-6)


def test_fear_raises_the_inner_brow_though_it_also_asks_for_browDown() -> None:
    rig = load_rig("head_12servo")
    fear = np.asarray(default_facs().arkit({"Fear": 1.0}))
    drives = dict(zip(rig.names, rig.drive(rig.targets(fear)), strict=True))
    assert drives["brow_inner"] > 0.6


def test_drives_are_continuous_in_the_face() -> None:
    rig, facs = load_rig("head_25channel"), default_facs()
    ends = [np.asarray(facs.arkit({e: 1.0})) for e in ("Fear", "Anger", "Happy", "Disgust", "Sad", "Fear")]
    places = [
        rig.drive(rig.targets((1 - t) * a + t * b)) for a, b in itertools.pairwise(ends) for t in np.linspace(0, 1, 400)
    ]
    assert np.abs(np.diff(places, axis=0)).max() < 0.03


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(RIGS), st.lists(st.floats(0, 1), min_size=52, max_size=52))
def test_targets_stay_in_range_and_drive_inverts_position(name: str, values: list[float]) -> None:
    rig = load_rig(name)
    place = rig.targets(np.array(values))
    assert (place >= rig.limits.lower - 1e-9).all()
    assert (place <= rig.limits.upper + 1e-9).all()
    np.testing.assert_allclose(rig.position(rig.drive(place)), place, atol=1e-9)
    assert ((rig.shown(np.array(values)) >= 0) & (rig.shown(np.array(values)) <= 1)).all()


@pytest.mark.parametrize("name", RIGS)
def test_worked_examples_rest_at_neutral_and_their_gate_works(name: str) -> None:
    rig = load_rig(name)
    np.testing.assert_allclose(rig.targets(np.zeros(52)), rig.limits.neutral, atol=1e-9)
    gate = rig.gate(0.01)
    gate.enable(rig.limits.neutral, 0.0)
    rng = np.random.default_rng(0)
    for k in range(300):
        gate.command(rig.targets(rng.random(52)), 0.01 * k, 0.01 * k)
        gate.tick(0.01 * k)
    assert gate.clamped == 0


def test_left_and_right_are_mirrored() -> None:
    for name in ("head_12servo", "head_25channel"):
        rig = load_rig(name)
        left = dict(zip(rig.names, rig.drive(rig.targets(face(mouthSmileLeft=0.8, browDownLeft=0.5))), strict=True))
        right = dict(zip(rig.names, rig.drive(rig.targets(face(mouthSmileRight=0.8, browDownRight=0.5))), strict=True))
        assert left["corner_left"] > 0.5
        for key, value in left.items():
            other = key.replace("left", "@").replace("right", "left").replace("@", "right")
            assert right[other] == pytest.approx(value, abs=1e-6), key


TWO = HEAD + servo() + servo("b", 2)
RULE = "interlocks:\n  - "
BAD = [
    (HEAD + servo(drive=[{"channel": "jawOpn"}]), r"test.yaml:12: field actuators.0.drive.0.channel: .*'jawOpn'"),
    (HEAD + servo(min=0.7), r"test.yaml:\d+: field actuators.0.min: expected min < max, got 0.7 and 0.5"),
    (HEAD + servo(neutral=2.0), r"field actuators.0.neutral: expected -1.0 to 0.5, got 2.0"),
    (HEAD + servo() + servo(number=2), r"test.yaml:13: field actuators.1.name: 'a' is already actuators.0"),
    (HEAD + servo() + servo("b"), r"test.yaml:14: field actuators.1.id: id 1 already belongs to 'a'"),
    (HEAD + servo(velocity=0), r"field actuators.0.velocity: Input should be greater than 0, got 0"),
    (HEAD + servo(jerk=".inf"), r"field actuators.0.jerk: "),
    (HEAD + servo(velocity=None), r"test.yaml:3: field actuators.0.velocity: Field required"),
    (HEAD + servo(unit="inch"), r"field actuators.0.unit: .*'inch'"),
    (HEAD + servo(speed=3), r"field actuators.0.speed: Extra inputs are not permitted"),
    (HEAD + servo(deadband=1.0), r"field actuators.0.deadband: expected at most a tenth"),
    (HEAD + servo(jerk=1e-320), r"field actuators.0.jerk: expected 1e-06 to 1e\+12 times max - min"),
    (HEAD + servo(velocity=1e308), r"field actuators.0.velocity: expected 1e-06 to"),
    ("a: &a [x]\nname: &b [*a, *a]\nactuators: &c [*c]\n", r"test.yaml: not valid YAML: its aliases stand for"),
    (HEAD + servo(drive=[]), r"neither `drive` nor `shows`"),
    (HEAD + servo(drive=[{"gain": 1.0}]), r"exactly one of `channel` and `pair`"),
    (HEAD + servo(drive=[{"channel": "jawOpen", "gain": 0}]), r"drive.0.gain: expected a number other than 0"),
    (HEAD + servo(drive=[{"channel": "jawOpen", "curve": [[0, 0], [0, 1]]}]), r"curve: .*ascending"),
    (HEAD + servo(shows={"plus": {"smile": 1.0}}), r"shows.plus.smile: unknown channel 'smile'"),
    ("name: test\nactuators: []\n", r"test.yaml:2: field actuators: "),
    ("name: test\nactuators: 3\n", r"test.yaml:2: field actuators: "),
    ("- 1\n", r"test.yaml:1: expected a mapping"),
    ("name: [\n", r"test.yaml:\d+: not valid YAML"),
    ("", r"test.yaml:1: expected a mapping"),
    (
        TWO + RULE + "{when: a, above: 0.5, then: nose, range: [0, 1]}\n",
        r"test.yaml:24: .*0.then: unknown actuator 'nose'",
    ),
    (TWO + RULE + "{when: a, above: 0.5, then: a, range: [0, 1]}\n", r"cannot restrict itself"),
    (TWO + RULE + "{when: a, then: b, range: [0, 1]}\n", r"exactly one of `above` and `below`"),
    (TWO + RULE + "{when: a, above: 0.5, then: b, range: [0.5, 0.5]}\n", r"interlocks.0.range"),
    (TWO + "dwell:\n  - {actuator: a, above: 0.5, max_s: 0.01}\n", r"field dwell: .*max_s"),
    (TWO + "dwell:\n  - {actuator: a, above: 1.5, max_s: 5}\n", r"dwell.0.above: Input should be less than 1"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_mistakes_are_told_with_file_line_and_field(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rig_of(text)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_refused_not_crashed_on(data: bytes) -> None:
    path = Path("/nonexistent.yaml")
    with pytest.raises(ConfigError):
        load_rig_file(path, data.decode("latin-1"))


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"known are .*head_12servo"):
        load_rig("my_head")
    with pytest.raises(ConfigError, match="No such file"):
        load_rig(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_rig(tmp_path / "bad.yaml")


def test_interlocks_are_shares_of_the_way_and_follow_inversion() -> None:
    text = HEAD + servo(invert=True) + servo("b", 2)
    text += "interlocks:\n  - {when: a, above: 0.5, then: b, range: [-0.5, 1]}\n"
    rule = rig_of(text).interlocks[0]
    assert (rule.threshold, rule.above) == (-0.5, False), "+ is downwards for an inverted servo"
    assert (rule.lower, rule.upper) == (-0.5, 0.5)


def test_more_motors_show_more() -> None:
    scores = [np.mean([r.score for r in reach(load_rig(name))]) for name in RIGS]
    assert scores[0] < scores[1] < scores[2]
    assert scores[2] > 0.85
    assert "tongueOut" in unreachable(load_rig("head_25channel"))
    happy = next(r for r in reach(load_rig("minimal_4servo")) if r.emotion == "Happy")
    assert "cheekSquintLeft" in {name for name, _, _ in happy.missing}
    assert "mouth_corners" in happy.saturated


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rig", "check", "head_12servo"]) == 0
    assert "12 actuators, 3 interlocks, 1 dwell limits, feetech driver: good" in capsys.readouterr().out
    picture = tmp_path / "reach.png"
    assert main(["rig", "report", "minimal_4servo", "--out", str(picture), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["emotions"]) == {"Anger", "Disgust", "Fear", "Happy", "Sad", "Surprise"}
    assert report["emotions"]["Surprise"]["score"] > 0.9
    image = cv2.imread(str(picture))
    assert image.shape[1] == 6 * 220
    assert np.abs(image[56:276].astype(int) - image[276:496]).mean() > 1.0, "wanted and shown differ"
    bad = tmp_path / "bad.yaml"
    bad.write_text(HEAD + servo(min=0.7))
    assert main(["rig", "check", str(bad)]) == 2
    assert "bad.yaml:" in capsys.readouterr().err
    assert main(["rig", "report", "minimal_4servo", "--intensity", "0"]) == 2
