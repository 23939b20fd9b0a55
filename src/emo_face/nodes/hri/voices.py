"""What is said: one topic, or ROS4HRI's voices, which other nodes may match to people."""

from collections.abc import Callable, Sequence
from typing import Any

from std_msgs.msg import String

from emo_face.nodes.hri.installed import hri_messages
from emo_face.nodes.hri.tracked import Tracked
from emo_face.ros import qos

SURE = 0.5
"""Matches below are none: hri_person_manager's ``match_threshold``."""
MOST = 1000
"""Ids that are remembered; the oldest are forgotten."""
Heard = Callable[..., None]
"""Called with a message and, of a voice, the id of its person and how sure that is; without them nobody knows."""


def listen(node: Any, kind: str, heard: Heard, present: Callable[[], Sequence[str]]) -> None:
    """Hear what ``speech.type`` asks for.

    Args:
        present: ids of the people in view.

    Raises:
        ConfigError: hri_msgs is not installed; names the package.
    """
    if kind == "string":
        node.subscription(String, "speech", heard, qos.reliable(10))
        return
    msgs = hri_messages(f"speech.type: {kind}", "use string")
    if kind == "live_speech":
        node.subscription(msgs.LiveSpeech, "speech", heard, qos.reliable(10))
        return
    matches = Matches()

    def voice(name: str) -> dict[str, tuple[Any, Heard]]:
        return {"speech": (msgs.LiveSpeech, lambda msg: heard(msg, *matches.speaker(name, present())))}

    Tracked(node, "voices", voice)
    node.create_subscription(msgs.IdsMatch, "/humans/candidate_matches", matches.take, qos.reliable(100))


class Matches:
    """Which ids belong together by ``/humans/candidate_matches``."""

    def __init__(self) -> None:
        self._links: dict[str, dict[str, float]] = {}

    def take(self, msg: Any) -> None:
        """Take in an ``hri_msgs/IdsMatch``; one that is not sure ends what was said before."""
        for one, other in ((msg.id1, msg.id2), (msg.id2, msg.id1)):
            links = self._links.setdefault(one, {})
            links.pop(other, None)
            if msg.confidence >= SURE:
                links[other] = float(msg.confidence)
        while len(self._links) > MOST:
            del self._links[next(iter(self._links))]

    def speaker(self, voice: str, present: Sequence[str]) -> tuple[str, float]:
        """Id of the person and how sure it is, the weakest match on the way; one in view, if any belongs to it.

        ("", 1.0) of a voice that nobody knows.
        """
        found = {voice: 1.0}
        reached = [voice]
        for one in reached:  # grows meanwhile
            for other, sure in self._links.get(one, {}).items():
                if other not in found:
                    found[other] = min(found[one], sure)
                    reached.append(other)
        there = [name for name in reached if name in present] or reached[1:]
        best = max(there, key=lambda name: found[name], default="")
        return best, found.get(best, 1.0)
