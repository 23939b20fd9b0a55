"""The fixed-rate loop on an injected clock, and Live Link packets."""

from __future__ import annotations

import gc
import math
import os
import socket
import struct
import sys
import threading

import numpy as np
import pytest
from live_link import decode

from emo_face.bench.probes.limit_check import try_commands
from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.face.control.jitter import Jitter
from emo_face.face.control.loop import FixedRateLoop
from emo_face.face.control.realtime import realtime_process
from emo_face.face.drivers.livelink import LiveLinkFrame, LiveLinkSender, encode, values_of


class Clock:
    """Time that passes only when somebody sleeps or works; ``late`` delays wake-ups."""

    def __init__(self) -> None:
        self.now, self.late = 100.0, 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.late


def play(ticks: int, work: list[float] | None = None, late: float = 0.0) -> tuple[FixedRateLoop, list[float]]:
    clock, deadlines = Clock(), []
    clock.late = late

    def step(now: float) -> None:
        deadlines.append(now)
        clock.now += (work or [0.0])[len(deadlines) % len(work or [0.0])]

    loop = FixedRateLoop(step, 100.0, clock, clock.sleep, realtime=False)
    loop.run(lambda: len(deadlines) >= ticks)
    return loop, deadlines


def test_deadlines_are_exact_multiples_and_lateness_does_not_add_up() -> None:
    loop, deadlines = play(1000, work=[0.002, 0.006], late=0.0007)
    np.testing.assert_allclose(np.diff(deadlines), 0.01)
    summary = loop.jitter.summary()
    assert summary.ticks == 1000
    assert summary.missed == 0
    assert summary.p99_ms == pytest.approx(0.7, abs=1e-6)


def test_an_overrun_skips_deadlines_and_counts_them() -> None:
    work = [0.0] * 10
    work[5] = 0.0354
    loop, deadlines = play(20, work)
    gaps = np.round(np.diff(deadlines) / 0.01).astype(int)
    assert set(gaps) == {1, 3}, "it does not hurry afterwards"
    assert loop.jitter.missed == 2 * 2


def test_a_failing_step_is_counted_and_the_loop_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    clock, calls = Clock(), []

    def step(now: float) -> None:
        calls.append(now)
        raise RuntimeError("boom")

    loop = FixedRateLoop(step, 100.0, clock, clock.sleep, realtime=False)
    loop.run(lambda: len(calls) >= 50)
    assert loop.errors == 50
    assert len(caplog.records) == 2, "the first and the tenth"
    assert "boom" in caplog.text


def test_it_runs_in_a_thread_and_stops() -> None:
    enough, count = threading.Event(), []

    def step(now: float) -> None:
        count.append(now)
        if len(count) == 20:
            enough.set()

    loop = FixedRateLoop(step, 200.0)
    loop.start()
    loop.start()
    assert enough.wait(5.0)
    assert loop.running
    loop.stop()
    assert not loop.running
    ticks = len(count)
    assert threading.active_count() < 20
    assert len(count) == ticks


def test_a_thread_that_hung_while_it_was_stopped_does_not_tick_beside_the_next() -> None:
    hung, free, again = threading.Event(), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def step(now: float) -> None:
        threads.append(threading.current_thread())
        if not hung.is_set():  # a bus that answers no more
            hung.set()
            free.wait(20.0)
        elif len(threads) > 20:
            again.set()

    loop = FixedRateLoop(step, 500.0, realtime=False)
    loop.start()
    assert hung.wait(5.0)
    loop.stop(timeout=0.01)
    loop.start()
    free.set()
    threads[0].join(5.0)
    assert not threads[0].is_alive()
    assert again.wait(5.0)
    loop.stop()
    assert threads.count(threads[0]) == 1


def test_rates_out_of_range() -> None:
    for rate in (0.5, 2000.0, math.nan):
        with pytest.raises(ValueError, match="rate"):
            FixedRateLoop(lambda now: None, rate)


def test_jitter_keeps_only_its_window() -> None:
    jitter = Jitter(0.01, window=100)
    for k in range(1000):
        jitter.add(0.001 * (k >= 900))
    assert jitter.summary().p50_ms == pytest.approx(1.0)
    jitter.reset()
    assert jitter.summary().ticks == 0


def test_limit_check_finds_nothing_and_uses_the_limits_fully() -> None:
    check = try_commands(seed=1, actuators=500, ticks=200)
    assert check.commands == 100_000
    assert check.violations == 0
    assert min(check.worst) > 0.98


