"""`emo-face bench safety` in a short form: every figure is there, nothing lies, nothing crashes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emo_face.bench.emulated.servo_bus import FeetechBus
from emo_face.bench.probes.bad_inputs import try_bad_inputs
from emo_face.bench.probes.stops import trouble
from emo_face.cli.main import main

pytest.importorskip("serial", reason="needs pyserial: scripts/setup.sh feetech")


def test_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--stops", "8", "--timed", "2", "--ticks", "500", "--inputs", "60"]
    assert main(["bench", "safety", "--json", *short]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["stops_tried"] == 8
    assert result["stops_that_lied"] == 0, result["lies"]
    assert result["real_time_ticks"] >= 500
    assert result["limit_violations"] == result["crashes"] == 0
    for state in ("healthy", "one_silent"):
        assert 0 < result["estop_ms"][state]["p50"] <= result["estop_ms"][state]["p99"] < 1000
    assert main(["bench", "safety", "--stops", "0"]) == 2


def test_nonsense_is_refused_by_name_or_counted() -> None:
    tried, crashes = try_bad_inputs(1500, seed=5)
    assert tried >= 1500
    assert crashes == []


def test_trouble_really_troubles() -> None:
    bus, rng = FeetechBus([1, 2, 3]), np.random.default_rng(0)
    seen = {trouble(bus, rng) for _ in range(60)}
    assert {"one silent", "one stuck", "packets lost", "echo", "babble", "unplugged"} <= seen
    assert any(servo.mute for servo in bus.servos.values())
