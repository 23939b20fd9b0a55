"""Stamps and clocks: read, check and copy stamps; notice simulated time and clocks that jump back."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


def seconds(stamp: Any) -> float:
    """Seconds of a ``builtin_interfaces/Time``; NaN if it is no valid time (nanosec of a second or more)."""
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
    """Verdict on one stamp: ``reason`` is empty when it may be used, else ``fix`` says what is behind it.

    ``jumped`` asks to forget all state. ``age`` in seconds.
    """

    reason: str = ""
    jumped: bool = False
    age: float = 0.0
    fix: str = ""


CALENDAR = 1_000_000_000.0  # s, September 2001: a stamp or clock below it counts from a boot or a simulation's start
RECORDED = 60.0  # s; no network is that late
FIX: Mapping[str, str] = {
    "invalid_stamp": "the publisher fills header.stamp with no valid time",
    "no_stamp": "the publisher leaves header.stamp zero; let its driver stamp images",
    "stale": "the source or the network is too slow, or the clocks differ (run chrony, or raise max_age)",
    "future": "the clocks of the two machines differ (run chrony), or use_sim_time is not set on every node",
    "out_of_order": "two publishers on one topic, or a transport that reorders",
}


def fix_of(reason: str, stamp: float, now: float) -> str:
    """The cause of a refused stamp and its remedy, by how far it is from the clock (seconds)."""
    if reason == "stale" and stamp < CALENDAR <= now:
        return (
            "it counts from the start of the camera or the host: let the camera's driver stamp with the system's time"
        )
    if reason == "stale" and now - stamp > RECORDED:
        return (
            f"it is {_long(now - stamp)} old, as of a recording: play it with `ros2 bag play --clock` and set "
            "use_sim_time on every node (`--ros-args -p use_sim_time:=true`)"
        )
    if reason == "future" and (now < CALENDAR <= stamp or now <= 0):
        return "use_sim_time is set here: set it on the publisher too, and let something publish /clock"
    return FIX[reason]


def _long(seconds: float) -> str:
    for size, unit in ((31_557_600.0, "years"), (86_400.0, "days"), (3600.0, "hours")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class StampGate:
    """Admits stamps that are valid, fresh and newer than the last, and notices clocks that jump back.

    Args:
        max_age: seconds; older stamps are refused as ``stale``.
        future: seconds that a stamp may lie ahead of the clock before it is refused as ``future``.
        jump: seconds; a step back of stamps or clock over this is a jump, below it ``out_of_order``.
        repeats: admit a stamp again that equals the last.
    """

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
        if jumped:
            self.reset()
        self._now = now
        reason = self._refused(stamp, now)
        age = now - stamp if stamp > 0 else 0.0
        if reason:
            return Admission(reason, jumped, age, fix_of(reason, stamp, now))
        jumped = jumped or stamp < self._last - self.jump
        self._last = stamp
        return Admission("", jumped, age)

    def _refused(self, stamp: float, now: float) -> str:
        if not math.isfinite(stamp):
            return "invalid_stamp"
        if stamp <= 0:
            return "no_stamp"
        if stamp - now > self.future:
            return "future"
        if now - stamp > self.max_age:
            return "stale"
        late = self._last - self.jump <= stamp < self._last
        return "out_of_order" if late or (stamp == self._last and not self.repeats) else ""

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
