"""The preflight check names what is missing and how to mend it."""

from __future__ import annotations

import argparse
import json
import socket

from emo_face.cli import doctor, main


def test_it_finds_a_used_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        (finding,) = doctor.port(number)
    assert finding.level == doctor.NOTE
    assert "screen.port" in finding.fix


def test_a_missing_model_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delenv("EMO_FACE_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    by_topic = {f.topic: f for f in doctor.models()}
    assert by_topic["model yunet"].level == doctor.NOTE
    assert by_topic["model yunet"].fix == "emo-face models pull yunet"
    assert by_topic["model open-ict-1"].level == doctor.OK


def test_json_is_all_there_is_on_stdout(capsys):
    code = main.main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == int(any(f["level"] == "bad" for f in found))
    assert {"numpy", "rclpy", "camera"} <= {f["topic"] for f in found}


def test_a_check_that_breaks_is_reported_not_raised(monkeypatch):
    def broken():
        raise RuntimeError("no such luck")
        yield

    monkeypatch.setattr(doctor, "models", broken)
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    assert any("no such luck" in f.found for f in doctor.examine(parser.parse_args([])))


def test_a_folder_without_an_export_is_said_and_the_packaged_models_too(tmp_path, capsys):
    assert main.main(["doctor", "--json", "--multiview", str(tmp_path)]) == 1
    found = {f["topic"]: f for f in json.loads(capsys.readouterr().out)}
    assert "export again" in found["models named"]["found"]
    assert "onnxruntime" in found["runs on: nano_face"]["found"]
