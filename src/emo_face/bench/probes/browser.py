"""A headless Chromium that shows the face page, and faces to play to it."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from emo_face.bench.probes.machine import cpu_seconds, descendants
from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.face.expressions.facs import default_facs
from emo_face.face.motion.motion import FaceMotion

Motion = Callable[[float], FloatArray]
RATE = 30.0  # Hz, the face driver's default

INTERVALS = """
  const done = arguments[1], times = [], end = performance.now() + 1000 * arguments[0];
  const step = (now) => { times.push(now); if (now < end) requestAnimationFrame(step); else done(times); };
  requestAnimationFrame(step);"""


def at_rest() -> Motion:
    """A face without expression: it breathes, blinks and glances as the driver makes it."""
    motion = FaceMotion(1 / RATE, seed=3)
    return motion.tick


def emotions() -> Motion:
    """A lively robot: another emotion every two seconds, with every layer of the driver's motion."""
    motion, facs, names = FaceMotion(1 / RATE, seed=3), default_facs(), basic7().labels

    def face(now: float) -> FloatArray:
        motion.set_target(facs.arkit({names[int(now / 2) % len(names)]: 1.0}, 0.8), now, 1.0, arousal=0.2)
        return motion.tick(now)

    return face


def all_channels() -> Motion:
    """All 52 values swinging all the time, each with its own phase: more than any face does."""
    return lambda now: np.asarray(0.35 + 0.3 * np.sin(2 * now + np.arange(52) * 2.4))


MOTIONS: dict[str, Callable[[], Motion]] = {"rest": at_rest, "emotions": emotions, "all_channels": all_channels}


@contextmanager
def publishing(server: Any, motion: Motion) -> Iterator[None]:
    """Show ``motion`` at :data:`RATE` meanwhile."""
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(1 / RATE):
            server.publish(motion(time.monotonic()), {"emotion": "Neutral"})

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def browser() -> Iterator[Any]:
    """A driver of a headless Chromium without a GPU.

    Raises:
        UserError: Chromium, chromedriver or selenium is missing; says how to get it.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if not chromium or not chromedriver:
        raise UserError("chromium or chromedriver is missing: apt install chromium chromium-driver")
    try:
        from selenium import webdriver
    except ImportError:
        raise UserError(f"selenium is missing: {how_to_install('test')}") from None
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    try:
        driver.set_script_timeout(120)
        yield driver
    finally:
        driver.quit()


def resize(driver: Any, width: int, height: int) -> None:
    """Make the page ``width`` x ``height`` pixels."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def until_alive(driver: Any, seconds: float = 10.0) -> None:
    """Wait for the page to show a live face. Raises UserError after ``seconds``."""
    end = time.monotonic() + seconds
    while not driver.execute_script("return window.emoFace && emoFace.sleep === 0"):
        if time.monotonic() > end:
            raise UserError(f"the page did not come alive within {seconds:g} s; see its console")
        time.sleep(0.05)


def frame_gaps(driver: Any, seconds: float) -> FloatArray:
    """Milliseconds between animation frames over ``seconds``."""
    return np.diff(driver.execute_async_script(INTERVALS, seconds))


def cpu_percent(driver: Any, seconds: float) -> float:
    """Processor time of all the browser's processes over ``seconds``, percent of one core."""
    pids = descendants(driver.service.process.pid)
    start, before = time.monotonic(), sum(map(cpu_seconds, pids))
    time.sleep(seconds)
    return round(100 * (sum(map(cpu_seconds, pids)) - before) / (time.monotonic() - start), 1)
