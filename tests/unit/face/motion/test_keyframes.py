"""An expression over time, played."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.types import Array, ExpressionTarget, Keyframe, Shown
from emo_face.face.expressions.basis import Basis, open_basis
from emo_face.face.expressions.facs import default_facs
from emo_face.face.motion.keyframes import Decoder
from emo_face.face.motion.motion import FaceMotion
from emo_face.face.motion.player import FacePlayer

SMILE, BROW, DT = ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["browInnerUp"], 0.01


def face(**values: float) -> Array:
    out = np.zeros(52)
    for name, value in values.items():
        out[ARKIT_INDEX[name]] = value
    return out


def target(*faces: tuple[float, Array], stamp: float = 100.0, **changes: Any) -> ExpressionTarget:
    keys = tuple(
        Keyframe(offset, code.coefficients, code.jaw_pose, code.eyelids)
        for offset, code in ((offset, open_basis().encode(arkit)) for offset, arkit in faces)
    )
    given: dict[str, Any] = {
        "stamp": stamp,
        "person_id": "p1",
        "perspective": "mirror",
        "feels": None,
        "shown": Shown("Happy", 1.0, 1.0),
        "keyframes": keys,
        "basis": "open-ict-1",
        "gaze": np.zeros(2),
        "confidence": 1.0,
        "valid_for": 5.0,
        "source": "test",
    }
    return ExpressionTarget(**{**given, **changes})


def player(**options: Any) -> FacePlayer:
    def basis(name: str) -> Basis:
        if name != "open-ict-1":
            raise KeyError(name)
        return open_basis()

    return FacePlayer(FaceMotion(DT, layers=()), basis, **options)


def play(one: FacePlayer, start: float, seconds: float) -> Array:
    return np.array([one.tick(start + k * DT).copy() for k in range(1, round(seconds / DT) + 1)])


SMILE_AND_BACK = ((0.0, face()), (0.6, face(mouthSmileLeft=0.8, mouthSmileRight=0.8)), (1.6, face(browInnerUp=0.5)))


def test_keyframes_are_reached_at_their_times_in_order() -> None:
    one = player()
    assert one.show(target(*SMILE_AND_BACK), 0.0, 10.0) == ""
    faces = play(one, 10.0, 2.4)
    apex = faces[:, SMILE].argmax() * DT
    assert apex == pytest.approx(0.6, abs=0.2)
    assert faces[:, SMILE].max() > 0.55
    assert faces[round(1.7 / DT), SMILE] < 0.15
    assert faces[round(1.8 / DT), BROW] == pytest.approx(0.5, abs=0.1)
    assert faces[-1, BROW] > 0.4  # the last one is held


def test_published_again_with_the_same_start_it_goes_on() -> None:
    once, again = player(), player()
    once.show(target(*SMILE_AND_BACK, start=100.0), 0.0, 10.0)
    for k in range(20):
        later = target(*SMILE_AND_BACK, stamp=100.0 + 0.1 * k, start=100.0)
        assert again.show(later, 0.0, 10.0 + 0.1 * k) == ""
        if k == 0:
            faces = play(once, 10.0, 2.0)
            repeated = []
        repeated.append(play(again, 10.0 + 0.1 * k, 0.1))
    np.testing.assert_allclose(np.concatenate(repeated), faces, atol=1e-9)


def test_one_that_comes_late_joins_in_the_middle() -> None:
    one = player()
    assert one.show(target(*SMILE_AND_BACK), 1.5, 10.0) == ""
    assert play(one, 10.0, 0.8)[-1, BROW] > 0.4
    assert one.show(target(*SMILE_AND_BACK), 5.5, 20.0) == "stale"


def test_a_sequence_outlives_the_drivers_timeout_but_not_its_validity() -> None:
    one = player(timeout=0.5)
    one.show(target(*SMILE_AND_BACK), 0.0, 10.0)
    assert play(one, 10.0, 1.9)[-1, BROW] > 0.3
    assert play(one, 11.9, 2.0)[-1].max() < 0.05
    short = player()
    short.show(target(*SMILE_AND_BACK, valid_for=0.5), 0.0, 10.0)
    assert play(short, 10.0, 2.0)[-1].max() < 0.05


@pytest.mark.parametrize("stop", ["neutral", "estop"])
def test_neutral_and_emergency_stop_end_it(stop: str) -> None:
    one = player()
    one.show(target(*SMILE_AND_BACK), 0.0, 10.0)
    before = play(one, 10.0, 0.5)[-1]
    if stop == "neutral":
        one.neutral(10.5)
        assert play(one, 10.5, 1.5)[-1].max() < 0.02
    else:
        one.estop(True, 10.5)
        after = play(one, 10.5, 1.5)
        np.testing.assert_array_equal(after[-1], before)
        np.testing.assert_array_equal(one.ahead, before)


def test_arkits_own_activations_need_no_basis() -> None:
    key = Keyframe(0.0, face(cheekPuff=0.7), np.zeros(3), np.zeros(2))
    one = player()
    assert one.show(target(keyframes=(key,), basis="arkit-52"), 0.0, 10.0) == ""
    assert play(one, 10.0, 1.0)[-1, ARKIT_INDEX["cheekPuff"]] == pytest.approx(0.7, abs=0.02)
    bad = Keyframe(0.0, np.zeros(100), np.zeros(3), np.zeros(2))
    assert one.show(target(keyframes=(bad,), basis="arkit-52"), 0.0, 10.0) == "nonfinite"


def test_what_nobody_can_decode_is_shown_by_its_prototype() -> None:
    one, smile = player(), {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}
    happy = Shown("Happy", 0.8, 0.8)
    poses = ((0.0, face()), (0.5, face(**smile)), (1.5, face(mouthSmileLeft=0.4, mouthSmileRight=0.4)))
    unknown = target(*poses, basis="flame1999", shown=happy)
    assert one.show(unknown, 0.0, 10.0) == ""
    assert one.stand_in
    faces = play(one, 10.0, 2.2)
    full = default_facs().arkit({"Happy": 0.8})[SMILE]
    assert faces[:, SMILE].max() == pytest.approx(full, rel=0.15)  # the strongest keyframe is as strong as said
    assert faces[-1, SMILE] == pytest.approx(full / 2, rel=0.25)  # and the others as they are beside it
    assert one.show(target(*poses), 0.0, 20.0) == ""
    assert not one.stand_in
    rest = target((0.0, face(**smile)), basis="flame1999", shown=Shown())
    assert one.show(rest, 0.0, 30.0) == ""
    assert play(one, 30.0, 1.5)[-1].max() < 0.02
    assert one.show(target(*poses, basis="flame1999", shown=Shown("Hunger", 1.0)), 0.0, 40.0) == "basis"


def test_what_is_published_again_is_not_solved_again() -> None:
    solved: list[int] = []

    class Counting:
        def decode(self, code: Any, start: Any) -> Array:
            solved.append(1)
            return np.zeros(52)

    decode = Decoder(lambda name: Counting())  # type: ignore[arg-type, return-value]
    for _ in range(5):
        decode(target(*SMILE_AND_BACK))
    assert len(solved) == 3
    decode(target((0.0, face(jawOpen=0.5))))
    assert len(solved) == 4
