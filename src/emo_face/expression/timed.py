"""A face that comes, stays and goes: keyframes of one apex, on a clock that starts when words are first answered."""

from emo_face.core.types import Keyframe, Speech
from emo_face.expression.words import Timing
from emo_face.face.expressions.basis import FaceCode


def timed(apex: FaceCode, timing: Timing) -> tuple[Keyframe, ...]:
    """From rest to the apex, a while there, and to what stays of it; a share of a code is a weaker face."""
    return tuple(
        Keyframe(offset, share * apex.coefficients, share * apex.jaw_pose, share * apex.eyelids)
        for offset, share in timing.moments
    )


class Onset:
    """Remembers when the answer to some words began: published again, the same answer goes on."""

    def __init__(self) -> None:
        self._words: Speech | None = None
        self._start = 0.0

    def of(self, words: Speech, now: float) -> float:
        """Seconds, when the answer to ``words`` began: ``now`` if they are new."""
        if words != self._words or now < self._start:  # a clock that jumps back begins anew
            self._words, self._start = words, now
        return self._start


def lasting(start: float, frames: tuple[Keyframe, ...], stamp: float, valid_for: float) -> float:
    """Seconds after ``stamp`` for which a target is valid: at least until its last keyframe is reached."""
    return max(valid_for, start + frames[-1].offset - stamp)
