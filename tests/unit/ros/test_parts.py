"""The parts of ros/ that need no ROS: stamps, newest-item slot, health, speech, QoS sentences."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_face.ros.clock import StampGate, seconds
from emo_face.ros.diagnostics import ERROR, OK, WARN, Health
from emo_face.ros.images.latest import Latest, Worker
from emo_face.ros.messages.speech import ALONE, BY_MOUTH, Heard, SpeechLimits, SpeechRefused, read_speech

finite = st.floats(-1e9, 1e9)


def stamp(sec: int, nanosec: int = 0) -> SimpleNamespace:
    return SimpleNamespace(sec=sec, nanosec=nanosec)


def test_seconds_of_a_stamp() -> None:
    assert seconds(stamp(12, 500_000_000)) == 12.5
    assert math.isnan(seconds(stamp(12, 1_000_000_000)))
    assert math.isnan(seconds(stamp(-1)))


@pytest.mark.parametrize(
    ("time", "now", "reason"),
    [
        (100.0, 100.1, ""),
        (100.0, 100.6, "stale"),
        (100.0, 99.0, "future"),
        (math.nan, 100.0, "invalid_stamp"),
        (math.inf, 100.0, "invalid_stamp"),
        (0.0, 100.0, "no_stamp"),
    ],
)
def test_a_stamp_is_admitted_or_refused_by_name(time: float, now: float, reason: str) -> None:
    gate = StampGate(0.5)
    verdict = gate.admit(time, now)
    assert verdict.reason == reason
    assert bool(verdict.fix) == bool(reason)


def test_simulated_time_that_never_began_is_no_fault_of_the_cameras_clock() -> None:
    assert "let something publish /clock" in StampGate(0.5).admit(100.0, 0.0).fix


def test_reordered_and_repeated_stamps_are_refused() -> None:
    gate = StampGate(0.5)
    assert gate.admit(100.0, 100.0).reason == ""
    assert gate.admit(100.0, 100.01).reason == "out_of_order"
    assert gate.admit(99.97, 100.02).reason == "out_of_order"
    assert gate.admit(100.03, 100.04).reason == ""


def test_a_clock_that_jumps_back_asks_to_forget_and_goes_on() -> None:
    gate = StampGate(0.5)
    gate.admit(100.0, 100.0)
    back = gate.admit(40.0, 40.1)
    assert (back.jumped, back.reason) == (True, "")
    after = gate.admit(40.03, 40.13)
    assert (after.jumped, after.reason) == (False, "")


@given(st.lists(st.tuples(st.one_of(finite, st.sampled_from([math.nan, math.inf])), finite), max_size=40))
def test_admitted_stamps_are_fresh_and_rise_between_jumps(pairs: list[tuple[float, float]]) -> None:
    gate = StampGate(0.5, 0.5)
    last = -math.inf
    for time, now in pairs:
        verdict = gate.admit(time, now)
        last = -math.inf if verdict.jumped else last
        if not verdict.reason:
            assert -0.5 <= now - time <= 0.5
            assert time > last
            last = time


def test_the_slot_keeps_the_newest_and_counts_the_rest() -> None:
    slot: Latest[int] = Latest()
    assert [slot.put(i) for i in range(5)] == [False, True, True, True, True]
    assert (slot.take(0.0), slot.take(0.0), slot.dropped) == (4, None, 4)
    slot.close()
    slot.put(1)
    assert slot.take() is None


def test_the_worker_handles_the_newest_and_survives_errors() -> None:
    entered, go, seen, errors = threading.Event(), threading.Event(), [], []

    def handle(item: int) -> None:
        seen.append(item)
        entered.set()
        assert go.wait(5)
        if item == 1:
            raise ValueError("bad item")

    worker = Worker("test", handle, errors.append)
    worker.slot.put(1)
    assert entered.wait(5)
    entered.clear()
    for i in range(2, 1002):  # a storm while one item is in hand
        worker.slot.put(i)
    go.set()
    assert entered.wait(5)
    assert worker.stop()
    assert seen == [1, 1001]
    assert worker.slot.dropped == 999
    assert str(errors[0]) == "bad item"


def test_health_shows_the_worst_condition_first_and_lets_old_ones_go() -> None:
    health = Health()
    assert health.report("active", 0.0).level == OK
    assert health.raise_condition("a", WARN, "slow", until=10.0)
    assert not health.raise_condition("a", WARN, "slower", until=10.0)
    health.raise_condition("b", ERROR, "broken")
    report = health.report("active", 5.0)
    assert (report.level, report.message) == (ERROR, "broken; slower")
    health.clear_condition("b")
    assert health.report("active", 11.0).message == "active"


def test_health_rates_and_quiet_times() -> None:
    health = Health()
    assert health.quiet_for("x", 3.0) == math.inf
    for i in range(300):
        health.tick("x", i / 30)
    assert float(health.report("active", 10.0).values["x.rate_hz"]) == pytest.approx(30, rel=0.05)
    assert float(health.report("active", 40.0).values["x.rate_hz"]) == 0.0
    assert health.quiet_for("x", 11.0) == pytest.approx(11 - 299 / 30)


LIMITS = SpeechLimits(ttl=5.0, min_confidence=0.5, max_bytes=100)


def live(final: str, confidence: float = 1.0, sec: int = 99, incremental: str = "", **more: object) -> SimpleNamespace:
    """hri_msgs/LiveSpeech."""
    header = SimpleNamespace(stamp=stamp(sec))
    return SimpleNamespace(final=final, confidence=confidence, header=header, incremental=incremental, **more)


@pytest.mark.parametrize("text", ["", "   ", "\n\t\x00", "...", "\u200b\ufeff", "?!"])
def test_text_without_content_is_refused(text: str) -> None:
    with pytest.raises(SpeechRefused) as refused:
        read_speech(SimpleNamespace(data=text), 100.0, LIMITS)
    assert refused.value.reason == "speech_empty"


@pytest.mark.parametrize("text", ["Ich bin traurig.", "我很难过", "मैं खुश हूँ", "أنا حزين", "😀", "👩‍👩‍👧"])
def test_every_script_passes_unchanged(text: str) -> None:
    assert read_speech(SimpleNamespace(data=text), 100.0, LIMITS).text == text


# jsk-ros-pkg/jsk_3rdparty#411 and alphacep/vosk-api#582: not filled, per cent, logarithms of probabilities
@pytest.mark.parametrize(("given", "heard"), [(0.0, 1.0), (-1.0, 1.0), (0.9, 0.9), (87.0, 0.87), (-0.3, 0.741)])
def test_confidence_in_every_convention_is_heard(given: float, heard: float) -> None:
    assert read_speech(live("hello", given), 100.0, LIMITS).confidence == pytest.approx(heard, abs=1e-3)


def test_json_brings_its_own_confidence_and_language() -> None:
    said = '{"text": "i am here", "language": "german", "segments": [{"avg_logprob": -0.1, "no_speech_prob": 0.01}]}'
    speech = read_speech(SimpleNamespace(data=said), 100.0, LIMITS)
    assert (speech.text, speech.locale) == ("i am here", "de")
    assert speech.confidence == pytest.approx(0.905, abs=1e-3)


def test_live_speech_of_every_release_is_read() -> None:
    assert read_speech(live("hello", locale="en_GB"), 100.0, LIMITS).locale == "en_GB"
    assert read_speech(live("hello", language="de"), 100.0, LIMITS).locale == "de"
    assert read_speech(live("hello", locale="", language="fr"), 100.0, LIMITS).locale == "fr"
    assert read_speech(live("hello"), 100.0, LIMITS).stamp == 99.0
    assert read_speech(live("hello", sec=0), 100.0, LIMITS).stamp == 100.0


@pytest.mark.parametrize(
    ("msg", "reason"),
    [
        (live("hi", confidence=0.2), "speech_unsure"),
        (live("hi", confidence=math.nan), "speech_unsure"),
        (live("hi", confidence=12.0), "speech_unsure"),
        (live("hi", confidence=-4.0), "speech_unsure"),
        (live("hi", confidence=1e6), "speech_unsure"),
        (live("[Music]"), "speech_empty"),
        (live("Thanks for watching!"), "speech_silence"),
        (live('{"partial": "hi"}'), "speech_partial"),
        (live("", incremental="hi"), "speech_partial"),
        (live("hi", sec=90), "speech_stale"),
        (live("hi", sec=200), "speech_stale"),
        (live(""), "speech_empty"),
    ],
)
def test_unsure_stale_and_unfinished_speech_is_refused(msg: SimpleNamespace, reason: str) -> None:
    with pytest.raises(SpeechRefused) as refused:
        read_speech(msg, 100.0, LIMITS)
    assert refused.value.reason == reason


def nobody(ids: Sequence[str], now: float) -> str:
    return ""


def test_words_go_to_who_said_them_or_to_the_room_and_never_to_the_largest() -> None:
    heard, said = Heard(), SimpleNamespace(data="hello")
    assert heard.assign(["p1", "p2"], 100.0, 5.0, nobody) == ({}, None)
    heard.hear(read_speech(said, 100.0, LIMITS))
    people, room = heard.assign(["p1", "p2"], 101.0, 5.0, nobody)
    assert people == {}
    assert room is not None
    assert room.text == "hello"
    assert heard.assign(["p1"], 102.0, 5.0, nobody)[0] == {}  # decided when it was said
    assert heard.assign(["p1"], 105.1, 5.0, nobody) == ({}, None)
    assert heard.assign(["p1"], 99.0, 5.0, nobody) == ({}, None)  # from before a clock jump
    heard.hear(read_speech(said, 200.0, LIMITS))
    moved, _ = heard.assign(["p1", "p2"], 200.5, 5.0, lambda ids, now: "p1")
    assert moved["p1"].attribution == BY_MOUTH
    assert set(heard.assign(["p1", "p2"], 201.0, 5.0, lambda ids, now: "p2")[0]) == {"p1"}
    assert heard.assign(["p2"], 202.0, 5.0, nobody)[1] is not None  # the speaker is gone, the words are still answered
    heard.hear(read_speech(said, 300.0, LIMITS))
    assert heard.assign(["p3"], 300.5, 5.0, nobody)[0]["p3"].attribution == ALONE
    heard.hear(replace(read_speech(said, 400.0, LIMITS), speaker="p2"))
    assert set(heard.assign(["p1", "p2"], 400.5, 5.0, lambda ids, now: "p1")[0]) == {"p2"}


def test_sentences_about_qos_name_the_parameter() -> None:
    pytest.importorskip("rclpy")
    from emo_face.ros.qos import mismatch

    assert "qos_overrides./image.subscription.durability to volatile" in mismatch(
        "/image", "durability", "subscription", "x"
    )
    assert "qos_overrides./face.publisher.deadline to more" in mismatch("/face", "deadline", "publisher", "x")


@pytest.mark.parametrize(
    ("stamp", "now", "words"),
    [
        (1_700_000_000.0, 1_790_000_000.0, "3 years old, as of a recording: play it with `ros2 bag play --clock`"),
        (1_790_000_000.0 - 300, 1_790_000_000.0, "300 s old, as of a recording"),
        (812.0, 1_790_000_000.0, "let the camera's driver stamp with the system's time"),
        (1_790_000_000.0 - 3, 1_790_000_000.0, "run chrony, or raise max_age"),
        (1_790_000_000.0, 0.0, "let something publish /clock"),
        (1_790_000_003.0, 1_790_000_000.0, "the clocks of the two machines differ"),
        (10.0, 95.0, "as of a recording"),  # both in simulated time
    ],
)
def test_what_is_wrong_with_a_stamp_is_told_by_its_distance(stamp: float, now: float, words: str) -> None:
    assert words in StampGate(0.5).admit(stamp, now).fix
