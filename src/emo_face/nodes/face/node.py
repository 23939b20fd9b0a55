"""What the parts of the face driver node know of it: the face, and its emergency stop."""

from __future__ import annotations

from typing import Any

from emo_face.core.types import ExpressionTarget
from emo_face.face.control.controller import FaceController
from emo_face.face.control.latch import Latch
from emo_face.face.drivers import StopReport
from emo_face.face.motion.motion import FaceMotion
from emo_face.face.motion.player import Bases, FacePlayer
from emo_face.face.rig.rig import load_rig
from emo_face.nodes.face.configured import STILL, ConfiguredFace, open_head, remembered_stop
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.messages.motors import MotorTopics


class FaceNode(EmoNode):
    """A node that may have a face.

    Attributes:
        face: everything that moves and shows it, from configure to cleanup. topics: of its motors, if it has a rig.
        notice: what the screen tells people about being read; empty for nothing.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.face: ConfiguredFace | None = None
        self.notice = ""
        self.topics = MotorTopics(self) if self.params["rig"] else None
        self._bare: tuple[FaceController, Latch] | None = None  # motors stopped while there was no face

    def tell_pages(self, target: ExpressionTarget, age: float) -> None:
        """Put beside the face what is being answered; ``age`` in seconds."""
        if self.face is not None and self.face.screen is not None:
            self.face.screen.tell(target, age)

    def emergency_stop(self) -> StopReport:
        """Stop now, in whatever state the node is; says what is true."""
        if self.face is not None:
            return self.face.estop()
        if self.topics is None:
            return STILL
        if self._bare is None:  # motors may have torque although nobody drives them now
            player = FacePlayer(FaceMotion(1.0 / self.params["rate"], 0), Bases())
            rig, name = load_rig(self.params["rig"]), self.get_fully_qualified_name()
            self._bare = open_head(rig, player, self.params, name, self.topics, stopped=True)
        return remembered_stop(*self._bare)

    def release_stop(self) -> str:
        """Release the stop; moves nothing. Says what happens next."""
        if not (self.face.release() if self.face is not None else self.close_bare(release=True)):
            return "nothing was stopped"
        return "released; nothing moves until ~/enable" if self.topics is not None else "released"

    @property
    def stop_report(self) -> StopReport | None:
        """What a latched stop has achieved so far; None if none is latched."""
        if self.face is not None:
            return self.face.stop_report
        return self._bare[0].stop_report if self._bare is not None else None

    def close_bare(self, release: bool = False) -> bool:
        """Let go of motors that were stopped while there was no face; whether there were any."""
        bare, self._bare = self._bare, None
        if bare is not None:
            bare[0].close()
            if release:
                bare[1].note(stopped=False, driving=False)
        return bare is not None
