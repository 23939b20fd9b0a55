"""The turning points of a recording: what was heard, what the person felt, and what the face showed then."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from emo_face.recording.recording import Recording, Shown

LEAST = 0.4
"""Seconds that an expression must last to be told of."""
BEFORE, AFTER = 1.5, 0.3
"""Seconds before and after the change of face in which a line counts as its cause."""
VOICE = "a voice"
"""Whose feelings are answered while nobody is followed."""


@dataclass(frozen=True)
class Moment:
    """One row of the story. ``at``: seconds from the recording's start; empty texts if there was nothing.

    Attributes:
        who: ``the person`` or :data:`VOICE`. feels, shows: names; confidence, strength: in [0, 1], the largest.
    """

    at: float
    heard: str
    who: str
    feels: str
    confidence: float
    shows: str
    strength: float


def moments(recording: Recording) -> list[Moment]:
    """Rows in the order of time: one per expression of the face that lasted, and one per line said meanwhile."""
    start, lines = recording.start, list(recording.speech)
    found: list[Moment] = []
    for run in _runs(recording.expressions):
        begin = run[0].stamp
        cause = next((line for line in lines if begin - BEFORE <= line[0] <= begin + AFTER), None)
        if cause is not None:
            lines.remove(cause)
        found.append(_moment(run, begin - start, cause[1] if cause else ""))
    for said, text in lines:
        then = [shown for shown in recording.expressions if said <= shown.stamp <= said + BEFORE]
        found.append(_moment(then, said - start, text) if then else Moment(said - start, text, "", "", 0.0, "", 0.0))
    return sorted(found, key=lambda moment: moment.at)


def teller(shown: Shown) -> str:
    """Whose feelings an expression answers; "" if nobody's."""
    if shown.person_id:
        return "the person"
    return VOICE if shown.person_emotion else ""


def _runs(track: Sequence[Shown]) -> list[list[Shown]]:
    """Stretches of one expression for one feeling of one teller that last; what lies between is left out."""
    alone = _joined([[shown] for shown in track])
    return _joined([run for run in alone if run[-1].stamp - run[0].stamp >= LEAST])


def _joined(runs: Sequence[list[Shown]]) -> list[list[Shown]]:
    joined: list[list[Shown]] = []
    for run in runs:
        if joined and _kind(joined[-1][-1]) == _kind(run[0]):
            joined[-1].extend(run)
        else:
            joined.append(list(run))
    return joined


def _kind(shown: Shown) -> tuple[str, str, str]:
    return shown.shown, teller(shown), shown.person_emotion


def _moment(run: Sequence[Shown], at: float, heard: str) -> Moment:
    feels = Counter(shown.person_emotion for shown in run).most_common(1)[0][0]  # a line may span several
    sure = max(shown.confidence for shown in run if shown.person_emotion == feels)
    shows = Counter(shown.shown for shown in run).most_common(1)[0][0]
    strong = max(shown.strength for shown in run if shown.shown == shows)
    return Moment(max(at, 0.0), heard, teller(run[0]), feels, sure, shows, strong)
