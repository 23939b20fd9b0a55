"""web/board.py: what a page of the dashboard is told, and what it may ask for."""

from __future__ import annotations

import json

import pytest

from emo_face.web.board import GONE, Allowed, Board, Status, parse, person_row
from emo_face.web.protocol import CommandError

YES = Allowed(True, "notice", False, True, True)
PERSON = person_row("p1", "Sad", {"Sad": 0.81234, "Neutral": 0.1}, 0.953, {"face": 0.2, "speech": 0.7})


def test_a_report_is_json_of_what_is_fresh() -> None:
    board = Board()
    board.allow(YES)
    board.scores([PERSON], 0.012, 10.0)
    board.expression({"name": "Sympathy", "strength": 0.4}, 0.03, 10.0)
    board.hear("I miss her.", 9.0)
    told = json.loads(json.dumps(board.report(10.5)))
    assert told["people"] == [
        {
            "id": "p1",
            "top": "Sad",
            "p": {"Sad": 0.812, "Neutral": 0.1},
            "quality": 0.95,
            "evidence": {"face": 0.2, "speech": 0.7},
        }
    ]
    assert told["shown"]["name"] == "Sympathy"
    assert told["latency"] == {"scores": 12.0, "expression": 30.0}
    assert told["heard"] == [{"ago": 1.5, "text": "I miss her."}]
    assert "read by a machine" in told["notice"]
    later = board.report(13.0)
    assert (later["people"], later["shown"], later["latency"]) == ([], None, {})


def test_nothing_of_people_is_told_before_they_allow_it() -> None:
    board = Board()
    board.hear("secret", 0.0)
    assert board.report(0.1)["heard"] == []
    assert board.report(0.1)["notice"].endswith("nobody is read.")
    board.allow(Allowed(True, "ask", False, True, True))
    board.hear("secret", 0.0)
    assert board.report(0.1)["heard"] == []
    assert board.report(0.1)["allowed"]["reading"] is False
    board.allow(Allowed(True, "ask", True, True, True))
    board.hear("hello", 0.0)
    assert board.report(0.1)["heard"] == [{"ago": 0.1, "text": "hello"}]
    board.allow(Allowed(True, "ask", True, True, False))
    assert board.report(0.1)["heard"] == [], "words that are private now are forgotten"


def test_a_long_warning_is_told_to_its_end_where_the_fix_is() -> None:
    board = Board()
    board.status("perception", Status(1, "no detector, " * 40 + "emo-face models pull yunet", {}, 0.0))
    assert board.report(1.0)["nodes"][0]["message"].endswith("emo-face models pull yunet")


def test_nodes_tell_their_trouble_and_their_silence() -> None:
    board = Board()
    values = {
        "image.rate_hz": "24.0",
        "latency.p95_ms": "31.2",
        "frames_dropped": "4",
        "dropped.stale": "0",
        "estop": "NOT off: cut the power (jaw): no answer",
    }
    board.status("perception", Status(1, "no YuNet: get it by `emo-face models pull yunet`", values, 0.0))
    (node,) = board.report(1.0)["nodes"]
    assert node["rates"] == {"image": "24.0"}
    assert node["p95_ms"] == "31.2"
    assert node["dropped"] == {"frames_dropped": "4"}
    assert node["level"] == 1
    assert "models pull yunet" in node["message"]
    for other in ("left/face_driver", "my_face_driver"):
        board.status(other, Status(0, "active", values, 0.0))
        assert board.stop == "", "another robot's"
    board.status("face_driver", Status(0, "active", values, 0.0))
    assert board.stop == "NOT off: cut the power (jaw): no answer"
    board.status("face_driver", Status(0, "active", {"estop": ""}, 0.0))
    assert board.stop == ""
    assert {n["level"] for n in board.report(GONE + 1)["nodes"]} == {3}
    for number in range(100):
        board.status(f"node{number}", Status(0, "", {}, 0.0))
    assert len(board.report(0.0)["nodes"]) <= 32


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[1]",
        '{"type": "tune", "values": {"jawOpen": 0.4}}',
        '{"type": "consent", "granted": true}',
        '{"type": "consent", "granted": 1, "pictures": true, "words": true}',
        '{"type": "release"}',
    ],
)
def test_other_commands_are_refused(text: str) -> None:
    with pytest.raises(CommandError):
        parse(text)


def test_its_commands_are_read() -> None:
    assert parse('{"type": "estop"}') == {"type": "estop"}
    given = '{"type": "consent", "granted": true, "pictures": false, "words": true, "mode": "off"}'
    assert parse(given) == {"type": "consent", "granted": True, "pictures": False, "words": True}
