"""Stamps and clocks: read, check and copy stamps; notice simulated time and clocks that jump back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


def seconds(stamp: Any) -> float:
    """Seconds of a ``builtin_interfaces/Time``; NaN where it is no valid time (nanosec of a second or more)."""
    if not 0 <= stamp.nanosec < 1_000_000_000 or stamp.sec < 0:
        return math.nan
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9


def stamp_message(time: float) -> Any:
    """``builtin_interfaces/Time`` of ``time`` seconds."""
    from builtin_interfaces.msg import Time

    nanoseconds = round(time * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def duration_message(time: float) -> Any:
    """``builtin_interfaces/Duration`` of ``time`` seconds."""
    from builtin_interfaces.msg import Duration

    nanoseconds = round(time * 1e9)
    return Duration(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def duration_seconds(duration: Any) -> float:
    """Seconds of a ``builtin_interfaces/Duration``."""
    return float(duration.sec) + float(duration.nanosec) * 1e-9


@dataclass(frozen=True, slots=True)
class Admission:
    """Verdict on one stamp: ``reason`` is empty when it may be used; ``jumped`` asks to forget all state."""

    reason: str = ""
    jumped: bool = False
    age: float = 0.0


class StampGate:
    """Admits stamps that are valid, fresh and newer than the last, and notices clocks that jump back.

    Args:
        max_age: seconds; older stamps are refused as ``stale``.
        future: seconds that a stamp may lie ahead of the clock before it is refused as ``future``.
        jump: seconds; a step back of stamps or clock over this is a jump, below it ``out_of_order``.
        repeats: admit a stamp again that equals the last.
    """

    FIX: ClassVar[Mapping[str, str]] = {
        "invalid_stamp": "the publisher fills header.stamp with no valid time",
        "no_stamp": "the publisher leaves header.stamp zero; let its driver stamp images",
        "stale": "the source or the network is too slow, or the clocks differ (run chrony, or raise max_age)",
        "future": "the clocks of the two machines differ (run chrony), or use_sim_time is not set on every node",
        "out_of_order": "two publishers on one topic, or a transport that reorders",
    }
    """What is behind a reason; shown in diagnostics."""

    def __init__(self, max_age: float, future: float = 0.5, jump: float = 1.0, repeats: bool = False) -> None:
        self.max_age = max_age
        self.future = future
        self.jump = jump
        self.repeats = repeats
        self._last = -math.inf
        self._now = -math.inf

    def admit(self, stamp: float, now: float) -> Admission:
        """Judge ``stamp`` at clock time ``now``, both in seconds."""
        jumped = now < self._now - self.jump
        self._now = now
        if jumped:
            self.reset()
            self._now = now
        if not math.isfinite(stamp):
            return Admission("invalid_stamp", jumped)
        if stamp <= 0:
            return Admission("no_stamp", jumped)
        age = now - stamp
        if age < -self.future:
            return Admission("future", jumped, age)
        if age > self.max_age:
            return Admission("stale", jumped, age)
        if stamp < self._last - self.jump:
            jumped = True
        elif stamp < self._last or (stamp == self._last and not self.repeats):
            return Admission("out_of_order", jumped, age)
        self._last = stamp
        return Admission("", jumped, age)

    def reset(self) -> None:
        """Forget the last stamp and time."""
        self._last = self._now = -math.inf


class NodeClock:
    """The node's clock in seconds; ``jumped`` is called on the executor when simulated time starts or goes back."""

    def __init__(self, node: Any, jumped: Callable[[], None]) -> None:
        from rclpy.clock import JumpThreshold
        from rclpy.duration import Duration

        self._clock = node.get_clock()
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._handle = self._clock.create_jump_callback(threshold, post_callback=lambda _: jumped())

    def now(self) -> float:
        """Seconds; thread-safe."""
        return float(self._clock.now().nanoseconds) * 1e-9
