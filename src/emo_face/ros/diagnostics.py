"""What a node reports about its health: rates, ages, latencies, drops, facts and conditions; thread-safe, rclpy-free.

Numbers are kept over a sliding window. A condition is raised and cleared by key, its text says what is wrong and how to
fix it. :meth:`Health.report` is pure data, :func:`message` makes the ``DiagnosticArray``.
"""

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

OK, WARN, ERROR, STALE = range(4)
"""Levels of ``diagnostic_msgs/DiagnosticStatus``."""

WINDOW = 5.0
"""Seconds over which rates are counted."""

SAMPLES = 300
"""Latencies kept: 10 s at 30 Hz."""


@dataclass(frozen=True, slots=True)
class Report:
    """One status: level, a sentence, and values by name."""

    level: int
    message: str
    values: Mapping[str, str]


class Health:
    """Collects what one node measures. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ticks: dict[str, deque[float]] = {}
        self._latency: dict[str, deque[float]] = {}
        self._counts: Counter[str] = Counter()
        self._facts: dict[str, str] = {}
        self._conditions: dict[str, tuple[int, str, float]] = {}

    def tick(self, name: str, now: float) -> None:
        """Count one event for a rate; ``now`` in steady seconds."""
        with self._lock:
            times = self._ticks.setdefault(name, deque())
            times.append(now)
            while times[0] < now - WINDOW:
                times.popleft()

    def latency(self, name: str, value: float) -> None:
        """Add one latency in seconds."""
        with self._lock:
            self._latency.setdefault(name, deque(maxlen=SAMPLES)).append(value)

    def count(self, name: str, number: int = 1) -> int:
        """Add to a counter (``dropped.stale``, ``errors``); returns the total."""
        with self._lock:
            self._counts[name] += number
            return self._counts[name]

    def counts(self) -> dict[str, int]:
        """All counters."""
        with self._lock:
            return dict(self._counts)

    def fact(self, name: str, value: object) -> None:
        """Set a value that is shown as it is, for example a model's sha256."""
        with self._lock:
            self._facts[name] = str(value)

    def facts(self, values: Mapping[str, object], prefix: str = "") -> None:
        """Set several, their names behind ``prefix``."""
        with self._lock:
            self._facts.update({prefix + name: str(value) for name, value in values.items()})

    def raise_condition(self, key: str, level: int, text: str, until: float = float("inf")) -> bool:
        """Show ``text`` until cleared or until steady time ``until``; True when the key was not shown at this level."""
        with self._lock:
            fresh = self._conditions.get(key, (OK, "", 0.0))[0] != level
            self._conditions[key] = (level, text, until)
            return fresh

    def clear_condition(self, key: str) -> None:
        """Withdraw a condition; unknown keys are fine."""
        with self._lock:
            self._conditions.pop(key, None)

    def clear_conditions(self, prefix: str) -> None:
        """Withdraw every condition whose key starts with ``prefix``."""
        with self._lock:
            self._conditions = {k: c for k, c in self._conditions.items() if not k.startswith(prefix)}

    def quiet_for(self, name: str, now: float) -> float:
        """Seconds since the last :meth:`tick` of ``name``; infinite without one."""
        with self._lock:
            times = self._ticks.get(name)
            return now - times[-1] if times else float("inf")

    def report(self, state: str, now: float) -> Report:
        """Sum up at steady time ``now``; ``state`` is the lifecycle state."""
        with self._lock:
            self._conditions = {k: c for k, c in self._conditions.items() if c[2] > now}
            conditions = sorted(self._conditions.values(), key=lambda c: -c[0])
            values = {"state": state, **self._facts}
            for name, times in self._ticks.items():
                recent = [t for t in times if t >= now - WINDOW]
                span = max(now - recent[0], 1e-3) if recent else WINDOW
                values[f"{name}.rate_hz"] = f"{(len(recent) - 1) / span if len(recent) > 1 else 0.0:.1f}"
                values[f"{name}.age_s"] = f"{now - times[-1]:.3f}"
            for name, samples in self._latency.items():
                p50, p95 = np.percentile(samples, (50, 95)) * 1e3
                values[f"{name}.p50_ms"], values[f"{name}.p95_ms"] = f"{p50:.1f}", f"{p95:.1f}"
            values.update({name: str(total) for name, total in sorted(self._counts.items())})
        level = conditions[0][0] if conditions else OK
        return Report(level, "; ".join(text for _, text, _ in conditions) or state, values)


def message(name: str, report: Report, stamp: Any, hardware_id: str = "") -> Any:
    """``diagnostic_msgs/DiagnosticArray`` of one report."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    status = DiagnosticStatus(
        level=bytes([report.level]),
        name=name,
        message=report.message,
        hardware_id=hardware_id,
        values=[KeyValue(key=k, value=v) for k, v in report.values.items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array
