"""What the parts of the face driver node know about it: the face, and its emergency stop."""

import threading
from typing import Any

from emo_face.core.types import ExpressionTarget
from emo_face.face.control.controller import FaceController
from emo_face.face.control.latch import Latch
from emo_face.face.drivers import DriverError, StopReport
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
        self._changing = threading.Lock()  # who has the motors: the face, or a stop without one

    def tell_pages(self, target: ExpressionTarget, age: float) -> None:
        """Put beside the face what is being answered; ``age`` in seconds."""
        if self.face is not None and self.face.screen is not None:
            self.face.screen.tell(target, age)

    def emergency_stop(self) -> StopReport:
        """Stop now, in whatever state the node is; says what is true."""
        with self._changing:
            face = self.face
            if face is None and self._bare is None and self.topics is not None:
                # motors may have torque although nobody drives them now
                player = FacePlayer(FaceMotion(1.0 / self.params["rate"], 0), Bases())
                rig, name = load_rig(self.params["rig"]), self.get_fully_qualified_name()
                self._bare = open_head(rig, player, self.params, name, self.topics, stopped=True)
            bare = self._bare
        if face is not None:
            return face.estop()
        return remembered_stop(*bare) if bare is not None else STILL

    def release_stop(self) -> tuple[bool, str]:
        """Release the stop; moves nothing. Whether it is released, and what happens next."""
        with self._changing:
            face, bare = self.face, self._bare
        try:
            if face is None and bare is not None:
                bare[0].clear_estop()
                with self._changing:
                    mine = self._bare is bare
                    self._bare = None if mine else self._bare
                if not mine:  # configure took it over meanwhile
                    return self.release_stop()
                bare[0].close()
                bare[1].note(stopped=False, driving=False)
            elif face is None or not face.release():
                return True, "nothing was stopped"
        except DriverError as error:
            return False, f"not released: {error}"
        if face is not None and face.stop_report is not None:
            return False, "not released: the stop was pressed again meanwhile"
        return True, "released; nothing moves until ~/enable" if self.topics is not None else "released"

    @property
    def stop_report(self) -> StopReport | None:
        """What a latched stop has achieved so far; None if none is latched."""
        if self.face is not None:
            return self.face.stop_report
        return self._bare[0].stop_report if self._bare is not None else None

    def take(self, face: ConfiguredFace | None) -> ConfiguredFace | None:
        """Put ``face`` in the place of the one before, which is returned.

        A stop without a face goes over to it, or goes on without one unless the node ends.
        """
        with self._changing:
            before, self.face = self.face, face
            over = face is not None or self.ending
            bare, self._bare = (self._bare, None) if over else (None, self._bare)
        if bare is not None:
            bare[0].close()
            if face is not None:
                face.estop()
        return before
