"""Stop heads on emulated servo buses that are in every kind of trouble, and check every answer against the servos."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from emo_face.bench.emulated.servo_bus import DynamixelBus, FakeBus, FeetechBus
from emo_face.core.paths import share_dir
from emo_face.face.control.controller import FaceController
from emo_face.face.control.loop import FixedRateLoop
from emo_face.face.drivers import open_driver
from emo_face.face.motion.motion import FaceMotion
from emo_face.face.rig import load_rig

RATE = 100.0
BUSES: dict[str, tuple[str, type[FakeBus]]] = {
    "feetech": ("head_12servo", FeetechBus),
    "dynamixel": ("head_25channel", DynamixelBus),
}


class Head:
    """A shipped head with ``estop: torque_off`` on an emulated bus of its maker, running in real time."""

    def __init__(self, kind: str, folder: Path) -> None:
        name, bus = BUSES[kind]
        text = (share_dir() / "config" / "rigs" / f"{name}.yaml").read_text(encoding="utf-8")
        (folder / "rig.yaml").write_text(text.replace("estop: hold", "estop: torque_off"), encoding="utf-8")
        rig = load_rig(folder / "rig.yaml")
        self.bus = bus(rig.ids, link=str(folder / "tty"))
        for servo in self.bus.servos.values():
            servo.position = 2048
        driver = open_driver(rig, 1 / RATE, port=str(folder / "tty"))
        self.control = FaceController(FaceMotion(1 / RATE, 7), rig, driver, 1 / RATE)
        self._loop = FixedRateLoop(self.control.step, RATE, realtime=False)
        self._loop.start()
        self.until(lambda: all(self.bus.torques()))

    def until(self, done: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Wait for something; whether it came."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            threading.Event().wait(0.001)
        return True

    def stop(self) -> tuple[float, bool]:
        """Press the emergency stop; milliseconds until the answer, and whether it was a lie."""
        begin = time.perf_counter()
        report = self.control.estop()
        taken = 1e3 * (time.perf_counter() - begin)
        return taken, report.success and any(self.bus.torques())

    def again(self) -> bool:
        """Heal the bus, release and enable; whether the head came back to life."""
        self.bus.echo, self.bus.babble, self.bus.drop, self.bus.delay, self.bus.garbage = False, b"", 0, 0.0, b""
        for servo in self.bus.servos.values():
            servo.mute = servo.absent = servo.deaf = servo.stuck = servo.corrupt = False
        off = self.until(lambda: not any(self.bus.torques()))
        self.control.clear_estop()
        self.control.enable(True)
        return off and self.until(lambda: all(self.bus.torques()))

    def close(self) -> None:
        """End the loop and the bus."""
        self._loop.stop()
        self.control.close()
        self.bus.close()


@contextmanager
def head(kind: str) -> Iterator[Head]:
    """A head for a while."""
    with tempfile.TemporaryDirectory() as folder:
        made = Head(kind, Path(folder))
        try:
            yield made
        finally:
            made.close()


def trouble(bus: FakeBus, rng: np.random.Generator) -> str:
    """Something goes wrong on the bus; says what."""
    some = list(bus.servos.values())[int(rng.integers(len(bus.servos)))]
    kinds: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "one silent": lambda: setattr(some, "mute", True),
        "one absent": lambda: setattr(some, "absent", True),
        "one deaf": lambda: setattr(some, "deaf", True),
        "one stuck": lambda: setattr(some, "stuck", True),
        "one corrupt": lambda: setattr(some, "corrupt", True),
        "packets lost": lambda: setattr(bus, "drop", int(rng.integers(1, 6))),
        "echo": lambda: setattr(bus, "echo", True),
        "babble": lambda: setattr(bus, "babble", rng.bytes(40)),
        "noise": lambda: setattr(bus, "garbage", rng.bytes(3)),
        "slow": lambda: setattr(bus, "delay", float(rng.uniform(0.001, 0.006))),
        "unplugged": bus.close,
    }
    name = str(rng.choice(list(kinds)))
    kinds[name]()
    return name


def times(kind: str, stops: int, silent: bool) -> list[float]:
    """Milliseconds until the answer of ``stops`` stops, on a healthy bus or with one silent servo."""
    taken: list[float] = []
    with head(kind) as made:
        victim = list(made.bus.servos.values())[4]
        for _ in range(stops):
            victim.mute = silent
            if silent:  # known or not: every other time it has just fallen silent
                threading.Event().wait(0.0 if len(taken) % 2 else 1.2)
            taken.append(made.stop()[0])
            made.again()
    return taken


def try_stops(stops: int, seed: int = 1) -> tuple[int, list[str]]:
    """(stops tried, what was wrong on the bus for each answer that was a lie or head that did not come back)."""
    rng, lies, done = np.random.default_rng(seed), list[str](), 0
    for kind in BUSES:
        with head(kind) as made:
            for _ in range(stops // len(BUSES)):
                what = trouble(made.bus, rng)
                threading.Event().wait(float(rng.choice([0.0, 0.02, 0.7])))
                if made.stop()[1]:
                    lies.append(f"{kind}: {what}")
                if what == "unplugged":
                    made.bus.plug()
                if not made.again():
                    lies.append(f"{kind}: {what}: torque stayed on, or the head did not come back")
                done += 1
    return done, lies
