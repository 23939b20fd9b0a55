"""The whole graph on a real film: a woman cries, is afraid, then laughs, and the scores follow her."""

from __future__ import annotations

from collections import Counter

import pytest

rclpy = pytest.importorskip("rclpy", reason="run scripts/setup.sh")
pytest.importorskip("emo_face_msgs", reason="run scripts/setup.sh")

from emo_face_msgs.msg import EmotionScoresArray

pytestmark = pytest.mark.ros

FILM = 472 / 24  # s
# Seconds of the film in which one emotion is plain, between the changes (seen by eye).
PLAIN = {"Sad": (1.0, 5.0), "Fear": (6.5, 8.5), "Happy": (11.0, 18.0)}


@pytest.mark.slow  # twenty seconds in real time, and a starved machine sees too few frames of the fear
def test_the_top_emotion_follows_the_film(up, node, spin_until, assets, monkeypatch):
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    heard: list[tuple[float, str]] = []

    def note(message: EmotionScoresArray) -> None:
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        heard.extend((stamp, person.top) for person in message.people[:1])

    node.create_subscription(EmotionScoresArray, "emotion/scores", note, 50)
    film = assets / "video" / "WolfgangLanger_Pexels_3063838.mp4"
    process = up("--source", str(film), "--exit-on-end", "--set", "face_driver.screen.port=0")

    def the_film_is_over() -> bool:
        return process.poll() is not None

    spin_until(the_film_is_over, 90.0)
    assert process.returncode == 0, process.stdout.read()
    start = heard[-1][0] - FILM  # the end is certain; the first scores may be missed while DDS finds its peers
    seen = {
        emotion: Counter(top for stamp, top in heard if begin <= stamp - start <= end).most_common(1)
        for emotion, (begin, end) in PLAIN.items()
    }
    assert {emotion: top[0][0] for emotion, top in seen.items() if top} == {emotion: emotion for emotion in PLAIN}
