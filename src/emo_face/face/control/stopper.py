"""Keeps on stopping: one attempt after the other, in a thread of its own, until the motors confirm."""

import logging
import threading
from collections.abc import Callable

from emo_face.face.drivers.stop_report import StopReport

log = logging.getLogger(__name__)

RETRY = 0.25
"""Seconds between two attempts."""
PATIENCE = 0.4
"""Seconds that whoever presses waits for an answer; a service may take 0.5."""


class Stopper:
    """Repeats ``attempt`` while pressed and not final. All methods may be called from any thread.

    Args:
        attempt: one try; must not raise, may block.
        retry: seconds between two tries.
    """

    def __init__(self, attempt: Callable[[], StopReport], retry: float = RETRY) -> None:
        self._attempt, self._retry = attempt, retry
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pressed = self._again = self._waiting = False
        self._attempts, self._vain = 0, -1
        self._report: StopReport | None = None

    @property
    def report(self) -> StopReport | None:
        """What the last attempt achieved; None before the first and after a release."""
        with self._change:
            return self._report

    def press(self, patience: float = PATIENCE) -> StopReport | None:
        """Stop, and return what an attempt made after this call achieved; None if none was done in ``patience`` s.

        An attempt that somebody has waited for in vain keeps nobody else: many who press are answered one by one.
        """
        with self._change:
            self._pressed = self._again = True
            # an attempt under way may have begun before whatever led to this call
            wanted = self._attempts + (2 if self._thread is not None and not self._waiting else 1)
            if self._thread is None:
                self._waiting = True  # until its first attempt begins, which then answers whoever pressed meanwhile
                self._thread = threading.Thread(target=self._run, name="emergency-stop", daemon=True)
                self._thread.start()
            self._change.notify_all()
            hangs = self._vain == self._attempts
            done = self._change.wait_for(lambda: self._attempts >= wanted, 0.0 if hangs else patience)
            if not done and patience:
                self._vain = self._attempts
            return self._report if done else None

    def release(self) -> None:
        """Try no more and forget the report. An attempt under way ends by itself."""
        with self._change:
            self._pressed = False
            self._report = None
            self._change.notify_all()

    def _run(self) -> None:
        while True:
            with self._change:
                self._again = self._waiting = False
                if not self._pressed:
                    self._thread = None
                    return
            report = self._attempt()
            with self._change:
                self._attempts += 1
                if self._pressed:
                    if report != self._report:
                        log.warning("emergency stop: %s", report)
                    self._report = report
                self._change.notify_all()
                if report.final and not self._again:
                    self._thread = None
                    return
                self._waiting = True
                self._change.wait_for(lambda: self._again or not self._pressed, self._retry)