def test_livelink_packet_byte_by_byte() -> None:
    values = np.arange(61) / 100
    packet = encode(LiveLinkFrame("dev", "robot", 513, 0.25, (60, 1), values))
    assert packet[:1] == b"\x06"
    assert packet[1:8] == b"\x00\x00\x00\x03dev"
    assert packet[8:17] == b"\x00\x00\x00\x05robot"
    assert packet[17:33] == struct.pack(">ifii", 513, 0.25, 60, 1)
    assert packet[33] == 61
    assert struct.unpack(">61f", packet[34:]) == pytest.approx(tuple(values))
    assert len(packet) == 34 + 244


def test_livelink_values_and_eyes() -> None:
    face = np.zeros(52)
    face[ARKIT_INDEX["jawOpen"]] = 0.7
    face[[ARKIT_INDEX["eyeLookOutLeft"], ARKIT_INDEX["eyeLookInRight"]]] = 0.5
    face[ARKIT_INDEX["browInnerUp"]] = math.nan
    values = values_of(face)
    assert values[17] == 0.7
    assert values[43] == 0.0, "NaN counts as 0"
    assert values[55] == values[58] == pytest.approx(math.radians(15)), "both eyes to the left"
    assert len(ARKIT_52) == 52


def test_livelink_over_a_real_socket() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5.0)
        sender = LiveLinkSender(port=receiver.getsockname()[1], subject="Émo", fps=60)
        face = np.linspace(0, 1, 52)
        assert sender.send(face, 10.004)
        packet = receiver.recv(2048)
        frame = decode(packet)
        sender.close()
    # PyLiveLinkFace's decode, and receivers in Python and Rust made after it, know places for the app's device id only
    (length,) = struct.unpack("!i", packet[41:45])
    assert (packet[4:41].decode()[0], packet[45 : 45 + length].decode()) == ("$", "Émo")
    assert struct.unpack("!if2ib", packet[45 + length : 62 + length])[2:] == (60, 1, 61)
    assert struct.unpack("!61f", packet[62 + length :]) == pytest.approx(tuple(frame.values))
    assert frame.subject == "Émo"
    assert frame.frame == 600
    assert frame.subframe == pytest.approx(0.24, abs=1e-3)
    np.testing.assert_allclose(frame.values[:52], face, atol=1e-6)


def test_livelink_closed_socket_is_counted_and_bad_hosts_are_refused() -> None:
    sender = LiveLinkSender()
    sender.close()
    assert sender.send(np.zeros(52), 0.0) is False
    assert sender.dropped == 1
    assert sender.error
    with pytest.raises(ConfigError, match="Live Link receiver"):
        LiveLinkSender("no such host")
    with pytest.raises(ConfigError, match="Live Link receiver"):
        LiveLinkSender(port=99999)
    with pytest.raises(ValueError, match="61 finite"):
        encode(LiveLinkFrame("a", "b", 0, 0.0, (60, 1), np.full(61, np.nan)))


@pytest.mark.parametrize("realtime", [True, False])
def test_only_a_process_of_its_own_is_taken_over(realtime: bool) -> None:
    """A library user's garbage collection and switching stay as they are; a node's are put back."""
    seen, enough = list[tuple[int, float]](), threading.Event()

    def step(now: float) -> None:
        seen.append((gc.get_freeze_count(), sys.getswitchinterval()))
        enough.set()

    before = gc.get_freeze_count(), sys.getswitchinterval()
    loop = FixedRateLoop(step, 200.0, realtime=realtime)
    loop.start()
    assert enough.wait(20.0)
    loop.stop()
    during = seen[0]
    assert during == before if not realtime else during[0] > 0 and during[1] <= 0.0005
    assert (gc.get_freeze_count(), sys.getswitchinterval()) == before


def test_real_time_is_asked_for_and_given_back() -> None:
    def levels() -> dict[int, int]:
        return {int(t): os.sched_getscheduler(int(t)) for t in os.listdir("/proc/self/task")}

    before, me = levels(), threading.get_native_id()
    undo = realtime_process()
    during = levels()
    undo()
    after = levels()
    stayed = before.keys() & after.keys()  # a thread of another test may just have ended
    assert {t: after[t] & ~os.SCHED_RESET_ON_FORK for t in stayed} == {t: before[t] for t in stayed}
    if during[me] == before[me]:
        pytest.skip("this user may not ask for real-time scheduling")
    assert during[me] & os.SCHED_RR
