"""The screen face in a headless Chromium: frame intervals, script time, processor time, weight.

Serves the page, publishes at 30 Hz (first an idle face that breathes and blinks, then one where all 52 channels move)
and measures requestAnimationFrame intervals. Headless Chromium paints in software: ``browser_cpu_percent`` is an upper
bound for a robot whose display has a GPU, and ``empty_page_cpu_percent`` is what a canvas of the same size costs on
which one dot changes at 60 frames a second.

Needs chromium and chromedriver (apt install chromium chromium-driver) and selenium (scripts/setup.sh test).
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.errors import UserError
from emo_face.core.types import FloatArray

Motion = Callable[[float], FloatArray]
WINDOW = 800  # pixels, square

INTERVALS = """
  const done = arguments[1], times = [], end = performance.now() + 1000 * arguments[0];
  const step = (now) => { times.push(now); if (now < end) requestAnimationFrame(step); else done(times); };
  requestAnimationFrame(step);"""
COUNT = """
  const show = emoFace.view.show.bind(emoFace.view);
  window.spent = 0;
  emoFace.view.show = (values) => {
    const start = performance.now();
    const painted = show(values);
    window.spent += performance.now() - start;
    return painted;
  };"""
EMPTY = """
  document.body.innerHTML = '<canvas width=800 height=800></canvas>';
  const dot = document.querySelector('canvas').getContext('2d', {alpha: false});
  let n = 0;
  const step = () => {
    dot.fillStyle = ['red', 'blue'][n++ % 2];
    dot.fillRect(0, 0, 9, 9);
    requestAnimationFrame(step);
  };
  step();"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Length and theme."""
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each part (default %(default)s)")
    parser.add_argument("--theme", default="robot", help="face to show (default %(default)s)")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure the page.

    Returns:
        ``page_p50_ms``, ``page_p95_ms``: requestAnimationFrame intervals while all channels move; ``weight_bytes`` of
        all that the page loads; for ``rest`` and ``all_channels``: ``painted_per_s``, ``script_ms_per_s`` and
        ``browser_cpu_percent`` (of one core, all processes of the browser); ``empty_page_cpu_percent``; ``machine``.

    Raises:
        UserError: Chromium, chromedriver or selenium is missing.
    """
    from emo_face.evaluation.machine import machine
    from emo_face.web.server import FaceServer

    about = machine()
    server = FaceServer(port=0, theme=args.theme)
    server.start()
    try:
        with _browser() as browser:
            browser.get(server.url)
            result = _measure_page(browser, server, args.seconds)
            browser.execute_script(EMPTY)
            result["empty_page_cpu_percent"] = _cpu_percent(browser, args.seconds)
    finally:
        server.stop()
    return {**result, "theme": args.theme, "window": WINDOW, "machine": about}


def _measure_page(browser: Any, server: Any, seconds: float) -> dict[str, Any]:
    with _publishing(server, at_rest):
        _until(browser, "return window.emoFace && emoFace.sleep === 0")
        browser.execute_script(COUNT)
        rest = _cost(browser, seconds)
    with _publishing(server, all_channels):
        busy = _cost(browser, seconds)
        gaps = np.diff(browser.execute_async_script(INTERVALS, seconds))
    weight = browser.execute_script(
        "return performance.getEntriesByType('resource').reduce((sum, e) => sum + e.decodedBodySize, 0)"
    )
    return {
        "page_p50_ms": round(float(np.percentile(gaps, 50)), 2),
        "page_p95_ms": round(float(np.percentile(gaps, 95)), 2),
        "weight_bytes": int(weight),
        "rest": rest,
        "all_channels": busy,
    }


def at_rest(now: float) -> FloatArray:
    """ARKit values (52,) of a calm face: breathing, a glance every second, a blink every three."""
    face = np.zeros(52)
    glance = float(np.random.default_rng(int(now)).uniform(-0.2, 0.2))
    for name, value in (
        ("eyeBlinkLeft", 1 - abs(now % 3 - 0.2) / 0.12),
        ("eyeBlinkRight", 1 - abs(now % 3 - 0.2) / 0.12),
        ("eyeLookInLeft", glance),
        ("eyeLookOutRight", glance),
        ("eyeLookOutLeft", -glance),
        ("eyeLookInRight", -glance),
        ("mouthSmileLeft", 0.2),
        ("mouthSmileRight", 0.2),
        ("browInnerUp", 0.05 + 0.03 * np.sin(1.5 * now)),
        ("jawOpen", 0.01 + 0.01 * np.sin(1.5 * now)),
    ):
        face[ARKIT_INDEX[name]] = max(0.0, value)
    return face


def all_channels(now: float) -> FloatArray:
    """ARKit values (52,), each swinging with its own phase."""
    return np.asarray(0.35 + 0.3 * np.sin(2 * now + np.arange(52) * 2.4))


@contextmanager
def _publishing(server: Any, motion: Motion) -> Iterator[None]:
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(1 / 30):
            server.publish(motion(time.monotonic()), {"emotion": "Neutral"})

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        raise UserError("chromium or chromedriver is missing: apt install chromium chromium-driver")
    try:
        from selenium import webdriver
    except ImportError:
        raise UserError("selenium is missing: scripts/setup.sh test") from None
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    metrics = {"width": WINDOW, "height": WINDOW, "deviceScaleFactor": 1, "mobile": False}
    try:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        yield browser
    finally:
        browser.quit()


def _until(browser: Any, script: str, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not browser.execute_script(script):
        if time.monotonic() > end:
            raise UserError("the page did not come alive within 10 s; see its console")
        time.sleep(0.05)


def _cost(browser: Any, seconds: float) -> dict[str, float]:
    time.sleep(0.7)
    state = "return [emoFace.painted, window.spent]"
    painted, spent = browser.execute_script(state)
    start = time.monotonic()
    percent = _cpu_percent(browser, seconds)
    painted_after, spent_after = browser.execute_script(state)
    lasted = time.monotonic() - start
    return {
        "painted_per_s": round((painted_after - painted) / lasted, 1),
        "script_ms_per_s": round((spent_after - spent) / lasted, 1),
        "browser_cpu_percent": percent,
    }


def _cpu_percent(browser: Any, seconds: float) -> float:
    """Processor time of the browser's processes over ``seconds``, percent of one core."""
    from emo_face.evaluation.machine import cpu_seconds, descendants

    pids = descendants(browser.service.process.pid)
    start, before = time.monotonic(), sum(map(cpu_seconds, pids))
    time.sleep(seconds)
    return round(100 * (sum(map(cpu_seconds, pids)) - before) / (time.monotonic() - start), 1)
