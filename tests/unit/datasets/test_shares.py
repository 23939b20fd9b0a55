"""A view that nobody shows is said before hours are spent on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.records import Record
from emo_face.datasets.shares import need_views, share_text, view_shares

HALF = [
    Record("a", "a.png", "basic7", ("Happy",), bbox_body=Box(0, 0, 9, 9)),
    Record("b", "b.png", "basic7", ("Happy",), bbox_body=Box(0, 0, 9, 9), bbox_face=Box(1, 1, 3, 3)),
]


def test_shares_are_printed(capsys):
    assert need_views(HALF, ("scene", "body", "face"), Path("r.jsonl")) == {"scene": 1.0, "body": 1.0, "face": 0.5}
    assert "views of 2 people: scene 100.0 %, body 100.0 %, face 50.0 %" in capsys.readouterr().err


def test_a_view_that_nobody_has_is_refused_unless_left_out():
    assert need_views(HALF[:1], ("scene", "body"), Path("r.jsonl"))["face"] == 0.0
    with pytest.raises(UserError, match=r"r.jsonl: none of 1 people has the view face.*data boxes.*--views scene body"):
        need_views(HALF[:1], ("scene", "body", "face"), Path("r.jsonl"))


def test_no_records_have_no_views():
    assert share_text(view_shares([])) == "scene 0.0 %, body 0.0 %, face 0.0 %"
