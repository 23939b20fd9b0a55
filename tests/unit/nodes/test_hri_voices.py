"""Whose a voice is, by the matches of others; the messages are stand-ins with hri_msgs/IdsMatch's fields."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")
from emo_face.nodes.hri.voices import MOST, Matches


def match(one: str, other: str, confidence: float) -> SimpleNamespace:
    return SimpleNamespace(id1=one, id2=other, confidence=confidence)


def test_a_voice_is_of_the_person_whom_the_surest_matches_lead_to() -> None:
    matches = Matches()
    assert matches.speaker("v1", ["f1", "f2"]) == ("", 1.0)  # nobody knows: who is alone, or whose mouth moves
    for one in (match("v1", "alice", 0.9), match("alice", "f1", 0.6), match("f2", "alice", 0.8)):
        matches.take(one)
    assert matches.speaker("v1", ["f1", "f2"]) == ("f2", 0.8)
    assert matches.speaker("v1", ["f1"]) == ("f1", 0.6)
    assert matches.speaker("v1", ["f3"]) == ("alice", 0.9)  # somebody else than the one in view
    assert matches.speaker("v2", ["f1"]) == ("", 1.0)


@pytest.mark.parametrize("confidence", [0.0, 0.49, float("nan")])
def test_a_match_is_taken_back(confidence: float) -> None:
    """hri_msgs/IdsMatch: "confidence == 0.0 has the special meaning of: those two IDs are *not* associated"."""
    matches = Matches()
    matches.take(match("v1", "f1", 1.0))
    matches.take(match("f1", "v1", confidence))
    assert matches.speaker("v1", ["f1"]) == ("", 1.0)


def test_ids_that_come_and_go_do_not_fill_the_memory() -> None:
    matches = Matches()
    for number in range(3 * MOST):
        matches.take(match(f"v{number}", f"f{number}", 1.0))
    assert len(matches._links) <= MOST
    assert matches.speaker(f"v{number}", [f"f{number}"]) == (f"f{number}", 1.0)
