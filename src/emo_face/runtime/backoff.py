"""When to restart what has failed: exponential delays, forgiven after a healthy while."""

from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Delays before restarts: ``first``, doubled each time up to ``longest``; reset after ``healthy`` seconds up.

    Attributes:
        first, longest, healthy: seconds.
        give_up: failures in a row after which :meth:`failed` returns None.
    """

    first: float = 0.5
    longest: float = 10.0
    healthy: float = 30.0
    give_up: int = 8
    failures: int = 0
    _started: float = field(default=float("-inf"), repr=False)

    def started(self, now: float) -> None:
        """Note that the process has been started."""
        self._started = now

    def failed(self, now: float) -> float | None:
        """Note a failure; returns the seconds to wait before the next start, or None to give up."""
        if now - self._started >= self.healthy:
            self.failures = 0
        self.failures += 1
        if self.failures > self.give_up:
            return None
        return float(min(self.longest, self.first * 2.0 ** (self.failures - 1)))
