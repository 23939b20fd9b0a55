"""The face page in a real headless Chromium."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from arkit_values import arkit_values as values
from chromium import CHROMIUM, DRIVER, MARKS

from emo_face.cli.main import main
from emo_face.face.pictures.sketch import draw_face
from emo_face.web.server import FaceServer

pytestmark = MARKS


CANVAS = "return document.getElementById('face').toDataURL();"
SMILE = values(mouthSmile=0.9, cheekSquint=0.5, jawOpen=0.3, browOuterUp=0.3)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=900,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def decode(data_url: str) -> np.ndarray:
    """A picture the page returned, BGR."""
    data = np.frombuffer(base64.b64decode(data_url.split(",")[1]), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


META = {"person": "p00001", "person_emotion": "Sad", "shown": "Sympathy", "strength": 0.62, "latency_ms": 42}


class Page:
    """An open page and a publisher that keeps showing ``face`` at 30 Hz, as the driver does."""

    def __init__(self, browser: Any, server: FaceServer, path: str = "?mode=light", meta: Any = META) -> None:
        self.browser, self.server, self.face, self.meta = browser, server, np.zeros(52), meta
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._thread.start()
        browser.get_log("browser")
        browser.get(server.url + path)
        self.until("return window.emoFace && document.documentElement.dataset.link === 'live' && emoFace.sleep === 0")

    def _publish(self) -> None:
        while not self._stop.wait(1 / 30):
            face = self.face(time.monotonic()) if callable(self.face) else self.face
            self.server.publish(face, self.meta)

    def until(self, script: str, seconds: float = 8.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if result := self.browser.execute_script(script):
                return result
            threading.Event().wait(0.03)
        raise AssertionError(f"never true: {script}")

    def show(self, face: np.ndarray | Callable[[float], np.ndarray]) -> None:
        """Publish ``face`` and wait until the page shows it."""
        self.face = face
        if not callable(face):
            wanted = [round(float(v), 4) for v in face]
            self.until(f"return {wanted}.every((v, i) => Math.abs(v - emoFace.shown[i]) < 2e-3)")

    def picture(self) -> np.ndarray:
        """What the canvas shows, BGR."""
        return decode(
            self.browser.execute_script(f"emoFace.view.stale = true; emoFace.view.show(emoFace.shown); {CANVAS}")
        )

    def close(self) -> None:
        """Stop publishing; the page stays."""
        self._stop.set()
        self._thread.join()


@pytest.fixture
def page(browser: Any, server: FaceServer) -> Iterator[Page]:
    opened = Page(browser, server)
    yield opened
    opened.close()


def test_values_change_the_picture_and_it_agrees_with_the_python_drawing(page: Page) -> None:
    for theme in ("robot", "eyes", "human"):
        page.browser.execute_script(f"return emoFace.setTheme('{theme}')")
        for face in (np.zeros(52), SMILE, values(browDown=1, eyeSquint=0.6, mouthFrown=0.7, tongueOut=0.8)):
            page.show(face)
            seen = page.picture()
            height, width = seen.shape[:2]
            drawn = draw_face(face, (width, height), theme, mode="light")
            difference = np.abs(seen.astype(int) - drawn)
            assert difference.mean() < 1.5, theme
            assert np.mean(difference.max(axis=2) > 60) < 0.01, f"{theme}: more than edges differ"


def test_partial_painting_leaves_no_trace(page: Page) -> None:
    page.show(SMILE)
    page.show(values(eyeBlink=1.0, jawOpen=1.0, tongueOut=1.0, cheekPuff=1.0))
    page.show(np.zeros(52))
    kept, fresh = decode(page.browser.execute_script(CANVAS)), page.picture()
    assert np.mean(np.abs(kept.astype(int) - fresh).max(axis=2) > 24) < 2e-4


def test_people_are_told_that_they_are_read(page: Page) -> None:
    page.meta = {**META, "notice": "I read faces and words here"}
    page.until("return document.getElementById('notice').innerText === 'I read faces and words here'")
    page.meta = META
    page.until("return document.getElementById('notice').hidden")


WANDER = """
  const canvas = document.createElement('canvas');
  canvas.style.cssText = 'position: fixed; inset: 0; width: 640px; height: 480px';
  document.body.append(canvas);
  const view = new emoFace.view.constructor(canvas, emoFace.view.channels);
  view.load(emoFace.face, 'light');
  view.resize(1);
  let seed = arguments[0], painted = 0;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const values = new Float32Array(52);
  for (let frame = 0; frame < 300; frame++) {
    // steps below and above what can be seen, of one channel, of a few, of all
    const share = [0.02, 0.1, 1][frame % 3], size = [0.002, 0.02, 0.2][Math.floor(frame / 3) % 3];
    for (let i = 0; i < 52; i++) {
      if (random() < share) values[i] = Math.min(1, Math.max(0, values[i] + size * (2 * random() - 1)));
    }
    painted += view.show(values);
  }
  const kept = canvas.toDataURL();
  view.stale = true;
  view.show(values);
  const fresh = canvas.toDataURL();
  canvas.remove();
  return [kept, fresh, painted];"""


@pytest.mark.parametrize("theme", ["robot", "eyes", "human"])
def test_painting_only_what_moved_gives_the_same_picture(page: Page, theme: str) -> None:
    page.browser.execute_script(f"return emoFace.setTheme('{theme}')")
    kept, fresh, painted = page.browser.execute_script(WANDER, 7)
    assert 100 < painted < 300, "steps that cannot be seen are not painted"
    difference = np.abs(decode(kept).astype(int) - decode(fresh)).max(axis=2)
    assert np.mean(difference > 48) < 1e-4  # edges may be a quarter of a pixel off
    assert difference.mean() < 0.3


def test_eyes_blink_when_blink_values_arrive(page: Page) -> None:
    page.browser.execute_script("return emoFace.setTheme('robot')")

    def white(picture: np.ndarray) -> int:
        height = picture.shape[0]
        return int((picture[int(height * 0.3) : int(height * 0.62)] > 245).all(axis=2).sum())

    page.show(np.zeros(52))
    open_eyes = white(page.picture())
    page.show(values(eyeBlink=1.0))
    assert white(page.picture()) < 0.02 * open_eyes
    page.show(values(eyeBlinkLeft=1.0))
    assert 0.3 * open_eyes < white(page.picture()) < 0.7 * open_eyes
    page.show(np.zeros(52))
    assert white(page.picture()) == pytest.approx(open_eyes, rel=0.02)


def test_lost_link_shows_and_heals(page: Page) -> None:
    page.show(SMILE)
    assert not page.browser.find_element("id", "badge").is_displayed()
    bright = cv2.imdecode(np.frombuffer(page.browser.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR)
    page.server.stop()
    page.until("return document.documentElement.dataset.link === 'lost' && emoFace.sleep === 1")
    badge = page.browser.find_element("id", "badge")
    assert badge.is_displayed()
    assert "Connection lost" in badge.text
    assert page.browser.execute_script("return emoFace.shown[9] + emoFace.shown[23]") == 0, "the smile is gone"
    threading.Event().wait(0.9)  # the fade to grey is a style transition
    grey = cv2.imdecode(np.frombuffer(page.browser.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR)
    assert np.ptp(grey.astype(int), axis=2).mean() < 0.4 * np.ptp(bright.astype(int), axis=2).mean()
    page.server.start()
    page.until("return document.documentElement.dataset.link === 'live' && emoFace.sleep === 0", 15)
    page.show(SMILE)
    assert not badge.is_displayed()


def test_a_silent_driver_is_told_from_a_lost_link(browser: Any, server: FaceServer) -> None:
    page = Page(browser, server)
    page.close()
    page.until("return document.documentElement.dataset.link === 'waiting'")
    assert "Waiting for the face driver" in browser.find_element("id", "badge").text


def test_motion_at_30_hz_is_smooth_at_60(page: Page) -> None:
    page.show(lambda now: values(jawOpen=0.5 + 0.5 * np.sin(4 * now), browInnerUp=0.5 + 0.5 * np.cos(3 * now)))
    script = """
      const done = arguments[0], times = [], seen = [];
      const step = (now) => {
        times.push(now);
        seen.push(emoFace.shown[17]);
        if (times.length < 150) requestAnimationFrame(step); else done([times, seen]);
      };
      requestAnimationFrame(step);"""
    for _ in range(3):  # a busy machine may miss frames; three bad runs in a row are ours
        times, seen = page.browser.execute_async_script(script)
        gaps, steps = np.diff(times)[30:], np.abs(np.diff(seen))[30:]
        moved = np.mean(steps > 0)
        print(f"rAF p50 {np.median(gaps):.1f} ms, p95 {np.percentile(gaps, 95):.1f} ms; {moved:.0%} of frames are new")
        if np.median(gaps) < 18 and moved > 0.85 and steps.max() < 0.25:
            return
    raise AssertionError(f"60 frames per second, new at each, no jumps: {np.median(gaps)} ms, {moved}, {steps.max()}")


def test_an_idle_face_costs_nothing(page: Page) -> None:
    page.show(SMILE)
    page.until("return !emoFace.running")
    before = page.browser.execute_script("return emoFace.painted")
    threading.Event().wait(0.5)
    assert page.browser.execute_script("return emoFace.painted") == before


def test_nothing_foreign_is_loaded_and_csp_is_kept(page: Page, browser: Any) -> None:
    for path in ("", "tune"):
        browser.get(page.server.url + path)
        page.until("return window.emoFace && document.documentElement.dataset.link === 'live'")
        script = "return performance.getEntriesByType('resource').map((e) => [e.name, e.decodedBodySize])"
        resources = browser.execute_script(script)
        assert all(name.startswith(page.server.url) for name, _ in resources)
        assert sum(size for _, size in resources) < 150_000
        assert browser.execute_script("return document.querySelectorAll('script').length") == 1
        browser.execute_script(
            "const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s)"
        )
        assert browser.execute_script("return window.hacked") is None, "the policy must stop inline script"
    log = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    problems = [message for message in log if page.server.url in message]  # a page of an earlier test may still grumble
    assert [p for p in problems if "inline script" not in p] == []


@pytest.mark.parametrize("size", [(360, 740), (740, 360), (1920, 1080)])
def test_the_face_fits_every_screen(page: Page, browser: Any, size: tuple[int, int]) -> None:
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 2, "mobile": size[0] < 1000}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.until(f"return document.getElementById('face').width === {2 * size[0]}")
        picture = page.picture()
        background = picture[2, 2].astype(int)
        rows, columns = np.nonzero((np.abs(picture.astype(int) - background) > 8).any(axis=2))
        assert 4 < columns.min() < columns.max() < 2 * size[0] - 4
        assert 4 < rows.min() < rows.max() < 2 * size[1] - 4
        assert max(np.ptp(columns) / picture.shape[1], np.ptp(rows) / picture.shape[0]) > 0.85
        assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_and_light_follow_the_device(browser: Any, server: FaceServer) -> None:
    page = Page(browser, server, "?mode=auto")
    try:
        for tone in ("dark", "light"):
            feature = {"name": "prefers-color-scheme", "value": tone}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            page.until(f"return document.documentElement.dataset.tone === '{tone}'")
            assert (page.picture()[2, 2].mean() < 60) == (tone == "dark")
    finally:
        page.close()
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_reduced_motion_slows_the_face_down(browser: Any, server: FaceServer) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    )
    page = Page(browser, server)
    try:
        page.face = SMILE
        trace = browser.execute_async_script(
            "const done = arguments[0], seen = [], end = performance.now() + 1500;"
            "const step = (now) => { seen.push(emoFace.shown[23]);"
            "if (now < end) requestAnimationFrame(step); else done(seen); };"
            "requestAnimationFrame(step);"
        )
        assert trace[-1] > 0.8
        assert np.abs(np.diff(trace)).max() < 0.2, "eased in, not snapped"
    finally:
        page.close()
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_theme_from_the_address(browser: Any, server: FaceServer) -> None:
    page = Page(browser, server, "?theme=human&mode=light")
    try:
        assert browser.execute_script("return emoFace.theme") == "human"
        browser.get(server.url + "?theme=nonsense")
        page.until("return window.emoFace && emoFace.theme === 'robot'")
    finally:
        page.close()


def test_tuning_reaches_the_driver(browser: Any, server: FaceServer) -> None:
    heard: list[dict[str, Any]] = []
    server.on_command = heard.append  # type: ignore[assignment]
    page = Page(browser, server, "tune")
    try:
        assert len(browser.find_elements("css selector", ".sliders input")) == 52
        buttons = {b.text: b for b in browser.find_elements("css selector", "#presets button")}
        buttons["Surprise"].click()
        slide = "const s = document.getElementById('jawOpen'); s.value = 0.4; s.dispatchEvent(new Event('input'))"
        browser.execute_script(slide)
        browser.find_element("id", "release").click()
        page.until("return true")
        end = time.monotonic() + 5
        while len(heard) < 3 and time.monotonic() < end:
            threading.Event().wait(0.02)
        assert {"type": "preset", "emotion": "Surprise", "intensity": 0.7} in heard
        assert any(c.get("values") == {"jawOpen": 0.4} for c in heard)
        assert {"type": "release"} in heard
        server.on_command = lambda command: "the e-stop is pressed"
        buttons["Sad"].click()
        page.until("return document.getElementById('reply').textContent === 'Refused: the e-stop is pressed'")
    finally:
        page.close()


@pytest.mark.parametrize("path", ["", "tune"])
def test_every_page_that_moves_the_face_has_a_stop(browser: Any, server: FaceServer, path: str) -> None:
    heard: list[str] = []
    state = {"estop": False, "stop": ""}

    def driver(command: dict[str, Any]) -> Any:
        heard.append(command["type"])
        state["estop"] = command["type"] == "estop"
        state["stop"] = "NOT off: cut the power (jaw): no answer" if state["estop"] else ""
        return {"type": "stop", "success": not state["estop"], "message": state["stop"] or "released"}

    server.on_command = driver
    page = Page(browser, server, path, meta=state)
    told = "document.querySelector('.estop p').textContent"
    try:
        assert not browser.find_element("id", "clear-estop").is_displayed()
        browser.find_element("id", "estop").click()
        page.until(f"return {told} === 'NOT off: cut the power (jaw): no answer'")
        page.until("return document.querySelector('.estop').classList.contains('bad')")
        page.until("return !document.getElementById('clear-estop').hidden")
        browser.find_element("id", "clear-estop").click()
        page.until("return document.getElementById('clear-estop').hidden")
        assert heard == ["estop", "clear_estop"]
        server.stop()
        page.until("return document.documentElement.dataset.link === 'lost'")
        browser.find_element("id", "estop").click()
        page.until(f"return {told}.startsWith('Not connected: the stop was NOT sent')")
    finally:
        page.close()


def test_the_benchmark_measures_this_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "page", "--seconds", "0.7", "--size", "640x480", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 8 < result["page_p50_ms"] <= result["page_p95_ms"]
    assert 30_000 < result["weight_bytes"] < 150_000
    costs = result["sizes"]["640x480"]
    assert costs["rest"]["script_ms_per_s"] < costs["all_channels"]["script_ms_per_s"]
    painted = [costs[scene]["painted_per_s"] for scene in ("rest", "emotions", "all_channels")]
    assert painted[0] <= painted[1] < painted[2]  # 0.7 s may fall between two emotions
