"""The screen face in a headless Chromium: frame intervals, script time, processor time, weight.

Serves the page, publishes at 30 Hz a face at rest, one that changes its emotion every two seconds, and one whose 52
channels move all the time, at each size. Headless Chromium paints in software: ``browser_cpu_percent`` is an upper
bound for a robot whose display has a GPU; ``empty_page_cpu_percent`` is what it takes for a canvas of which one dot
changes 60 times per second, and ``no_page_cpu_percent`` for animation frames that draw nothing.

Needs chromium and chromedriver (apt install chromium chromium-driver) and selenium (scripts/setup.sh test).
"""

import argparse
import time
from typing import Any

import numpy as np

from emo_face.bench.probes import browser as page
from emo_face.bench.probes.machine import machine
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.web.server import FaceServer

SIZES = ("640x480", "800x480", "1280x720")

COUNT = """
  const show = emoFace.view.show.bind(emoFace.view);
  window.spent = 0;
  emoFace.view.show = (values) => {
    const start = performance.now();
    const painted = show(values);
    window.spent += performance.now() - start;
    return painted;
  };"""
NOTHING = """
  document.body.textContent = '';
  const step = () => requestAnimationFrame(step);
  step();"""
EMPTY = """
  document.body.innerHTML = `<canvas width=${innerWidth} height=${innerHeight}></canvas>`;
  const dot = document.querySelector('canvas').getContext('2d', {alpha: false});
  let n = 0;
  const step = () => {
    dot.fillStyle = ['red', 'blue'][n++ % 2];
    dot.fillRect(0, 0, 9, 9);
    requestAnimationFrame(step);
  };
  step();"""


add_arguments = arguments(
    option("--seconds", type=float, default=5.0, help="length of each part (default %(default)s)"),
    option("--theme", default="robot", help="face to show (default %(default)s)"),
    option("--size", action="append", help=f"WIDTHxHEIGHT, repeatable (default {' '.join(SIZES)})"),
)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure the page.

    Returns:
        ``page_p50_ms``, ``page_p95_ms``: requestAnimationFrame intervals while all channels move, the worst size;
        ``weight_bytes`` of all that the page loads; for every size and each of ``rest``, ``emotions`` and
        ``all_channels``: ``painted_per_s``, ``script_ms_per_s`` and ``browser_cpu_percent`` (of one core, all processes
        of the browser); ``empty_page_cpu_percent``, ``no_page_cpu_percent``; ``machine``.

    Raises:
        UserError: Chromium, chromedriver or selenium is missing, or a size cannot be read.
    """
    sizes = {text: _size(text) for text in args.size or SIZES}
    about, result = machine(), {}
    server = FaceServer(port=0, theme=args.theme)
    server.start()
    try:
        with page.browser() as driver:
            for text, size in sizes.items():
                result[text] = _measure_size(driver, server, size, args.seconds)
    finally:
        server.stop()
    worst = max(result.values(), key=lambda one: float(one["page_p95_ms"]))
    weight = max(one.pop("weight_bytes") for one in result.values())  # later sizes find the files in the cache
    head = {"page_p50_ms": worst["page_p50_ms"], "page_p95_ms": worst["page_p95_ms"], "weight_bytes": weight}
    return {**head, "sizes": result, "theme": args.theme, "machine": about}


def page_p95() -> tuple[float | None, str]:
    """95th percentile in ms of the frame intervals of a lively face, or None and why it could not be measured."""
    server = FaceServer(port=0)
    server.start()
    try:
        with page.browser() as driver:
            page.resize(driver, 800, 480)
            driver.get(server.url)
            with page.publishing(server, page.emotions()):
                page.until_alive(driver)
                return float(np.percentile(page.frame_gaps(driver, 10.0), 95)), ""
    except UserError as error:
        return None, f"page not measured: {error}"
    finally:
        server.stop()


def _measure_size(driver: Any, server: Any, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    page.resize(driver, *size)
    driver.get(server.url)
    result: dict[str, Any] = {}
    for name, make in page.MOTIONS.items():
        with page.publishing(server, make()):
            if not result:
                page.until_alive(driver)
                driver.execute_script(COUNT)
            result[name] = _cost(driver, seconds)
            if name == "all_channels":
                p50, p95 = np.percentile(page.frame_gaps(driver, seconds), (50, 95))
    weigh = "return performance.getEntriesByType('resource').reduce((sum, e) => sum + e.decodedBodySize, 0)"
    result["weight_bytes"] = int(driver.execute_script(weigh))
    driver.execute_script(NOTHING)
    result["no_page_cpu_percent"] = page.cpu_percent(driver, seconds)
    driver.get(server.url)
    driver.execute_script(EMPTY)
    result["empty_page_cpu_percent"] = page.cpu_percent(driver, seconds)
    return {"page_p50_ms": round(float(p50), 2), "page_p95_ms": round(float(p95), 2), **result}


def _cost(driver: Any, seconds: float) -> dict[str, float]:
    time.sleep(min(2.0, seconds))  # start-up and the change of motion are over
    state = "return [emoFace.painted, window.spent]"
    painted, spent = driver.execute_script(state)
    start = time.monotonic()
    percent = page.cpu_percent(driver, seconds)
    painted_after, spent_after = driver.execute_script(state)
    lasted = time.monotonic() - start
    return {
        "painted_per_s": round((painted_after - painted) / lasted, 1),
        "script_ms_per_s": round((spent_after - spent) / lasted, 1),
        "browser_cpu_percent": percent,
    }


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise UserError(f"--size {text!r}: expected WIDTHxHEIGHT in pixels, for example 800x480")
    return int(width), int(height)
