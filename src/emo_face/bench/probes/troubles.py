"""The faults of a soak, and whether the emergency stop works as it says meanwhile."""

import os
import signal
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from emo_face.bench.emulated.cables import Head, NetworkEye
from emo_face.bench.probes.child import Child
from emo_face.bench.probes.life import Visitor

EVERY = 20.0
"""Seconds between two stops."""
PATIENCE = 15.0
"""Seconds after which torque must be off after a stop, or on after a release, while the bus is there."""
RESTART = 60.0
"""Seconds that a killed driver may need to be back."""
UNPLUGGED, PRESS = 10.0, 3.0  # s that a cable is out; s of that until a stop is pressed


class Stops:
    """Presses the stop, compares what it says with what the servos' switches hold, releases and enables.

    Attributes:
        next_at: steady seconds when the next stop is due.
    """

    def __init__(self, visitor: Visitor, head: Head) -> None:
        self._visitor, self._head = visitor, head
        self._state, self._since = "starting", time.monotonic()
        self._counts: Counter[str] = Counter()
        self._ms: list[float] = []
        self.next_at = time.monotonic() + EVERY

    @property
    def idle(self) -> bool:
        """Whether the head moves, and the last stop is over."""
        return self._state == "idle"

    def press(self) -> None:
        """Press, and judge the answer."""
        seconds, answer = self._visitor.stop()
        limp = self._head.limp
        self._counts["tried"] += 1
        if answer is None:
            self._note("missed", "no answer")
        else:
            self._ms.append(1e3 * seconds)
            if answer.success:
                self._counts["at_once"] += 1
            if answer.success and not limp:
                self._note("lied", answer.message)
            if not answer.success and self._head.plugged:
                self._note("unsure", answer.message)
        self._state, self._since, self.next_at = "stopping", time.monotonic(), time.monotonic() + EVERY

    def settle(self, now: float) -> None:
        """Follow the last stop: torque must go off, then on again."""
        if not self._head.plugged:
            self._since = now
        elif self._state == "stopping" and (self._head.limp or now - self._since > PATIENCE):
            if not self._head.limp:
                self._note("missed", "torque stayed on")
            self._visitor.release()
            self._state, self._since = "starting", time.monotonic()
        elif self._state == "starting" and (self._head.stiff or now - self._since > PATIENCE):
            if not self._head.stiff:
                self._note("not_back", f"torques {self._head.bus.torques()}")
            self._state = "idle"

    def figures(self) -> dict[str, Any]:
        """What was seen so far."""
        c, ms = self._counts, self._ms
        quantiles = {f"p{q}": round(float(np.percentile(ms, q)), 1) for q in (50, 99)} if ms else {}
        return {
            "stops_tried": c["tried"],
            "stops_missed": c["missed"],
            "stops_that_lied": c["lied"],
            "stops_verified_at_once": c["at_once"],
            "stop_ms": {**quantiles, "max": round(max(ms), 1)} if ms else None,
            "not_back": c["not_back"],
        }

    def _note(self, kind: str, why: str) -> None:
        self._counts[kind] += 1
        print(f"stop {self._counts['tried']}: {kind}: {why}", file=sys.stderr, flush=True)


class Troubles:
    """Pull a cable or harm a process, one after the other, each kind every ``every`` seconds; cables come back.

    Attributes:
        done: how often each was done. torque_after_kill: drivers that came back and left torque on.
        blind: seconds from the camera's return to the next scores, of each time.
    """

    def __init__(self, up: Child, stops: Stops, head: Head, eye: NetworkEye, visitor: Visitor, every: float) -> None:
        self._up, self._stops, self._head, self._eye, self._visitor = up, stops, head, eye, visitor
        self._pause, self._next_at = every / 3.0, time.monotonic() + every / 3.0
        self._turn, self._mend_at = 0, float("inf")
        self._killed_at: float | None = None
        self._seen = self._seeing = (0.0, 0)  # when the camera came back, scores then
        self.done: Counter[str] = Counter()
        self.torque_after_kill = 0
        self.blind: list[float] = []

    @property
    def driver_is_there(self) -> bool:
        """False from the driver's death until its successor has taken the torque off."""
        return self._killed_at is None

    def step(self, now: float, quiet: bool) -> None:
        """Do what is due; nothing new while ``quiet``."""
        self._watch(now)
        if now >= self._mend_at:
            self._mend(now)
        elif now >= self._next_at and not quiet and self._stops.idle and self.driver_is_there:
            self._next_at = max(self._next_at + self._pause, now + UNPLUGGED + 5.0)
            (self._pull_camera, self._pull_bus, self._harm)[self._turn % 3](now)
            self._turn += 1

    def _watch(self, now: float) -> None:
        if self._killed_at is not None and (self._head.limp or now - self._killed_at > RESTART):
            self.torque_after_kill += not self._head.limp
            self._killed_at = None
            self._stops.next_at = now + PRESS
        if self._seeing != self._seen and self._visitor.scores > self._seeing[1]:
            self.blind.append(round(now - self._seeing[0], 2))
            self._seen = self._seeing

    def _pull_camera(self, now: float) -> None:
        self.done["camera unplugged"] += 1
        self._eye.unplug()
        self._mend_at = now + UNPLUGGED

    def _pull_bus(self, now: float) -> None:
        self.done["bus unplugged"] += 1
        self._head.unplug()
        self._mend_at, self._stops.next_at = now + UNPLUGGED, now + PRESS

    def _mend(self, now: float) -> None:
        self._mend_at = float("inf")
        if not self._head.plugged:
            self._head.plug()
        else:
            self._eye.plug()
            self._seeing = (now, self._visitor.scores)

    def _harm(self, now: float) -> None:
        harms = (("camera", signal.SIGKILL), ("perception", signal.SIGSTOP), ("face_driver", signal.SIGKILL))
        name, how = harms[self._turn // 3 % len(harms)]
        pid = self._up.nodes().get(name)
        if pid is None:
            return
        self.done[f"{name} {how.name}"] += 1
        os.kill(pid, how)
        if name == "face_driver":
            self._killed_at = now
