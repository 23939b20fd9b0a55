"""Camera node: a webcam, video, folder or picture as stamped images.

Publishes ``~/image_raw`` and ``~/image_raw/compressed``; nodes of the same process get the picture by reference. Every
image is stamped when it was taken (a webcam) or when it is due (a file). A film plays by the clock: a machine that is
too slow for it leaves frames out. A file's end finalizes the node and ends the process with exit code 0; a webcam that
is gone is reopened until it is back.
"""

import math
import threading
import time
from typing import Any

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from emo_face.core.types import ImageArray
from emo_face.ros import qos
from emo_face.ros.clock import stamp_message
from emo_face.ros.diagnostics import ERROR
from emo_face.ros.images.convert import compressed_message, image_message
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.run import run
from emo_face.runtime.sources import PanZoom, Source, SourceError, open_source, shown

LONGEST_GAP = 0.5
"""Seconds after which a frame of a film is shown however late it is."""


class CameraNode(EmoNode):
    """Reads one source in a thread of its own and publishes what it reads."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("camera", **kwargs)
        self._source: Source | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._at: float | None = None
        self._published = -math.inf
        kind = self.params["publish"]
        self._raw = self.publisher(Image, "~/image_raw", qos.reliable()) if kind != "compressed" else None
        self._jpeg = (
            self.publisher(CompressedImage, "~/image_raw/compressed", qos.reliable()) if kind != "raw" else None
        )
        self._topics = [publisher.topic_name for publisher in (self._raw, self._jpeg) if publisher is not None]
        for topic in self._topics:
            self.pictures.offer(topic)

    def configure(self) -> None:
        """Open the source. Raises SourceError for one that cannot be read."""
        self._source = self._open()
        self.health.fact("source", shown(self.params["source"]))

    def _open(self) -> Source:
        p = self.params
        pan = PanZoom(p["picture.period"], p["picture.zoom"]) if p["picture.pan_zoom"] else None
        return open_source(p["source"], width=p["width"], height=p["height"], pan_zoom=pan, frame_rate=p["rate"])

    def activate(self) -> None:
        """Start reading."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read_all, args=(self._stop,), name="camera", daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        """Stop reading; a file goes on from here when activated again."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)
        self._thread = None

    def cleanup(self) -> None:
        """Release the device or file."""
        if self._source is not None:
            self._source.close()
        self._source = None

    def _read_all(self, stop: threading.Event) -> None:
        due, self._at = float("-inf"), None
        while not stop.is_set():
            if not self.enabled:
                stop.wait(0.1)
                continue
            try:
                due = self._read_one(stop, due)
            except SourceError as error:
                self.drop("unreadable", str(error))
            except Exception as error:
                self.failed(error)
                stop.wait(0.1)

    def _read_one(self, stop: threading.Event, due: float) -> float:
        """Read a frame, wait until it is due, publish it; ``due`` and returned: when the last one was due, seconds."""
        assert self._source is not None
        frame = self._source.read()
        if frame is None:
            self._at_end(stop)
            return due
        period = self._period()
        now = time.monotonic()
        if self._source.live and now < due + period / 2:
            return due  # faster than asked for: leave this frame out
        # a schedule, not a pause: reading and publishing take nothing off the rate
        due = now if math.isinf(due) else due + period
        if self._source.at is None:
            due = max(due, now - period)  # no burst after a stall
        elif due < now - period and now < self._published + LONGEST_GAP:
            # a film keeps its time, and what is said in step with it, on a slow machine
            self.health.count("frames_late")
            return due
        if not self._source.live and stop.wait(max(0.0, due - now)):
            return due
        self._publish(frame)
        return due

    def _period(self) -> float:
        """Seconds from the frame before to the one just read: as asked for, by the film's stamps, or by its rate."""
        assert self._source is not None
        rate = self.params["rate"] or self._source.rate
        before, self._at = self._at, self._source.at
        if not self.params["rate"] and before is not None and self._at is not None and self._at > before:
            return self._at - before
        return 1.0 / rate if rate else 0.0

    def _publish(self, frame: ImageArray) -> None:
        assert self._source is not None
        # a device's frame was taken before it was decoded, a file's is due now
        age = time.monotonic() - self._source.taken if self._source.live else 0.0
        header = Header(stamp=stamp_message(self.clock.now() - age), frame_id=self.params["frame_id"])
        for topic in self._topics:
            self.pictures.hand(topic, header, frame)
        if self._raw is not None and self._raw.get_subscription_count():
            self._raw.publish(image_message(frame, header))
        if self._jpeg is not None and self._jpeg.get_subscription_count():
            self._jpeg.publish(compressed_message(frame, header, self.params["jpeg_quality"]))
        self._published = time.monotonic()
        self.health.tick("image", self._published)
        self.health.count("frames")

    def _at_end(self, stop: threading.Event) -> None:
        assert self._source is not None
        if self._source.live:
            self._reconnect(stop)
        elif self.params["loop"]:
            self._source.rewind()
        else:
            stop.set()
            self.call_soon(self._finished)

    def _finished(self) -> None:
        self.get_logger().info(f"end of {shown(self.params['source'])}: {self.health.counts().get('frames', 0)} frames")
        self.trigger_shutdown()
        self.finish(0)

    def _reconnect(self, stop: threading.Event) -> None:
        """Reopen the device until it is back or ``stop`` is set."""
        name = shown(self.params["source"])
        self.report_problem("source", ERROR, f"camera {name} is gone: check its cable; it is reopened when it is back")
        self.health.count("disconnects")
        assert self._source is not None
        self._source.close()
        while not stop.wait(self.params["reconnect_period"]):
            try:
                self._source = self._open()
            except SourceError:
                continue
            self.health.clear_condition("source")
            self.get_logger().info(f"camera {name} is back")
            return


def main() -> int:
    """Run the node as a process."""
    return run(CameraNode)


if __name__ == "__main__":
    raise SystemExit(main())
