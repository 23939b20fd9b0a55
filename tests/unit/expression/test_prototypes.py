"""Context window, manners and the prototype backend; timelines are in tests/scenarios/expression_*.yaml."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.core.labels import basic7, top_of
from emo_face.core.paths import data_file
from emo_face.core.types import Box, Emotion, ExpressionTarget, Face, Person, Shown, Speech
from emo_face.expression.attention import Attention, AttentionRule
from emo_face.expression.context import MAX_UTTERANCES, ContextWindow, WindowSettings
from emo_face.expression.model import Context, ExpressionModel, Scene, SeenPerson
from emo_face.expression.policy import Camera, eyes_of, load_perspectives
from emo_face.expression.prototypes import PrototypeExpression, PrototypeSettings
from emo_face.face.expressions.basis import FaceCode, open_basis
from emo_face.face.expressions.facs import default_facs

SCENARIOS = sorted((Path(__file__).resolve().parents[2] / "scenarios").glob("expression_*.yaml"))
LABELS = basic7()
WIDTH, HEIGHT, STEP = 640, 480, 0.1


def emotion(label: str, p: float = 1.0, quality: float = 1.0) -> Emotion:
    probabilities = np.full(7, (1 - p) / 6)
    probabilities[LABELS.index(label)] = p
    valence, arousal = LABELS.circumplex(probabilities)
    return Emotion("basic7", probabilities, probabilities > 0.5, valence, arousal, quality=quality)


def seen(
    person_id: str, label: str, p: float = 1.0, head: float = 100, x: float = 320, quality: float = 1.0
) -> SeenPerson:
    box = Box(x - head / 2, HEIGHT / 2 - 0.4 * head, head, head)  # the eyes are on the middle line
    return SeenPerson(Person(person_id, 0.9, face=Face(box, 0.9)), emotion(label, p, quality))


def scene(stamp: float, *people: SeenPerson) -> Scene:
    return Scene(stamp, WIDTH, HEIGHT, people)


# --- timelines ------------------------------------------------------------------------------------------------------


def play(script: dict[str, Any]) -> None:
    given_settings = dict(script["settings"])
    camera = Camera(horizontal_fov=math.radians(given_settings.pop("horizontal_fov_deg", 60)))
    own = {k: given_settings.pop(k) for k in ("perspective", "intensity") if k in given_settings}
    window = ContextWindow(WindowSettings(**given_settings))
    model = PrototypeExpression(PrototypeSettings(camera=camera, **own))
    now, people = float(script["timeline"][0]["at"]), {}
    for event in script["timeline"]:
        at = float(event["at"])
        while now < at - 1e-9:
            now = min(at, now + STEP)
            window.see(scene(now, *people.values()), now)
        now = at
        if "see" in event:
            people = {i: seen(i, v.pop("emotion"), **v) for i, v in ((i, dict(v)) for i, v in event["see"].items())}
            window.see(scene(now, *people.values()), now)
        for speaker, text in event.get("says", {}).items():
            window.hear(Speech(text, now, speaker=speaker), now)
        if "expect" in event:
            context = window.context(now)
            check(event["expect"], model.express(context, now), context, window, f"at {at}")


def check(
    expected: dict[str, Any], target: ExpressionTarget, context: Context, window: ContextWindow, where: str
) -> None:
    face = open_basis().decode(FaceCode.of(target))
    assert target.person_id == expected.get("person", target.person_id), where
    assert top_of(target.feels) == expected.get("emotion", top_of(target.feels)), where
    assert target.shown.name == expected.get("shows", target.shown.name), where
    for name, least in expected.get("at_least", {}).items():
        assert face[ARKIT_INDEX[name]] >= least, (
            f"{where}: {name} {face[ARKIT_INDEX[name]]:.2f}, expected at least {least}"
        )
    for name, most in expected.get("at_most", {}).items():
        assert face[ARKIT_INDEX[name]] <= most, (
            f"{where}: {name} {face[ARKIT_INDEX[name]]:.2f}, expected at most {most}"
        )
    if expected.get("rest"):
        still = [n for n in ARKIT_52 if not n.startswith("eyeLook")]
        assert max(face[ARKIT_INDEX[n]] for n in still) < 1e-6, where
    if "looks" in expected:
        yaw = math.degrees(target.gaze[0])
        assert {"left": yaw > 3, "right": yaw < -3, "ahead": abs(yaw) < 1}[expected["looks"]], f"{where}: yaw {yaw:.1f}"
    if "speech" in expected:
        assert (context.speech.text if context.speech else None) == expected["speech"], where
    assert window.resets == expected.get("resets", window.resets), where


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_timeline(path: Path) -> None:
    play(yaml.safe_load(path.read_text()))


def test_a_timeline_can_fail() -> None:
    script = yaml.safe_load(SCENARIOS[0].read_text())
    script["timeline"][-1]["expect"] = {"person": "p77"}
    with pytest.raises(AssertionError, match=r"p77|at 11\.3|at "):
        play(script)


# --- context window -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stamp", "confidence"),
    [
        ("", 10, 1),
        (" \n\t", 10, 1),
        ("hello", 10, 0.2),
        ("hello", 1, 1),
        ("hello", 99, 1),
        ("hello", math.nan, 1),
        ("hello", 10, math.nan),
    ],
)
def test_unusable_speech_is_dropped_and_counted(text: str, stamp: float, confidence: float) -> None:
    window = ContextWindow(WindowSettings(speech_ttl=5, min_speech_confidence=0.5))
    window.hear(Speech(text, stamp, confidence), 10)
    assert window.dropped == 1
    assert window.context(10).speech is None


def test_speech_of_somebody_else_is_not_the_followed_persons() -> None:
    window = ContextWindow()
    window.see(scene(0, seen("p1", "Sad", head=200), seen("p2", "Happy", head=50)), 0)
    window.hear(Speech("not mine", 0.0, speaker="p2"), 0)
    assert window.context(0).speech is None
    window.hear(Speech("from somewhere", 0.1), 0.1)
    context = window.context(0.1)
    assert context.followed is not None
    assert context.followed.person.person_id == "p1"
    assert context.speech is not None
    assert context.speech.text == "from somewhere"


def test_the_stamp_is_that_of_the_newest_input_used() -> None:
    window = ContextWindow()
    window.see(scene(1.0, seen("p1", "Sad")), 1.0)
    assert window.context(1.5).stamp == 1.0
    window.hear(Speech("hello", 1.4, speaker="p1"), 1.5)
    assert window.context(1.6).stamp == 1.4


def test_late_frames_are_dropped_and_a_clock_that_goes_back_clears() -> None:
    window = ContextWindow(WindowSettings(switch_time=0.0))
    window.see(scene(5.0, seen("p1", "Sad")), 5.0)
    window.see(scene(4.9, seen("p2", "Sad")), 5.0)
    assert window.dropped == 1
    window.see(scene(math.nan, seen("p2", "Sad")), 5.0)
    window.see(scene(1e9, seen("p2", "Sad")), 5.0)  # a stamp from the future does not block what follows
    window.see(scene(5.1, seen("p3", "Sad")), 5.1)
    assert window.dropped == 3
    assert window.context(5.1).followed.person.person_id == "p3"  # type: ignore[union-attr]
    assert window.context(1.0).followed is None
    assert window.resets == 1


def test_made_up_speakers_cannot_fill_the_memory() -> None:
    window = ContextWindow(WindowSettings(follow="speaking"))
    for i in range(1000):
        window.hear(Speech("x" * 1000, i * 1e-4, speaker=f"p{i}"), 1.0)
    assert len(window._speech) <= MAX_UTTERANCES


def test_follow_largest_and_nearest_differ() -> None:
    far_tall = SeenPerson(Person("a", 0.9, body=Box(0, 0, 200, 460), face=Face(Box(0, 0, 50, 50), 0.9)), emotion("Sad"))
    near_seated = SeenPerson(
        Person("b", 0.9, body=Box(0, 0, 150, 200), face=Face(Box(0, 0, 90, 90), 0.9)), emotion("Sad")
    )
    both = scene(0, far_tall, near_seated)
    assert Attention(AttentionRule("nearest")).choose(both) is near_seated
    assert Attention(AttentionRule("largest")).choose(both) is far_tall
    assert Attention().choose(scene(0)) is None
    with pytest.raises(ConfigError, match=r"loudest.*nearest, largest, speaking, id"):
        AttentionRule("loudest")


@pytest.mark.parametrize("period", [1 / 30, 0.5])
def test_a_false_face_or_a_missed_one_of_one_frame_changes_nothing(period: float) -> None:
    attention = Attention(AttentionRule(switch_time=0.4))
    real, false = seen("p1", "Happy", head=100), seen("p2", "Fear", head=300)
    frames = [(real,), (real,), (real, false), (real,), (), (real,), (false,), (real,), (real, false), (real,)]
    looked = [attention.choose(scene(i * period, *frame)) for i, frame in enumerate(frames)]
    assert {found.person.person_id for found in looked if found} == {"p1"}
    assert None not in looked


def test_somebody_who_has_come_nearer_or_gone_for_good_is_answered_after_switch_time() -> None:
    attention = Attention(AttentionRule(switch_time=0.4))
    one, other = seen("p1", "Happy", head=100), seen("p2", "Sad", head=130)
    assert attention.choose(scene(0.0, one)) is one
    assert attention.choose(scene(1.0, one, other)) is one
    assert attention.choose(scene(1.3, one, other)) is one
    assert attention.choose(scene(1.4, one, other)) is other
    assert attention.choose(scene(2.0, one)) is other
    assert attention.choose(scene(2.3, one)) is other
    assert attention.choose(scene(2.4, one)) is one
    assert attention.choose(scene(3.0)) is one
    assert attention.choose(scene(3.4)) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("follow", "loudest"),
        ("switch_margin", -1.0),
        ("switch_time", math.nan),
        ("speech_ttl", -1.0),
        ("speech_ttl", math.nan),
        ("scene_ttl", math.inf),
    ],
)
def test_wrong_window_settings_are_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{field}: "):
        WindowSettings(**{field: value})


# --- gaze -----------------------------------------------------------------------------------------------------------


def test_gaze_angles_are_those_of_a_pinhole_camera() -> None:
    camera = Camera(horizontal_fov=math.radians(60), max_yaw=math.pi, max_pitch=math.pi)
    np.testing.assert_allclose(camera.gaze((320, 240), 640, 480), [0, 0], atol=1e-12)
    assert math.degrees(camera.gaze((0, 240), 640, 480)[0]) == pytest.approx(30)  # image left is the robot's left
    assert math.degrees(camera.gaze((640, 240), 640, 480)[0]) == pytest.approx(-30)
    assert math.degrees(camera.gaze((320, 0), 640, 480)[1]) == pytest.approx(
        math.degrees(math.atan(240 / 554.256)), abs=0.01
    )
    turned = Camera(horizontal_fov=math.radians(60), pitch=math.radians(-10))
    assert math.degrees(turned.gaze((320, 240), 640, 480)[1]) == pytest.approx(-10)


@given(
    st.floats(allow_nan=True, allow_infinity=True), st.floats(-1e6, 1e6), st.integers(-5, 5000), st.integers(-5, 5000)
)
def test_gaze_is_always_finite_and_within_the_eyes_range(x: float, y: float, width: int, height: int) -> None:
    camera = Camera()
    gaze = camera.gaze((x, y), width, height)
    assert np.isfinite(gaze).all()
    assert abs(gaze[0]) <= camera.max_yaw
    assert abs(gaze[1]) <= camera.max_pitch


def test_eyes_come_from_landmarks_then_face_then_body() -> None:
    box = Box(100, 100, 50, 50)
    landmarks = np.array([[110.0, 120.0], [130.0, 122.0], [120, 130], [112, 140], [128, 140]])
    assert eyes_of(Person("p", 1, face=Face(box, 1, landmarks))) == (120.0, 121.0)
    assert eyes_of(Person("p", 1, face=Face(box, 1))) == (125.0, 120.0)
    assert eyes_of(Person("p", 1, body=Box(0, 0, 100, 300))) == (50.0, 20.0)
    assert eyes_of(Person("p", 1)) is None
    with pytest.raises(ConfigError, match="horizontal_fov"):
        Camera(horizontal_fov=4.0)


# --- prototype backend ----------------------------------------------------------------------------------------------


def express(person: SeenPerson | None, **options: Any) -> ExpressionTarget:
    model: ExpressionModel = PrototypeExpression(PrototypeSettings(**options))
    shown = scene(1.0, person) if person else scene(1.0)
    return model.express(Context(1.0, shown, person), 1.1)


def face_of(target: ExpressionTarget) -> np.ndarray:
    return open_basis().decode(FaceCode.of(target))


def test_a_target_is_complete() -> None:
    target = express(seen("p1", "Happy", 0.7, x=100), perspective="listener", intensity=0.5, valid_for=2.0)
    assert (target.person_id, target.perspective, top_of(target.feels)) == ("p1", "listener", "Happy")
    assert (target.basis, target.source, target.stamp, target.valid_for) == ("open-ict-1", "prototypes", 1.0, 2.0)
    (key,) = target.keyframes
    assert [x.shape for x in (key.coefficients, key.jaw_pose, key.eyelids, target.gaze)] == [(100,), (3,), (2,), (2,)]
    assert key.offset == 0
    assert target.shown.name == "Happy"
    assert target.shown.intensity == target.shown.strength == pytest.approx(0.5 * 0.8 * 0.65, abs=0.05)
    assert target.confidence == pytest.approx(0.7)
    assert target.gaze[0] > 0
    assert list(PrototypeExpression().hashes) == ["open_ict_1.npz"]


def test_nobody_is_a_face_at_rest_that_looks_ahead() -> None:
    target = express(None)
    assert (target.person_id, target.feels, target.shown, target.confidence) == ("", None, Shown(), 0.0)
    assert not face_of(target).any()


def test_words_that_nobody_in_view_said_are_answered() -> None:
    model = PrototypeExpression(PrototypeSettings(intensity=1.0))
    said = Speech("My dog died.", 1.0)
    heard = replace(scene(1.0), room=emotion("Sad", 0.9))
    target = model.express(Context(1.0, heard, None, said), 1.1)
    assert (target.person_id, top_of(target.feels), target.shown.name) == ("", "Sad", "Sympathy")
    assert target.words == said
    only_heard = model.express(Context(1.0, None, None, said), 1.1)  # no camera at all
    assert (only_heard.feels, only_heard.shown.name) == (None, "Attention")
    unread = model.express(Context(1.0, replace(scene(1.0), room=emotion("Anger", 1.0, quality=0.0)), None, said), 1.1)
    assert unread.shown.name == "Attention"  # a language that is not read


@pytest.mark.parametrize("perspective", ["mirror", "listener"])
def test_strength_and_intensity_follow_the_evidence(perspective: str) -> None:
    shown = [
        express(seen("p1", "Sad", p, quality=q), perspective=perspective).shown
        for p, q in ((1 / 7, 1.0), (0.4, 1.0), (0.7, 1.0), (0.95, 1.0))
    ]
    assert (shown[0].intensity < 0.3) == (shown[0].name in ("Neutral", "Attention"))
    assert shown[1].strength < shown[2].strength < shown[3].strength
    assert shown[1].intensity < shown[2].intensity < shown[3].intensity
    blind = express(seen("p1", "Sad", 0.95, quality=0.0), perspective=perspective).shown
    assert (blind.name, blind.strength, blind.intensity) == ("Neutral", 0.0, 0.0)
    off = express(seen("p1", "Sad", 0.95), perspective=perspective, intensity=0.0).shown
    assert (off.name, off.intensity) == ("Neutral", 0.0)


def test_a_mirror_copies_the_persons_own_face_but_not_the_gaze() -> None:
    own = np.zeros(52)
    own[[ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["eyeLookOutLeft"], ARKIT_INDEX["cheekPuff"]]] = 0.8, 1.0, 0.6
    person = replace(seen("p1", "Anger"), arkit=own)
    face = face_of(express(person, perspective="mirror", intensity=0.5))
    assert face[ARKIT_INDEX["mouthSmileLeft"]] == pytest.approx(0.4, abs=0.01)
    assert face[ARKIT_INDEX["cheekPuff"]] == pytest.approx(0.3, abs=0.01)
    assert face[ARKIT_INDEX["mouthSmileRight"]] < 0.01
    assert face[ARKIT_INDEX["eyeLookOutLeft"]] < 0.01
    assert face[ARKIT_INDEX["browDownLeft"]] < 0.01
    for options in ({"perspective": "listener"}, {"perspective": "mirror", "mirror_person": False}):
        assert face_of(express(person, **options))[ARKIT_INDEX["cheekPuff"]] < 0.01
    broken = replace(person, arkit=np.full(52, np.nan))
    assert face_of(express(broken, perspective="mirror"))[ARKIT_INDEX["browDownLeft"]] > 0.5


def test_fresh_words_make_a_listener_attentive() -> None:
    model = PrototypeExpression(PrototypeSettings(perspective="listener", intensity=1.0))
    quiet, spoken = (model.arkit(emotion("Neutral"), spoken=s) for s in (False, True))
    assert spoken[ARKIT_INDEX["browOuterUpLeft"]] > quiet[ARKIT_INDEX["browOuterUpLeft"]] > 0


def test_measured_arousal_beyond_the_labels_strengthens() -> None:
    model = PrototypeExpression(PrototypeSettings(perspective="mirror", intensity=0.5))
    calm, plain, excited = (
        model.arkit(replace(emotion("Happy", 0.8), arousal=a))[ARKIT_INDEX["mouthSmileLeft"]]
        for a in (-0.5, emotion("Happy", 0.8).arousal, 1.0)
    )
    assert calm < plain < excited


@given(
    arrays(np.float64, 7, elements=st.floats(0, 1)),
    st.sampled_from(["mirror", "listener"]),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_faces_stay_in_bounds_and_never_fall_as_intensity_rises(
    p: np.ndarray, perspective: str, a: float, b: float
) -> None:
    state = replace(emotion("Neutral"), probabilities=p)
    low, high = (
        PrototypeExpression(PrototypeSettings(perspective=perspective, intensity=i)).arkit(state, spoken=True)
        for i in sorted((a, b))
    )
    assert (low >= 0).all()
    assert (high <= 1).all()
    assert (high >= low - 1e-12).all()


@given(st.floats(), st.floats(), st.floats())
def test_broken_numbers_never_reach_the_target(probability: float, arousal: float, quality: float) -> None:
    person = seen("p1", "Happy")
    bad = replace(person.emotion, probabilities=np.full(7, probability), arousal=arousal, quality=quality)
    target = express(replace(person, emotion=bad))
    key, shown = target.keyframes[0], target.shown
    for value in (key.coefficients, key.jaw_pose, key.eyelids, target.gaze, target.confidence):
        assert np.isfinite(value).all()
    for value in (target.confidence, shown.strength, shown.intensity):
        assert 0 <= value <= 1
    assert np.isfinite([shown.valence, shown.arousal]).all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"perspective": "parrot"}, "parrot.*mirror, listener"),
        ({"intensity": 1.5}, "intensity"),
        ({"intensity": math.nan}, "intensity"),
        ({"valid_for": 0.0}, "valid_for"),
    ],
)
def test_wrong_settings_are_named(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PrototypeExpression(PrototypeSettings(**bad))


# --- the table the user edits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [{}, {"face": 0.4}])
def test_neutral_words_move_nothing_unless_something_is_seen_beside(beside: dict[str, float]) -> None:
    said = emotion("Neutral", 0.4)
    said.probabilities[:2] = 0.3, 0.05  # in a face this would be a trace of anger
    fine = np.full(28, 0.05)
    said = replace(
        said,
        evidence={"speech": 0.6, **beside},
        fine_label_set="goemotions28",
        fine_probabilities=fine,
        words=Speech("Bring me a glass of water.", 0.0),
    )
    face = PrototypeExpression(PrototypeSettings("mirror", 1.0)).arkit(said, spoken=True)
    assert face.any() == bool(beside)


def test_a_listener_answers_as_the_table_says() -> None:
    listener = load_perspectives(default_facs())["listener"]
    assert listener.answer({"Anger": 1.0}, False) == {"Concern": 0.8}
    assert listener.answer({"Sad": 0.5}, False) == {"Sympathy": pytest.approx(0.45)}
    assert listener.answer({}, True) == dict(listener.on_speech)


def test_the_users_own_tables_are_used_by_path(tmp_path: Path) -> None:
    facs, manners = tmp_path / "facs.yaml", tmp_path / "manners.yaml"
    facs.write_text(data_file("facs.yaml").read_text().replace("12: E, 25: C}", "12: A, 25: C}"))
    manners.write_text(data_file("perspectives.yaml").read_text().replace("Happy: {Happy: 0.8}", "Happy: {Happy: 1.0}"))
    options = {"perspective": "listener", "intensity": 1.0}
    own = PrototypeExpression(PrototypeSettings(facs_file=str(facs), perspectives_file=str(manners), **options))
    plain = PrototypeExpression(PrototypeSettings(**options))
    smile = ARKIT_INDEX["mouthSmileLeft"]
    assert own.arkit(emotion("Happy"))[smile] < 0.3 < plain.arkit(emotion("Happy"))[smile]
    cheek = ARKIT_INDEX["cheekSquintLeft"]
    assert own.arkit(emotion("Happy"))[cheek] > plain.arkit(emotion("Happy"))[cheek]
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        PrototypeExpression(PrototypeSettings(facs_file=str(tmp_path / "nowhere.yaml")))


def test_a_user_can_add_a_perspective(tmp_path: Path) -> None:
    text = data_file("perspectives.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text + "  stoic: {description: Shows little., same: 0.1, answers: {}, on_speech: {}}\n")
    table = load_perspectives(default_facs(), path)
    model = PrototypeExpression(PrototypeSettings(perspective="stoic", intensity=1.0), perspectives=table)
    assert 0 < model.arkit(emotion("Happy")).max() < 0.15


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Concern: 0.8", "Conern: 0.8", "mine.yaml.*listener.*Conern"),
        ("Concern: 0.8", "Concern: 8", "mine.yaml.*listener.answers.Anger.Concern.*less than or equal to 1"),
        ("same: 0.4", "sam: 0.4", "mine.yaml.*listener.sam"),
        ("perspectives:", "viewpoints:", "mine.yaml.*perspectives"),
        ("perspectives:", "perspectives: [", "mine.yaml.*YAML"),
    ],
)
def test_a_mistake_in_the_table_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    text = data_file("perspectives.yaml").read_text()
    before, found, after = text.rpartition(old) if old == "perspectives:" else text.partition(old)
    assert found
    path.write_text(before + new + after)
    with pytest.raises(ConfigError, match=message):
        load_perspectives(default_facs(), path)


# --- timed ----------------------------------------------------------------------------------------------------------


def test_words_are_answered_by_a_face_that_comes_and_goes() -> None:
    from emo_face.face.motion.motion import FaceMotion
    from emo_face.face.motion.player import Bases, FacePlayer

    model = PrototypeExpression(PrototypeSettings("mirror", timed=True, intensity=1.0))
    speech = Speech("We won!", 9.9)
    context = Context(10.0, scene(10.0, seen("p1", "Happy")), seen("p1", "Happy"), speech)
    target = model.express(context, 10.0)
    assert target.start == 10.0
    player, smile = FacePlayer(FaceMotion(0.02, layers=()), Bases()), ARKIT_INDEX["mouthSmileLeft"]
    faces = []
    for step in range(220):  # the node publishes ten times per second, and the driver goes on
        now = 10.0 + 0.02 * step
        if step % 5 == 0:
            later = model.express(replace(context, stamp=now), now)
            assert later.start == 10.0
            assert player.show(later, 0.0, now) == ""
        faces.append(player.tick(now)[smile])
    assert np.argmax(faces) * 0.02 < 2.5
    assert faces[-1] < 0.5 * max(faces)
    assert max(faces) > 0.4
    assert len(model.express(replace(context, speech=None), 15.0).keyframes) == 1
