"""``emo-face bench graph`` on the real graph, for two seconds: the keys are there and the figures make sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")

from emo_face.cli.main import main


def test_the_whole_graph_is_measured(
    assets: Path, domain: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("EMO_FACE_MODELS", str(assets)), ("ROS_DOMAIN_ID", ""), ("ROS_AUTOMATIC_DISCOVERY_RANGE", "")):
        monkeypatch.setenv(name, value)
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    source = assets / "images" / "emotion" / "max_happy-baby.jpeg"
    command = ["bench", "graph", "--one", str(source), "--seconds", "2", "--rate", "10", "--json"]
    assert main([*command, "--domain", str(domain)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ours"]["people"] == 1
    assert 2 < found["ours"]["fps"] <= 11
    assert 0 < found["ours"]["p50_ms"] <= found["ours"]["p95_ms"] <= found["ours"]["p99_ms"]
    assert set(found["rss_mb_by_node"]) == {"camera", "perception", "expression", "face_driver"}
    assert found["rss_mb"] > 100
    assert found["startup_s"] > 0
    assert found["peer"] is None
    assert found["notes"] == ["no --peer-python: the peer was not measured"]
