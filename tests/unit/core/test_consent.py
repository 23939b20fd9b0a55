"""Consent: what is in force after whose word, and until when."""

from __future__ import annotations

import pytest

from emo_face.core.consent import Consent


def said(state, now=0.0, mode="", granted=True, valid_for=0.0):
    return state.said(mode, granted, True, True, valid_for, "test", now)


@pytest.mark.parametrize(("mode", "reads"), [("off", True), ("notice", True), ("ask", False)])
def test_only_ask_waits_for_a_yes(mode, reads):
    assert Consent(mode).reading(0.0) is reads
    assert said(Consent(mode)).reading(0.0)


def test_a_no_ends_a_yes():
    assert not said(said(Consent("ask")), granted=False).reading(1.0)


def test_a_yes_runs_out_and_is_not_read_again_before_a_new_one():
    state = said(Consent("ask"), now=10.0, valid_for=5.0)
    assert state.reading(15.0)
    assert not state.reading(15.1)
    later = state.at(15.1)
    assert (later.granted, later.until) == (False, None)
    assert later.at(12.0) == later


def test_the_mode_stays_unless_it_is_said():
    assert said(Consent("ask"), mode="").mode == "ask"
    assert said(Consent("ask"), mode="off", granted=False).reading(0.0)


def test_an_unknown_mode_is_named():
    with pytest.raises(ValueError, match="expected one of off, notice, ask, got 'maybe'"):
        said(Consent(), mode="maybe")
