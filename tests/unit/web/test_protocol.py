"""Frames and commands of the face WebSocket."""

from __future__ import annotations

import json

import numpy as np
import pytest
from face_frame import read_face_frame
from hypothesis import given
from hypothesis import strategies as st

from emo_face.core.arkit import ARKIT_52
from emo_face.web.protocol import CommandError, clean_meta, pack_frame, parse_command, quantise


@given(st.lists(st.floats(0, 1), min_size=52, max_size=52), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_a_frame_comes_back_within_a_quantum(arkit: list[float], sequence: int, milliseconds: int) -> None:
    number, at, values = read_face_frame(pack_frame(quantise(arkit), sequence, milliseconds))
    assert (number, at) == (sequence % 65536, milliseconds % (1 << 32))
    np.testing.assert_allclose(values, arkit, atol=0.5 / 65535 + 1e-12)


@pytest.mark.parametrize("bad", [[0.0] * 51, [0.0] * 51 + [float("nan")], [float("inf")] + [0.0] * 51])
def test_bad_values_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"52 ARKit values|not finite"):
        quantise(bad)


def test_commands() -> None:
    every = dict.fromkeys(ARKIT_52, 0.5)
    assert parse_command(json.dumps({"type": "tune", "values": every})) == {"type": "tune", "values": every}
    assert parse_command('{"type":"preset","emotion":"Happy"}')["intensity"] == 1.0
    assert parse_command('{"type":"release","extra":1}') == {"type": "release"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "JSON"),
        ("[" * 5000, "JSON"),
        ("[1]", "JSON object"),
        ('{"type":"eval"}', "type must be"),
        ('{"type":"tune"}', "values must be"),
        ('{"type":"tune","values":{"earWiggle":1}}', "earWiggle"),
        ('{"type":"tune","values":{"jawOpen":1.5}}', r"jawOpen must be a number in \[0, 1\]"),
        ('{"type":"tune","values":{"jawOpen":NaN}}', "jawOpen"),
        ('{"type":"tune","values":{"jawOpen":true}}', "jawOpen"),
        ('{"type":"tune","values":{"jawOpen":"1"}}', "jawOpen"),
        ('{"type":"preset","emotion":"Rage"}', "Anger, Disgust"),
        ('{"type":"preset","emotion":"Sad","intensity":-1}', "intensity"),
    ],
)
def test_bad_commands_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        parse_command(text)


@given(st.text(max_size=300))
def test_no_text_crashes_the_parser(text: str) -> None:
    try:
        command = parse_command(text)
    except CommandError:
        return
    assert command["type"] in {"tune", "preset", "release"}


def test_meta_keeps_what_can_be_shown() -> None:
    meta = {"emotion": "Sad" * 200, "latency_ms": 12.34567, "live": True, "nan": float("nan"), "list": [1], "n": 3}
    assert clean_meta(meta) == {"emotion": ("Sad" * 200)[:200], "latency_ms": 12.346, "live": True, "n": 3}
