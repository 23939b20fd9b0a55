"""The dashboard in a real headless Chromium: every part shows what it was told, in both tones, wide and narrow."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from chromium import CHROMIUM, DRIVER, MARKS

from emo_face.core.labels import basic7
from emo_face.web.board import Allowed, Board, Status, parse, person_row
from emo_face.web.server import FaceServer

pytestmark = MARKS
WARNING = "no YuNet: faces come from OpenCV's Haar cascade. get it by `emo-face models pull yunet`"


class Running:
    """A dashboard's server that is told of a calm person with sad words, and remembers what pages ask for."""

    def __init__(self) -> None:
        self.board, self.asked, self.stop = Board(), [], ""  # type: ignore[var-annotated]
        self.board.allow(Allowed(True, "notice", False, True, True))
        picture = np.full((240, 320, 3), (40, 160, 90), np.uint8)
        self._jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        self.server = FaceServer(
            port=0, home="dashboard.html", pictures={"/camera.jpg": self._picture}, parse=parse, on_command=self._obey
        )
        self.server.start()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()

    def _picture(self) -> bytes | None:
        allowed = self.board.allowed
        return self._jpeg if allowed.pictures and allowed.reading else None

    def _obey(self, command: dict[str, Any]) -> Any:
        self.asked.append(command)
        if command["type"] == "consent":
            self.board.allow(Allowed(True, "ask", command["granted"], command["pictures"], command["words"]))
            return None
        self.stop = "stopped: torque is off" if command["type"] == "estop" else ""
        return {"type": "stop", "success": True, "message": self.stop}

    def _tell(self) -> None:
        labels = basic7().labels
        p = {label: 0.76 if label == "Sad" else 0.04 for label in labels}
        said = False
        while not self._end.wait(0.1):
            now = time.monotonic()
            self.board.scores([person_row("p00001", "Sad", p, 0.98, {"face": -0.06, "speech": 0.9})], 0.021, now)
            shown = {"name": "Sympathy", "strength": 0.4, "person": "p00001", "feels": "Sad", "confidence": 0.76}
            self.board.expression({**shown, "perspective": "listener", "source": "prototypes", "text": ""}, 0.034, now)
            if not said:
                self.board.hear("My grandmother is in hospital, and I miss her so much.", now)
                said = bool(self.board.allowed.words)
            values = {
                "image.rate_hz": "24.0",
                "scores.rate_hz": "23.9",
                "latency.p95_ms": "31.2",
                "frames_dropped": "4",
            }
            self.board.status("perception", Status(1, WARNING, values, now))
            self.board.status("face_driver", Status(0, "active", {"face.rate_hz": "60.0", "estop": self.stop}, now))
            self.server.hub.report(json.dumps(self.board.report(now)))
            self.server.publish(np.zeros(52), {"estop": bool(self.board.stop), "stop": self.board.stop})

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self.server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def running() -> Iterator[Running]:
    here = Running()
    yield here
    here.close()


def until(browser: Any, script: str, seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := browser.execute_script(script):
            return result
        threading.Event().wait(0.05)
    raise AssertionError(f"never true: {script}")


def text(browser: Any, part: str) -> str:
    return str(browser.execute_script(f"return document.getElementById('{part}').innerText"))


def opened(browser: Any, running: Running, width: int, tone: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": tone}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")  # the page of the test before still asks for pictures
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(running.server.url)
    until(
        browser, "return document.getElementById('nodes').rows.length == 2 && !document.getElementById('camera').hidden"
    )


@pytest.mark.parametrize(("width", "tone"), [(1280, "light"), (375, "dark")])
def test_everything_is_shown_and_nothing_comes_from_elsewhere(
    browser: Any, running: Running, width: int, tone: str
) -> None:
    opened(browser, running, width, tone)
    assert "p00001: Sad" in text(browser, "people")
    assert "76 %" in text(browser, "people")
    assert text(browser, "shown") == "shows Sympathy 40 %"
    assert "because p00001 feels Sad (76 %)" in text(browser, "why")
    assert "My grandmother is in hospital" in text(browser, "heard")
    assert "models pull yunet" in text(browser, "nodes")
    assert "read by a machine" in text(browser, "notice")
    assert browser.execute_script("return document.querySelectorAll('.plot canvas').length") == 2
    until(browser, "return document.getElementById('scores-text').textContent.includes('Sad 76 %')")
    assert until(browser, "return document.getElementById('camera').naturalWidth") == 320
    assert browser.execute_script("return document.documentElement.dataset.tone") == tone
    wide = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "the page scrolls sideways"
    assert browser.get_log("browser") == [], "errors, or violations of the page's own policy"
    sent = [json.loads(row["message"])["message"] for row in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert urls
    assert all(url.startswith((running.server.url, "data:", "blob:")) for url in urls)


def test_everything_can_be_reached_by_keyboard_and_has_a_name(browser: Any, running: Running) -> None:
    opened(browser, running, 1280, "light")
    named = (
        "return [...document.querySelectorAll('button, input, img, [tabindex=\"0\"], [role=img], section')]"
        ".filter((n) => !n.hidden && !(n.innerText || n.ariaLabel || n.getAttribute('aria-labelledby') || n.alt"
        " || n.labels?.length)).map((n) => n.outerHTML)"
    )
    assert browser.execute_script(named) == []
    lost = "return [...document.querySelectorAll('button, input')].filter((n) => !n.hidden && n.tabIndex < 0).length"
    assert browser.execute_script(lost) == 0


def test_the_stop_button_stops_and_consent_hides_pictures_and_words(browser: Any, running: Running) -> None:
    opened(browser, running, 1280, "light")
    browser.execute_script("document.getElementById('estop').click()")
    until(browser, "return document.querySelector('.estop p').innerText.includes('torque is off')")
    assert running.asked == [{"type": "estop"}]
    until(browser, "return document.getElementById('shown').innerText == 'stopped; would show Sympathy 40 %'")
    running.stop = ""
    for name in ("pictures", "words"):
        browser.execute_script(f"document.getElementById('{name}').checked = false")
    browser.execute_script("document.getElementById('agree').click()")
    until(browser, "return document.getElementById('camera').hidden")
    until(browser, "return document.getElementById('no-picture').innerText == 'Pictures are private'")
    until(browser, "return document.getElementById('heard').innerText == 'Words stay private'")
    assert running.asked[-1] == {"type": "consent", "granted": True, "pictures": False, "words": False}
    browser.execute_script("document.getElementById('withdraw').click()")
    until(browser, "return document.getElementById('notice').innerText.includes('until they agree')")
