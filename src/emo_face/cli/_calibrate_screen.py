"""The terminal of ``emo-face calibrate``: keys in, one line of state out."""

import contextlib
import math
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from emo_face.core.errors import ConfigError
from emo_face.face.control.calibration import Reading, RigCalibration
from emo_face.face.drivers.base import Driver
from emo_face.face.rig.edit import CalibrationProgress, save, with_fields
from emo_face.face.rig.rig import Rig

HELP = "+ - step   [ ] size   l min   u max   n neutral   h home   enter accept   p back   q quit   x torque off"


class Keys:
    """Single keys from a terminal, or from a pipe; restores the terminal."""

    def __enter__(self) -> "Keys":
        self._restore: Callable[[], None] = lambda: None
        with contextlib.suppress(ImportError, OSError, ValueError):
            fd = sys.stdin.fileno()
            before = termios.tcgetattr(fd)
            tty.setcbreak(fd)
            self._restore = lambda: termios.tcsetattr(fd, termios.TCSADRAIN, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def read(self, timeout: float) -> str:
        """The next key within ``timeout`` seconds, '' if none, 'q' at the end of input."""
        fd = sys.stdin.fileno()
        if not select.select([fd], [], [], timeout)[0]:
            return ""
        # not sys.stdin.read: its buffer would hide further keys from select
        return os.read(fd, 1).decode(errors="replace") or "q"


class Session:
    """One calibration at a terminal.

    Args:
        path: rig file, saved after each accepted actuator.
        rig, driver: what the file says.
        read_key: waits at most so many seconds for a key.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        path: Path,
        rig: Rig,
        driver: Driver,
        read_key: Callable[[float], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self.rig = path, rig
        self.calibration = RigCalibration(rig, driver)
        self.progress = CalibrationProgress(path)
        self._read_key, self._clock = read_key, clock
        self._note = self._line = ""

    def run(self, first: str | None = None) -> int:
        """Until all actuators are accepted or the user leaves; returns the exit code. Raises DriverError."""
        work = self.calibration
        todo = [n for n in self.rig.names if n not in self.progress.done] or list(self.rig.names)
        work.choose(self.rig.names.index(first or todo[0]))
        print(f"{self.path}: {len(todo)} of {len(self.rig.names)} actuators to do. {HELP}")
        try:
            work.start(self._clock())
            while True:
                reading = work.tick(self._clock())
                if reading.blocked:
                    self._note = "touches something: backed off"
                self._show(reading)
                code = self._handle_key(self._read_key(work.period))
                if code is not None:
                    return code
        finally:
            report = work.close()
            print("" if report.success else f"\nmotors: {report}")

    def _handle_key(self, key: str) -> int | None:
        """Do what the key says; an exit code ends the session."""
        work = self.calibration
        if key in ("+", "k", "-", "j"):
            self._note = ""
            work.nudge(1 if key in "+k" else -1)
        elif key in ("[", "]"):
            work.resize(0.5 if key == "[" else 2.0)
        elif key in ("l", "u", "n"):
            what = {"l": "min", "u": "max", "n": "neutral"}[key]
            self._note = f"{what} = {work.mark(what):g}"
        elif key == "h":
            work.home()
        elif key == "p":
            work.choose(work.chosen - 1)
            self._note = ""
        elif key in ("\n", "\r"):
            return self._accept()
        elif key == "?":
            print(f"\n{HELP}")
        elif key == "x":
            report = work.stop()
            print("\ntorque off" if report.success else f"\n{report}")
            return 1
        elif key == "q":
            print(f"\nsaved {len(self.progress.done)} of {len(self.rig.names)}; run the same command to go on")
            return 0
        return None

    def _accept(self) -> int | None:
        work = self.calibration
        if problem := work.problem():
            self._note = f"not accepted: {problem}"
            return None
        place = ("actuators", work.chosen)
        text = self.path.read_text(encoding="utf-8")
        try:
            save(self.path, with_fields(text, {(*place, field): value for field, value in work.marks.items()}))
        except ConfigError as error:
            self._note = f"not accepted: {str(error).rpartition(': field ')[2]}"
            return None
        self.progress.note(work.name, self.rig.names)
        print(f"\n{work.name}: " + ", ".join(f"{k} {v:g}" for k, v in work.marks.items()) + "  saved")
        left = [n for n in self.rig.names if n not in self.progress.done]
        if not left:
            print(f"all actuators done: {self.path}")
            return 0
        work.choose(self.rig.names.index(left[0]))
        self._note = ""
        return None

    def _show(self, reading: Reading) -> None:
        work = self.calibration
        unit = self.rig.units[work.chosen]
        seen = "-" if math.isnan(reading.measured) else f"{reading.measured:.4g}"
        load = "-" if math.isnan(reading.load) else f"{100 * reading.load:.0f}%"
        marks = " ".join(f"{k} {v:g}" for k, v in work.marks.items())
        line = f"{work.name}: {reading.commanded:.4g} {unit} (seen {seen}, load {load})  {marks}  {self._note}"
        if line != self._line:
            self._line = line
            print("\r" + line[:118].ljust(118), end="", flush=True)
