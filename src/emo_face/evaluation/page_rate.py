"""Frame intervals of the face page in headless Chromium while the face moves."""

from __future__ import annotations

import shutil
import threading
import time
from typing import Any

import numpy as np

FRAMES = 600
_COUNT = """
const done = arguments[0], wanted = %d, times = [];
const step = (now) => { times.push(now); if (times.length < wanted) requestAnimationFrame(step); else done(times); };
requestAnimationFrame(step);"""


def page_intervals() -> tuple[float | None, str]:
    """95th percentile of the intervals between animation frames in ms, or None and why it could not be measured."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (browser and driver):
        return None, "page not measured: needs chromium and chromedriver (apt install chromium-driver)"
    try:
        from selenium import webdriver
    except ImportError:
        return None, "page not measured: pip install selenium"
    from emo_face.web.server import FaceServer

    server = FaceServer(port=0)
    server.start()
    stop = threading.Event()
    threading.Thread(target=_play, args=(server, stop), daemon=True).start()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=900,900"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        chrome.set_script_timeout(120)
        chrome.get(server.url)
        time.sleep(2.0)
        times = chrome.execute_async_script(_COUNT % FRAMES)
    finally:
        chrome.quit()
        stop.set()
        server.stop()
    return float(np.percentile(np.diff(times), 95)), ""


def _play(server: Any, stop: threading.Event) -> None:
    """Show a face that changes all the time, at 30 Hz."""
    from emo_face.core.arkit import ARKIT_52
    from emo_face.face.motion import FaceMotion

    motion, rng, tick = FaceMotion(1 / 30, seed=3), np.random.default_rng(0), 0
    while not stop.wait(1 / 30):
        now = time.monotonic()
        if tick % 15 == 0:
            motion.set_target(rng.random(len(ARKIT_52)) ** 3, now, 1.0)
        server.publish(motion.tick(now), {"emotion": "Happy", "person": "", "latency_ms": 0})
        tick += 1
