"""A long command says how far it is: a line per minute when nobody watches, with the time that is left."""

from __future__ import annotations

import pytest

from emo_face.runtime import progress


def test_lines_have_count_loss_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = progress._Lines("stage 1", 100, 20, clock=lambda: now[0])
    for done, time in ((21, 10.0), (40, 60.0), (41, 61.0), (60, 120.0)):
        now[0] = time
        lines.tick(done, 0.5 if done < 50 else None)
    assert capsys.readouterr().err.splitlines() == [
        "stage 1: 40 of 100, loss 0.5000, 3 min left",
        "stage 1: 60 of 100, 2 min left",
    ]


def test_track_gives_every_item_and_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track([3, 1, 2], "reading")) == [3, 1, 2]
    assert list(progress.track(iter("ab"), "reading", 2)) == ["a", "b"]
    with progress.bar("quiet", 2, show=False) as tick:
        tick(1, 0.1)
    assert capsys.readouterr().err == ""
