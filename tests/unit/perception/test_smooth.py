"""The filter over time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_face.core.labels import basic7, label_set, top_of
from emo_face.core.types import Emotion
from emo_face.perception.smooth import EmotionSmoother

LABELS = basic7()


def emotion(label: str, p: float = 0.9, quality: float = 1.0) -> Emotion:
    values = np.full(7, (1 - p) / 6)
    values[LABELS.index(label)] = p
    return Emotion("basic7", values, values >= 0.5, 0.0, 0.0, {}, quality)


def top(result: list[Emotion]) -> str:
    return LABELS.labels[int(result[0].probabilities.argmax())]


@pytest.mark.parametrize("rate", [5, 10, 30, 60])
@pytest.mark.parametrize("strength", [0.9, 0.6])
def test_onset_within_300_ms_at_any_rate(rate: int, strength: float) -> None:
    smoother = EmotionSmoother(LABELS)
    steps = np.arange(0, 2, 1 / rate)
    for t in steps:
        smoother.update(["p1"], [emotion("Neutral", 0.95)], t)
    start = steps[-1]
    t = start + 1 / rate
    while top(smoother.update(["p1"], [emotion("Happy", strength)], t)) != "Happy":
        t += 1 / rate
    assert t - start <= 0.3


def test_one_wrong_frame_does_not_flip_the_label() -> None:
    smoother = EmotionSmoother(LABELS)
    for k in range(30):
        smoother.update(["p1"], [emotion("Happy", 0.8)], k / 30)
    assert top(smoother.update(["p1"], [emotion("Anger", 0.9)], 1.0)) == "Happy"
    assert top(smoother.update(["p1"], [emotion("Happy", 0.8)], 1.033)) == "Happy"


def test_frame_rate_does_not_change_the_result() -> None:
    results = []
    for rate in (10, 40):
        smoother = EmotionSmoother(LABELS, tau=0.5)
        smoother.update(["p1"], [emotion("Sad")], 0.0)
        for k in range(1, rate + 1):
            out = smoother.update(["p1"], [emotion("Happy")], k / rate)
        results.append(out[0].probabilities)
    np.testing.assert_allclose(results[0], results[1], atol=1e-9)


def test_new_id_and_long_absence_start_afresh() -> None:
    smoother = EmotionSmoother(LABELS, tau=5.0)
    smoother.update(["p1"], [emotion("Sad")], 0.0)
    assert top(smoother.update(["p2"], [emotion("Happy")], 0.1)) == "Happy"
    assert top(smoother.update(["p1"], [emotion("Happy")], 9.0)) == "Happy"
    smoother.update(["p1"], [emotion("Happy")], 9.1)
    assert top(smoother.update(["p1"], [emotion("Sad")], 1.0)) == "Sad"  # the clock jumped back


@pytest.mark.parametrize("sure", [0.6, 0.9, 0.999, 1.0])
def test_steady_input_comes_out_as_it_is(sure: float) -> None:
    smoother = EmotionSmoother(LABELS)
    given_ = emotion("Sad", sure)
    for k in range(5):
        out = smoother.update(["p1"], [given_], k / 30)[0]
    np.testing.assert_allclose(out.probabilities, given_.probabilities, atol=1e-12)


def test_without_evidence_nothing_is_said_and_an_old_label_goes_within_a_second() -> None:
    smoother = EmotionSmoother(LABELS)
    blind = Emotion("basic7", np.full(7, 1 / 7), np.zeros(7, bool), 0.0, 0.0, {}, 0.0)
    first = smoother.update(["p1"], [blind], 0.0)[0]
    assert (top_of(first), first.valence, first.arousal, first.quality) == ("", 0.0, 0.0, 0.0)
    for k in range(10):
        seen = smoother.update(["p2"], [emotion("Happy")], k / 30)[0]
    assert top_of(seen) == "Happy"
    assert seen.valence > 0.5
    gone = [smoother.update(["p2"], [blind], 0.3 + k / 30)[0] for k in range(1, 31)]
    assert top_of(gone[0]) == "Happy"  # one missed face changes nothing
    last = gone[-1]
    assert (top_of(last), last.valence, last.arousal, last.quality, last.evidence) == ("", 0.0, 0.0, 0.0, {})


def test_off_and_bad_parameters() -> None:
    smoother = EmotionSmoother(LABELS, tau=0.0)
    smoother.update(["p1"], [emotion("Sad")], 0.0)
    assert top(smoother.update(["p1"], [emotion("Happy")], 0.01)) == "Happy"
    with pytest.raises(ValueError, match="tau"):
        EmotionSmoother(LABELS, tau=float("nan"))


def test_thresholds_follow_the_filtered_values() -> None:
    smoother = EmotionSmoother(LABELS, thresholds=np.full(7, 0.5))
    smoother.update(["p1"], [emotion("Sad")], 0.0)
    out = smoother.update(["p1"], [emotion("Happy")], 0.01)[0]
    assert out.active[LABELS.index("Sad")]
    assert not out.active[LABELS.index("Happy")]


def test_several_labels_at_once_stay_independent() -> None:
    labels = label_set("emotic26")
    p = np.full(len(labels), 0.05)
    p[[3, 7]] = 0.9
    smoother = EmotionSmoother(labels)
    both = Emotion("emotic26", p, p > 0.5, 0.0, 0.0, quality=1.0)
    for k in range(30):
        out = smoother.update(["p1"], [both], k / 30)[0]
    np.testing.assert_allclose(out.probabilities, p, atol=1e-6)


def emotic(rest: float, valence: float = 0.0, arousal: float = 0.0, **named: float) -> Emotion:
    labels = label_set("emotic26")
    p = np.full(len(labels), rest)
    for name, value in named.items():
        p[labels.index(name)] = value
    return Emotion("emotic26", p, p > 0.5, valence, arousal, quality=1.0)


def test_rare_labels_of_many_are_not_lifted() -> None:
    labels = label_set("emotic26")
    thresholds = np.full(len(labels), 0.5)
    thresholds[labels.index("Embarrassment")] = 0.008
    smoother = EmotionSmoother(labels, thresholds=thresholds)
    given_ = emotic(0.0005, Embarrassment=0.004, Engagement=0.995)
    for k in range(10):
        out = smoother.update(["p1"], [given_], k / 30)[0]
    np.testing.assert_allclose(out.probabilities, given_.probabilities, rtol=1e-9)
    assert out.active.tolist() == [name == "Engagement" for name in labels.labels]


@pytest.mark.parametrize("rate", [10, 30])
def test_a_label_of_many_shows_within_300_ms(rate: int) -> None:
    smoother = EmotionSmoother(label_set("emotic26"), thresholds=np.full(26, 0.5))
    smoother.update(["p1"], [emotic(0.0)], 0.0)
    steps = 0
    found = False
    while not found:
        steps += 1
        found = bool(smoother.update(["p1"], [emotic(0.0, Fear=0.9)], steps / rate)[0].active.any())
    assert steps / rate <= 0.3 + 1e-9


def test_a_models_own_valence_and_arousal_are_filtered_not_replaced() -> None:
    smoother = EmotionSmoother(label_set("emotic26"), tau=0.5, own_affect=True)
    smoother.update(["p1"], [emotic(0.1, valence=-0.6, arousal=0.2)], 0.0)
    half = smoother.update(["p1"], [emotic(0.1, valence=0.4, arousal=0.8)], 0.5 * np.log(2))[0]
    assert (half.valence, half.arousal) == pytest.approx((-0.1, 0.5))
    held = smoother.update(["p1"], [emotic(0.1, valence=float("nan"), arousal=0.8)], 0.5)[0]
    assert (held.valence, held.arousal) == pytest.approx((-0.1, 0.5))
    first = smoother.update(["p2"], [emotic(0.1, valence=float("nan"), Fear=0.9)], 0.5)[0]
    assert (first.valence, first.arousal) == pytest.approx(label_set("emotic26").circumplex(first.probabilities))
    derived = EmotionSmoother(label_set("emotic26")).update(["p1"], [emotic(0.1, valence=-0.6)], 0.0)[0]
    assert derived.valence == pytest.approx(label_set("emotic26").circumplex(derived.probabilities)[0])


@given(st.lists(st.tuples(st.floats(-1, 1), st.lists(st.floats(allow_nan=True), min_size=7, max_size=7)), max_size=8))
def test_any_input_gives_a_distribution(frames: list[tuple[float, list[float]]]) -> None:
    smoother = EmotionSmoother(LABELS)
    now = 0.0
    for step, values in frames:
        now += step
        raw = Emotion("basic7", np.array(values), np.zeros(7, dtype=bool), 0.0, 0.0)
        out = smoother.update(["p1"], [raw], now)[0]
        assert out.probabilities.sum() == pytest.approx(1.0)
        assert np.isfinite(out.probabilities).all()
