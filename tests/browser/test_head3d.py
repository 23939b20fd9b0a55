"""The optional 3D view in a real headless Chromium (WebGL in software)."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.arkit import ARKIT_INDEX
from emo_face.web.pages import STATIC
from emo_face.web.server import FaceServer

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
    pytest.mark.skipif(not (STATIC / "head3d.js").is_file(), reason="not built: python export/build_head3d.py"),
]


@pytest.fixture
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = "--headless=new --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --disable-dev-shm-usage"
    for flag in (*flags.split(), "--window-size=400,543"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def test_a_head_shows_what_is_published(browser: Any, assets: Path, tmp_path: Path) -> None:
    model = tmp_path / "head.glb"
    assert main(["head3d", "--ict", str(assets / "head3d"), "--out", str(model)]) == 0
    server = FaceServer(port=0, model=model)
    server.start()

    def show(**channels: float) -> np.ndarray:
        face = np.zeros(52)
        for name, value in channels.items():
            face[ARKIT_INDEX[name]] = value
        end = time.monotonic() + 20
        wanted = f"return window.emoFace && {face.tolist()}.every((v, i) => Math.abs(v - emoFace.view.shown[i]) < 0.01)"
        while not browser.execute_script(wanted):
            server.publish(face)
            threading.Event().wait(0.1)
            assert time.monotonic() < end, browser.get_log("browser")
        return np.asarray(cv2.imdecode(np.frombuffer(browser.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR))

    try:
        browser.get(server.url + "3d?mode=dark")
        rest, smile = show(), show(mouthSmileLeft=1.0, mouthSmileRight=1.0, jawOpen=0.5)
        assert browser.execute_script("return emoFace.view.missing") == []
        background = np.abs(rest.astype(int) - rest[3, 3]).max(axis=2) > 12
        assert 0.2 < background.mean() < 0.8, "the head fills a good part of the picture"
        change = np.abs(rest.astype(int) - smile).max(axis=2) > 25
        half = len(change) // 2
        assert change[half:].sum() > 10 * change[:half].sum() > -1
        assert change.sum() > 300
        assert [e for e in browser.get_log("browser") if "Content Security" in e["message"]] == []
    finally:
        server.stop()
