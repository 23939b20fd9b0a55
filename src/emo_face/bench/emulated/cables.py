"""A camera and a head whose cables can be pulled while a graph uses them; both live in this process."""

import re
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from emo_face.bench.emulated.servo_bus import FakeBus, FeetechBus
from emo_face.core.paths import share_dir
from emo_face.face.rig import load_rig

ANSWER = 0.02
"""Seconds that the driver waits for a servo: these are a thread of a busy Python process, real ones answer in 1 ms."""


class NetworkEye:
    """A camera that sends JPEGs over HTTP as mjpg-streamer does (multipart/x-mixed-replace), over and over.

    Args:
        pictures: the JPEGs. rate: pictures per second.
    """

    def __init__(self, pictures: Sequence[bytes], rate: float) -> None:
        self._pictures, self._period = pictures, 1.0 / rate
        self._port, self._shown = 0, 0
        self.plug()

    @property
    def url(self) -> str:
        """Its address, the same after every :meth:`plug`."""
        return f"http://127.0.0.1:{self._port}/?action=stream"

    def plug(self) -> None:
        """It comes (again)."""
        eye, gone = self, threading.Event()

        class Stream(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                while not gone.wait(eye._period):
                    jpeg = eye._next()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                    except OSError:
                        return  # nobody looks any more

            def log_message(self, *_: object) -> None:
                pass

        self._gone, self._server = gone, ThreadingHTTPServer(("127.0.0.1", self._port), Stream)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def unplug(self) -> None:
        """It is gone: streams end, and nobody answers at its port."""
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()

    def _next(self) -> bytes:
        self._shown += 1
        return self._pictures[self._shown % len(self._pictures)]


class Head:
    """The 12-servo head with ``estop: torque_off`` on an emulated Feetech bus; its rig is the file :attr:`rig`."""

    def __init__(self, folder: Path) -> None:
        port, self.rig = folder / "tty", folder / "rig.yaml"
        text = (share_dir() / "config" / "rigs" / "head_12servo.yaml").read_text(encoding="utf-8")
        text = text.replace("estop: hold", "estop: torque_off")
        text = re.sub(r"port: /dev/\w+", f"port: {port}, timeout: {ANSWER}", text)
        self.rig.write_text(text, encoding="utf-8")
        self.bus: FakeBus = FeetechBus(load_rig(self.rig).ids, link=str(port))
        self.plugged = True
        for servo in self.bus.servos.values():
            servo.position = 2048

    def plug(self) -> None:
        """The adapter comes back."""
        self.bus.plug()
        self.plugged = True

    def unplug(self) -> None:
        """The adapter is gone; the servos keep their power, and do what they did."""
        self.plugged = False
        self.bus.close()

    @property
    def limp(self) -> bool:
        """Whether no servo has torque."""
        return not any(self.bus.torques())

    @property
    def stiff(self) -> bool:
        """Whether all have."""
        return all(self.bus.torques())
