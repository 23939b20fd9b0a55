"""recording/moments.py: the story of a run in rows."""

from __future__ import annotations

from emo_face.recording.document import document
from emo_face.recording.moments import VOICE, Moment, moments
from emo_face.recording.recording import Recording, Scores, Shown


def shown(stamp: float, name: str, feels: str = "Happy", who: str = "p1", strength: float = 0.5) -> Shown:
    return Shown(stamp, 0.0, who, feels, 0.8, name, strength, 0.6, "prototypes", "")


def told(*parts: tuple[float, float, str, str, str], speech: tuple[tuple[float, str], ...] = ()) -> list[Moment]:
    """Rows of a recording at 10 Hz: (begin, end, shows, feels, who)."""
    track = [shown(t / 10, *rest) for begin, end, *rest in parts for t in range(round(begin * 10), round(end * 10))]
    return moments(Recording(scores=[Scores(0.0, 0.0, (), (), ())], expressions=track, speech=list(speech)))


def test_a_line_and_the_face_it_changes_are_one_row():
    rows = told((0, 2, "Attention", "Neutral", "p1"), (2, 5, "Sympathy", "Sad", "p1"), speech=((1.9, "I miss her."),))
    assert [(row.at, row.heard, row.feels, row.shows) for row in rows] == [
        (0.0, "", "Neutral", "Attention"),
        (2.0, "I miss her.", "Sad", "Sympathy"),
    ]
    assert rows[1].who == "the person"


def test_a_flicker_is_no_row_and_what_it_parts_is_one():
    rows = told(
        (0, 2, "Happy", "Happy", "p1"), (2, 2.3, "Interest", "Surprise", "p1"), (2.3, 4, "Happy", "Happy", "p1")
    )
    assert [(row.at, row.shows) for row in rows] == [(0.0, "Happy")]


def test_a_voice_without_a_person_is_named_and_a_line_that_changes_nothing_is_kept():
    rows = told((0, 3, "Concern", "Fear", ""), speech=((0.0, "Help!"), (2.0, "<b>Quick!</b>")))
    assert [(row.at, row.heard, row.who, row.shows) for row in rows] == [
        (0.0, "Help!", VOICE, "Concern"),
        (2.0, "<b>Quick!</b>", VOICE, "Concern"),
    ]
    page = document("<div id='plots'></div>", {"latency_ms": {"p50": 3}, "models": {"a": "ab" * 32}}, rows, "run.mp4")
    assert "&lt;b&gt;Quick!" in page
    assert "<b>" not in page
    assert "a voice: Fear 80%" in page
    assert '<video src="run.mp4"' in page
    assert "Camera to expression, ms" in page
    assert "abababababab…" in page


def test_nobody_and_silence_make_no_claim():
    rows = told((0, 1, "Neutral", "", ""))
    assert rows[0].who == ""
    assert "nobody in view" in document("", {}, rows)
    assert document("", {}, []).count("<video") == 0


def test_one_face_for_two_feelings_is_two_rows():
    rows = told((0, 2, "Concern", "Anger", "p1"), (2, 4, "Concern", "Happy", "p1"), speech=((0.0, "I hate them!"),))
    assert [(row.heard, row.feels, row.shows) for row in rows] == [
        ("I hate them!", "Anger", "Concern"),
        ("", "Happy", "Concern"),
    ]
