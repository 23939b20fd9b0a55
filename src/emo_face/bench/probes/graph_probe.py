"""Listen to a running graph: when did which frame's result arrive, and how many people were in it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rclpy

Read = Callable[[Any], tuple[Any, int]]
"""Message -> (header, number of people)."""


@dataclass
class Probe:
    """Subscribes to one topic of results; ``rows`` holds (image stamp s, arrival s, people)."""

    node: Any
    rows: list[tuple[float, float, int]] = field(default_factory=list)

    def listen(self, message: type, topic: str, read: Read) -> None:
        """Start to listen on ``topic``."""

        def arrived(msg: Any) -> None:
            header, people = read(msg)
            stamp = header.stamp.sec + header.stamp.nanosec * 1e-9
            self.rows.append((stamp, time.time(), people))

        self.node.create_subscription(message, topic, arrived, 50)

    def spin(self, until: Callable[[], bool], timeout: float) -> bool:
        """Handle messages until ``until()`` or ``timeout`` seconds are over; True if the condition was met."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if until():
                return True
            rclpy.spin_once(self.node, timeout_sec=0.05)
        return until()

    def seen(self) -> bool:
        """Whether a result with somebody in it has arrived."""
        return any(people > 0 for _, _, people in self.rows)


def figures(rows: list[tuple[float, float, int]], rate: float) -> dict[str, Any]:
    """``fps``, latency percentiles, ``dropped`` and the usual number of ``people`` of one stretch of results.

    Args:
        rows: (image stamp s, arrival s, people). rate: images a second that the camera published, Hz.

    Returns:
        ``dropped``: images between the first and the last that have no result.
    """
    if len(rows) < 2:
        return {"fps": 0.0, "p50_ms": None, "p95_ms": None, "p99_ms": None, "dropped": None, "people": 0}
    stamp, arrival, people = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    p50, p95, p99 = (round(float(v), 1) for v in np.percentile((arrival - stamp) * 1e3, [50, 95, 99]))
    fps = round(float((len(rows) - 1) / (arrival[-1] - arrival[0])), 2)
    expected = round((stamp[-1] - stamp[0]) * rate) + 1
    dropped = max(0, expected - len(rows))
    return {
        "fps": fps,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "dropped": dropped,
        "people": int(np.median(people)),
    }
