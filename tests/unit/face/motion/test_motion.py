"""The living face: smooth, never overshooting, seeded, and human in its blinks, gaze, breath and speech."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from arkit_values import arkit_values as face
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.face.expressions.boxqp import solve_box_qp
from emo_face.face.expressions.boxqp_warm import WarmBoxQP
from emo_face.face.motion.blink import Blinks
from emo_face.face.motion.data import motion_data
from emo_face.face.motion.gaze import eye_angles, eye_channels
from emo_face.face.motion.motion import LAYERS, FaceMotion

DT = 0.01
BLINK = ARKIT_INDEX["eyeBlinkLeft"]
SMILE = ARKIT_INDEX["mouthSmileLeft"]
JAW = ARKIT_INDEX["jawOpen"]
NAN = float("nan")


def play(
    motion: FaceMotion, seconds: float, start: float = 0.0, target: np.ndarray | None = None, **options: object
) -> np.ndarray:
    """(ticks, 52) of a face that gets ``target`` at 10 Hz."""
    frames = []
    for k in range(round(seconds / DT)):
        now = start + k * DT
        if target is not None and k % 10 == 0:
            motion.set_target(target, now, 1.0, **options)  # type: ignore[arg-type]
        frames.append(motion.tick(now))
    return np.array(frames)


def test_onset_takes_about_half_a_second_and_never_overshoots() -> None:
    frames = play(FaceMotion(DT, layers=()), 3.0, target=face(mouthSmile=0.8))
    smile = frames[:, SMILE]
    assert (np.diff(smile) >= -1e-12).all()
    assert smile.max() <= 0.8 + 1e-12
    ninety = np.argmax(smile > 0.72) * DT
    assert 0.25 < ninety < 0.6
    assert smile[-1] == pytest.approx(0.8, abs=1e-6)


def test_output_is_smooth_between_sparse_targets() -> None:
    motion, rng, frames = FaceMotion(DT, layers=()), np.random.default_rng(1), []
    for k in range(1000):
        if k % 33 == 0:
            motion.set_target(rng.random(52), k * DT, 1.0)
        frames.append(motion.tick(k * DT))
    steps = np.diff(np.array(frames), axis=0)
    others = [i for i, name in enumerate(ARKIT_52) if not name.startswith("eye")]
    assert np.abs(steps[:, others]).max() < 2 / 0.5 * DT * 1.01, "velocity of a half-second move"
    assert np.abs(np.diff(steps[:, others], axis=0)).max() < 8 / 0.5**2 * DT**2 * 1.01, "and its acceleration"


def test_arousal_quickens() -> None:
    def time_to(arousal: float) -> float:
        motion = FaceMotion(DT, layers=())
        play(motion, 2.0, target=np.zeros(52), arousal=arousal)
        smile = play(motion, 3.0, 2.0, face(mouthSmile=0.8), arousal=arousal)[:, SMILE]
        return float(np.argmax(smile > 0.72) * DT)

    assert time_to(1.0) < 0.8 * time_to(0.0) < 0.8 * 0.8 * time_to(-1.0)


def test_intensity_scales_and_bad_numbers_are_cut() -> None:
    motion = FaceMotion(DT, layers=())
    assert play(motion, 2.0, target=face(mouthSmile=0.8), intensity=0.5)[-1, SMILE] == pytest.approx(0.4, abs=1e-6)
    assert play(motion, 2.0, 2.0, face(mouthSmile=7.0), intensity=3.0, arousal=9.0)[-1, SMILE] == pytest.approx(1.0)


def test_hold_then_relax_to_the_sustained_share() -> None:
    e = motion_data().expression
    smile = play(FaceMotion(DT, layers=()), 20.0, target=face(mouthSmile=0.8))[:, SMILE]
    assert smile[round((e.hold_s - 0.1) / DT)] == pytest.approx(0.8, abs=1e-3)
    assert smile[-1] == pytest.approx(0.8 * e.sustain, abs=0.01)


def test_stale_targets_ease_to_neutral_in_neutral_time() -> None:
    motion = FaceMotion(DT, layers=(), neutral_time=1.0)
    play(motion, 1.0, target=face(mouthSmile=0.8))
    later = play(motion, 4.0, 1.0)[:, SMILE]
    assert motion.stale
    assert motion.settled
    assert later[80] == pytest.approx(0.8, abs=1e-6), "valid for a second after the last target"
    assert 0.2 < later[150] < 0.6
    assert later[230] < 0.01


@pytest.mark.parametrize(
    ("arkit", "valid_for", "extra", "reason"),
    [
        (np.zeros(51), 1.0, {}, "length"),
        ([], 1.0, {}, "length"),
        (np.full(52, NAN), 1.0, {}, "nonfinite"),
        (np.full(52, math.inf), 1.0, {}, "nonfinite"),
        (["a"] * 52, 1.0, {}, "nonfinite"),
        (np.zeros(52), 0.0, {}, "valid_for"),
        (np.zeros(52), -1.0, {}, "valid_for"),
        (np.zeros(52), NAN, {}, "nonfinite"),
        (np.zeros(52), 1.0, {"intensity": NAN}, "nonfinite"),
        (np.zeros(52), 1.0, {"arousal": math.inf}, "nonfinite"),
        (np.zeros(52), 1.0, {"gaze": (NAN, 0.0)}, "nonfinite"),
        (np.zeros(52), 1.0, {"gaze": (0.1,)}, "length"),
    ],
)
def test_bad_targets_are_refused_and_counted(
    arkit: object, valid_for: float, extra: dict[str, object], reason: str
) -> None:
    motion = FaceMotion(DT, layers=())
    play(motion, 0.5, target=face(mouthSmile=0.8))
    assert motion.set_target(arkit, 0.5, valid_for, **extra) is False  # type: ignore[arg-type]
    assert motion.rejected == {reason: 1}
    assert play(motion, 0.4, 0.5)[-1, SMILE] == pytest.approx(0.8, abs=1e-6)


def test_noise_in_the_targets_is_not_followed_but_a_new_standing_target_is() -> None:
    motion, rng = FaceMotion(DT, layers=()), np.random.default_rng(0)
    play(motion, 1.5, target=face(mouthSmile=0.5))
    noisy = []
    for k in range(100):
        now = 1.5 + k * DT
        motion.set_target(face(mouthSmile=0.5 + float(rng.uniform(-0.008, 0.008))), now, 1.0)
        noisy.append(motion.tick(now)[SMILE])
    assert np.ptp(noisy) < 1e-9
    assert play(motion, 1.3, 2.5, face(mouthSmile=0.505))[-1, SMILE] == pytest.approx(0.505, abs=1e-6)


def test_same_seed_same_face_and_other_seed_another() -> None:
    one, same, other = (play(FaceMotion(DT, seed=s), 20.0, target=face(mouthSmile=0.5)) for s in (4, 4, 5))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.5


@pytest.mark.parametrize("layer", ["blink", "saccades", "breathing"])
def test_each_idle_layer_alone_moves_the_face_and_none_keeps_it_still(layer: str) -> None:
    assert np.ptp(play(FaceMotion(DT, layers=()), 15.0), axis=0).max() < 1e-12
    moved = np.ptp(play(FaceMotion(DT, layers=[layer]), 15.0), axis=0)
    assert moved.max() > 0.005
    touched = {ARKIT_52[i] for i in np.flatnonzero(moved > 1e-12)}
    expected = {"blink": "eyeBlink", "saccades": "eyeLook"}.get(layer)
    assert expected is None or all(name.startswith(expected) for name in touched)


def test_a_layer_can_be_switched_while_running() -> None:
    motion = FaceMotion(DT, layers=())
    motion.switch("breathing", True)
    assert np.ptp(play(motion, 3.0), axis=0).max() > 0.005
    motion.switch("breathing", False)
    assert np.ptp(play(motion, 3.0, 3.0), axis=0).max() < 1e-12
    with pytest.raises(ValueError, match="unknown layer 'wink'"):
        motion.switch("wink", True)
    assert set(LAYERS) == {"blink", "saccades", "breathing", "lips", "gaze"}


def blinks(minutes: float, arousal: float = 0.0, lids: float = 0.0, speaking: bool = False, seed: int = 0) -> Blinks:
    layer = Blinks(motion_data().blink, np.random.default_rng(seed))
    for k in range(round(minutes * 60 / 0.02)):
        layer.closure(k * 0.02, lids, arousal, speaking)
    return layer


def test_blink_rates_are_human() -> None:
    d = motion_data().blink
    assert blinks(60).count / 60 == pytest.approx(d.rate_per_min, rel=0.08)
    assert blinks(60, arousal=1.0).count / 60 == pytest.approx(d.rate_per_min * (1 + d.arousal_gain), rel=0.08)
    assert blinks(60, speaking=True).count / 60 == pytest.approx(d.speaking_rate_per_min, rel=0.08)
    assert blinks(10, lids=0.9).count == 0, "closed lids do not blink"


def test_a_blink_closes_fast_opens_slowly_and_closes_fully() -> None:
    frames = play(FaceMotion(DT, seed=1, layers=["blink"]), 60.0)[:, BLINK]
    starts = np.flatnonzero((frames[1:] > 1e-9) & (frames[:-1] <= 1e-9))
    assert len(starts) > 8
    for start in starts[:-1]:
        one = frames[start : start + 45]
        peak = int(np.argmax(one))
        assert one[peak] == pytest.approx(1.0, abs=0.05)
        assert 6 <= peak <= 13, "about a tenth of a second down"
        assert 18 <= np.flatnonzero(one[peak:] < 0.05)[0] <= 28, "about a quarter up again"


def test_a_wide_eyed_face_blinks_shut() -> None:
    motion = FaceMotion(DT, seed=1, layers=["blink"])
    frames = play(motion, 30.0, target=face(eyeWide=0.9))
    shut = frames[frames[:, BLINK] > 0.98]
    assert len(shut)
    assert shut[:, ARKIT_INDEX["eyeWideLeft"]].max() < 0.05


def test_large_gaze_shifts_bring_blinks() -> None:
    d = motion_data().blink
    small = large = 0
    for seed in range(200):
        for degrees in (5.0, 40.0):
            layer = Blinks(d, np.random.default_rng(seed))
            layer.closure(0.0, 0.0)
            layer.on_gaze_shift(degrees, 0.1)
            layer.closure(0.1, 0.0)
            if degrees > 30:
                large += layer.count
            else:
                small += layer.count
    assert small == 0
    assert large / 200 == pytest.approx(d.gaze_shift_most, abs=0.04)


def test_gaze_follows_in_a_saccade_and_look_at_wins() -> None:
    motion = FaceMotion(DT, layers=["gaze"])
    frames = play(motion, 1.0, target=np.zeros(52), gaze=(0.3, -0.1))
    limit = math.radians(motion_data().gaze.eye_range_deg)
    assert eye_angles(frames[-1], limit) == pytest.approx((0.3, -0.1), abs=0.005)
    way = frames[:, ARKIT_INDEX["eyeLookOutLeft"]]
    assert 3 <= np.count_nonzero((way > 0.01) & (way < 0.98 * way[-1])) <= 9, "a saccade of 18 degrees takes 60 ms"
    assert (np.diff(way) >= -1e-12).all()
    motion.look_at(-0.2, 0.2, 1.0, 0.5)
    assert eye_angles(play(motion, 0.4, 1.0)[-1], limit) == pytest.approx((-0.2, 0.2), abs=0.01)
    assert eye_angles(play(motion, 0.5, 1.4, np.zeros(52), gaze=(0.3, -0.1))[-1], limit) == pytest.approx(
        (0.3, -0.1), abs=0.01
    )
    assert not motion.look_at(NAN, 0.0, 2.0)
    assert not motion.look_at(0.0, 0.0, 2.0, valid_for=0.0)


def test_an_expression_that_looks_down_keeps_looking_down_without_a_gaze_target() -> None:
    frames = play(FaceMotion(DT), 2.0, target=face(eyeLookDown=0.6))
    assert frames[-50:, ARKIT_INDEX["eyeLookDownLeft"]].mean() == pytest.approx(0.6, abs=0.05)


def test_micro_saccades_stay_small_and_come_about_once_a_second() -> None:
    limit = math.radians(motion_data().gaze.eye_range_deg)
    frames = play(FaceMotion(DT, seed=2, layers=["saccades"]), 120.0)
    angles = np.degrees([eye_angles(f, limit) for f in frames])
    assert np.hypot(*angles.T).max() <= 1.0, "below one degree"
    still = (np.abs(np.diff(angles, axis=0)) < 1e-9).all(axis=1)
    starts = np.count_nonzero(~still[1:] & still[:-1])
    assert starts / 120 == pytest.approx(motion_data().saccades.rate_hz, rel=0.3)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_eye_channels_and_angles_agree(yaw: float, pitch: float) -> None:
    values = np.zeros(52)
    eye_channels(yaw, pitch, 1.0, values)
    assert eye_angles(values, 1.0) == pytest.approx((yaw, pitch), abs=1e-12)
    assert ((values >= 0) & (values <= 1)).all()
    assert (values[ARKIT_INDEX["eyeLookOutLeft"]] > 0) == (values[ARKIT_INDEX["eyeLookInRight"]] > 0) == (yaw > 0)


def test_breathing_is_a_slow_cycle_that_arousal_quickens() -> None:
    def cycles(arousal: float) -> int:
        motion = FaceMotion(DT, layers=["breathing"])
        jaw = play(motion, 60.0, target=np.zeros(52), arousal=arousal)[:, JAW]
        middle = jaw - jaw.mean()
        return int(np.count_nonzero((middle[1:] > 0) & (middle[:-1] <= 0)))

    assert 12 <= cycles(0.0) <= 16
    assert cycles(1.0) >= 18


def speak(motion: FaceMotion, names: Sequence[str], start: float = 0.0) -> np.ndarray:
    frames = []
    for k, name in enumerate(names):
        motion.viseme(name, start + 0.1 * k)
        frames += [motion.tick(start + 0.1 * k + DT * j) for j in range(10)]
    return np.array(frames)


def test_visemes_move_the_mouth_over_the_expression_and_fade() -> None:
    motion = FaceMotion(DT, layers=["lips"])
    play(motion, 1.0, target=face(mouthSmile=0.5))
    frames = speak(motion, ["aa", "PP", "aa", "ou"], 1.0)
    assert frames[8, JAW] > 0.4
    assert frames[18, JAW] < 0.25, "lips close on p"
    assert frames[38, ARKIT_INDEX["mouthPucker"]] > 0.5
    assert frames[:, SMILE].min() > 0.4, "the smile stays"
    after = play(motion, 2.0, 1.4, face(mouthSmile=0.5))
    assert after[-1, JAW] < 0.01
    assert not motion.viseme("xyz", 5.0)
    assert not motion.viseme("aa", 5.0, weight=NAN)


def test_the_loudness_opens_the_mouth() -> None:
    motion = FaceMotion(DT, layers=["lips"])
    frames = []
    for k in range(200):
        motion.envelope(0.9 if (k // 20) % 2 else 0.0, k * DT)
        frames.append(motion.tick(k * DT)[JAW])
    assert max(frames) > 0.3
    assert min(frames[100:]) < 0.1
    assert not motion.envelope(NAN, 3.0)


def test_a_backward_clock_moves_nothing_and_life_goes_on() -> None:
    motion = FaceMotion(DT, seed=3)
    play(motion, 5.0, 1000.0, face(mouthSmile=0.7))
    before = motion.tick(1005.0)
    again = motion.tick(3.0)
    others = [i for i, name in enumerate(ARKIT_52) if not name.startswith("eye")]
    np.testing.assert_allclose(again[others], before[others], atol=0.02)
    frames = play(motion, 30.0, 3.0, face(mouthSmile=0.7))
    assert frames[-1, SMILE] > 0.4
    assert (frames[:, BLINK] > 0.9).any(), "blinks go on"


values = st.one_of(st.floats(-2, 2), st.floats())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(values, min_size=52, max_size=52), values, values, st.floats(-1, 2)), max_size=12))
def test_whatever_comes_in_the_face_stays_finite_and_in_range(
    calls: list[tuple[list[float], float, float, float]],
) -> None:
    motion, now = FaceMotion(DT), 0.0
    for arkit, valid_for, scalar, dt in calls:
        motion.set_target(arkit, now, valid_for, intensity=scalar, arousal=scalar, gaze=(scalar, valid_for))
        motion.look_at(scalar, valid_for, now)
        motion.viseme("aa", now, scalar, valid_for)
        motion.envelope(scalar, now)
        now += dt
        out = motion.tick(now)
        assert np.isfinite(out).all()
        assert ((out >= 0) & (out <= 1)).all()


@pytest.mark.parametrize(
    "bad", [{"period": 0.0}, {"neutral_time": NAN}, {"neutral": np.zeros(3)}, {"layers": ["tail"]}]
)
def test_bad_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"positive|neutral|layer"):
        FaceMotion(**bad)  # type: ignore[arg-type]


def test_warm_started_programs_give_the_exact_answer() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a = rng.normal(size=(14, 10))
        warm, g = WarmBoxQP(a.T @ a + 1e-3 * np.eye(10)), rng.normal(size=10)
        for _ in range(60):
            g = g + 0.2 * rng.normal(size=10)
            np.testing.assert_allclose(warm.solve(g), solve_box_qp(warm._hessian, g), atol=1e-7)
