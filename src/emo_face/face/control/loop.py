"""A fixed-rate loop in its own thread: absolute monotonic deadlines, jitter statistics, nothing queued.

How a node uses motion, gate and driver:

    rig = load_rig("head_12servo")
    motion = FaceMotion(period=0.01, seed=7)
    control = FaceController(motion, rig, open_driver(rig), period=0.01)     # owns the gate
    loop = FixedRateLoop(control.step, rate=100.0)
    loop.start()                                    # connects, enables from the present pose, runs
    ...                                             # from any thread, at any rate:
    motion.set_target(arkit, time.monotonic(), valid_for=1.0, arousal=0.3)
    control.estop(); control.clear_estop()          # services
    publish(control.face, control.output, loop.jitter.summary())
    ...
    control.neutral(); loop.stop(); control.close()

Calls from other threads are safe: each swaps whole values that the loop reads once per tick.
"""

import logging
import threading
import time
from collections.abc import Callable

from emo_face.face.control.jitter import Jitter
from emo_face.face.control.realtime import realtime_process

log = logging.getLogger(__name__)


class FixedRateLoop:
    """Call ``step(now)`` at a fixed rate.

    Deadlines are multiples of the period from the start, so lateness does not add up. ``step`` gets the *deadline* as
    its time, so that motion advances by whole periods; after an overrun the loop skips to the next deadline to come.

    Args:
        step: called with seconds of ``clock``. An exception is logged, counted in :attr:`errors`, and does not stop
            the loop.
        rate: Hz, in 1..1000.
        clock: monotonic seconds; sleep: waits for seconds. Both are injected in tests.
        realtime: take over the process while the loop runs: scheduling, Python's switching and garbage collection
            (:mod:`emo_face.face.control.realtime`). False if the process belongs to somebody else.

    Raises:
        ValueError: rate out of range.
    """

    def __init__(
        self,
        step: Callable[[float], None],
        rate: float = 100.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        realtime: bool = True,
    ) -> None:
        if not 1.0 <= rate <= 1000.0:
            raise ValueError(f"rate must be 1 to 1000 Hz, got {rate}")
        self.period = 1.0 / rate
        self.jitter = Jitter(self.period)
        self.errors = 0
        self._woken = 0.0
        self._step, self._clock, self._sleep, self._realtime = step, clock, sleep, realtime
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def stuck(self) -> float:
        """Seconds since the loop woke last, 0 if it does not run: a step that hangs in a bus keeps it from that."""
        return max(0.0, self._clock() - self._woken) if self.running else 0.0

    def start(self) -> None:
        """Run in a thread of its own. Does nothing if it runs already."""
        if self.running:
            return
        self._stop = threading.Event()  # of its own: a thread whose step hung while it was stopped ends when it wakes
        self._woken = self._clock()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), name="face-loop", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Finish the tick in progress and end the thread; waits at most ``timeout`` seconds."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        self._thread = None

    def _run(self, stop: threading.Event) -> None:
        undo = realtime_process() if self._realtime else lambda: None
        try:
            self.run(stop.is_set)
        finally:
            undo()

    def run(self, until: Callable[[], bool]) -> None:
        """Run in this thread until ``until()`` is true."""
        deadline = self._clock()
        while not until():
            wait = deadline - self._clock()
            if wait > 0:
                self._sleep(wait)
            self._woken = self._clock()
            self.jitter.add(self._woken - deadline)
            try:
                self._step(deadline)
            except Exception:
                self.errors += 1
                if self.errors in (1, 10, 100) or not self.errors % 1000:
                    log.exception("face loop: step failed (%d times)", self.errors)
            deadline += self.period
            behind = self._clock() - deadline
            if behind > 0:  # do not hurry after lost deadlines
                skipped = int(behind / self.period)
                self.jitter.skip(skipped)
                deadline += skipped * self.period
