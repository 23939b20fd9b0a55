"""What happens to a running graph in a soak, and what it costs meanwhile."""

import asyncio
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rclpy
from emo_face_msgs.msg import EmotionScoresArray
from std_srvs.srv import SetBool

from emo_face.bench.probes.child import Child
from emo_face.bench.probes.machine import rss_mb
from emo_face.ros.network import keep_local

ANSWER = 2.0  # s that a stop may take to be answered


class Visitor:
    """Somebody beside the graph: listens to the scores, loads pages, presses the stop. Use as a context manager."""

    def __init__(self, up: Child) -> None:
        self._up = up
        self.scores = 0

    def __enter__(self) -> "Visitor":
        keep_local(os.environ)
        rclpy.init(args=[])
        self._node = rclpy.create_node("soak")
        self._node.create_subscription(EmotionScoresArray, "/emotion/scores", self._heard, 10)
        self._estop: Any = self._node.create_client(SetBool, "/face_driver/estop")
        self._enable: Any = self._node.create_client(SetBool, "/face_driver/enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._node.destroy_node()
        rclpy.shutdown()

    def _heard(self, message: object) -> None:
        self.scores += 1

    def spin(self, seconds: float) -> None:
        """Let ROS work."""
        rclpy.spin_once(self._node, timeout_sec=seconds)

    def _ask(self, client: Any, value: bool) -> Any:
        """The answer, or None within two seconds."""
        deadline = time.monotonic() + ANSWER
        while not client.service_is_ready() and time.monotonic() < deadline:
            self.spin(0.05)
        future = client.call_async(SetBool.Request(data=value))
        while not future.done() and time.monotonic() < deadline:
            self.spin(0.05)
        return future.result() if future.done() else None

    def stop(self) -> tuple[float, Any]:
        """(seconds until the stop was answered, the answer: ``success``, ``message``; None within two seconds)."""
        start = time.monotonic()
        answer = self._ask(self._estop, True)
        return time.monotonic() - start, answer

    def release(self) -> None:
        """Release the stop and switch the motors on."""
        self._ask(self._estop, False)
        self._ask(self._enable, True)

    def load_page(self) -> int:
        """Load the page, open and close its WebSocket; 1 if both worked."""
        addresses = re.findall(r"the face is at (http://\S+)", self._up.said())
        if not addresses:
            return 0

        async def visit() -> int:
            import aiohttp

            limit = aiohttp.ClientTimeout(total=2.0)
            try:
                async with aiohttp.ClientSession(timeout=limit) as session:
                    async with session.get(addresses[-1]) as page:
                        await page.read()
                    async with session.ws_connect(f"{addresses[-1]}ws") as socket:
                        await socket.receive(timeout=2.0)
                return 1
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
                return 0  # the driver is on its way back

        return asyncio.run(visit())


def resources(pids: Iterable[int], folder: Path) -> dict[str, float]:
    """Resident memory (MB), descriptors and threads, summed; disk of ``folder`` and /dev/shm (MB)."""
    total = {"memory_mb": 0.0, "descriptors": 0.0, "threads": 0.0}
    for pid in pids:
        try:
            total["descriptors"] += len(os.listdir(f"/proc/{pid}/fd"))
            total["threads"] += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue
        total["memory_mb"] += rss_mb(pid)
    return {**total, "disk_mb": sum(map(_size_mb, (folder, Path("/dev/shm"))))}


def _size_mb(folder: Path) -> float:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_blocks * 512
        except OSError:
            continue
    return size / 1e6
