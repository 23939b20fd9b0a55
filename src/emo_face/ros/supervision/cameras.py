"""More than one camera for `emo-face up`: which nodes they need, and which topics those share."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emo_face.core.errors import ConfigError
from emo_face.ros.supervision.graph import NODE_NAMES, NodeSpec

PEOPLE = NodeSpec("people")
OWN = "perception/scores"
"""Where the first perception node publishes if there are others."""
TOPIC = "topic:"


@dataclass(frozen=True)
class Further:
    """A camera beside the first. ``source``: as of the camera node, or ``topic:`` and a topic that others publish."""

    name: str
    source: str


def read(texts: Sequence[str]) -> list[Further]:
    """``NAME=SOURCE`` each. Raises ConfigError naming the one that is wrong."""
    found: dict[str, Further] = {}
    for text in texts:
        name, equals, source = text.partition("=")
        free = name not in (*found, *NODE_NAMES, PEOPLE.name)
        if not (equals and source and free and re.fullmatch("[a-z][a-z0-9_]*", name)):
            raise ConfigError(
                f"--also {text}: expected NAME=SOURCE, NAME in small letters and of no other camera or node"
            )
        found[name] = Further(name, source)
    return list(found.values())


def nodes(cameras: Sequence[Further]) -> list[NodeSpec]:
    """What they add to the graph, consumers first."""
    if not cameras:
        return []
    own = [NodeSpec("camera", camera.name) for camera in cameras if not camera.source.startswith(TOPIC)]
    return [PEOPLE, *(NodeSpec("perception", camera.name) for camera in cameras), *own]


def remaps(spec: NodeSpec, cameras: Sequence[Further], namespace: str, given: Sequence[str]) -> list[str]:
    """Words before the user's, ``given``: an image of theirs is the first camera's, their speech is for all."""
    if not cameras or spec.name != "perception":
        return []
    if not spec.space:
        return ["-r", f"emotion/scores:={OWN}"]
    source = next(camera.source for camera in cameras if camera.name == spec.space)
    image = source.removeprefix(TOPIC) if source.startswith(TOPIC) else "camera/image_raw"
    folder, slash, _ = image.rpartition("/")
    rules = [f"image:={image}", f"camera_info:={folder}{slash}camera_info"]
    for name, default in (("speech", "speech/text"), ("consent", "consent")):
        user = (word.partition(":=")[2] for word in given if word.partition(":=")[0] in (name, f"perception:{name}"))
        target = next(user, default)
        shared = target if target.startswith("/") else "/" + "/".join(filter(None, (namespace.strip("/"), target)))
        rules.append(f"{name}:={shared}")
    return [word for rule in rules for word in ("-r", rule)]


def settings(spec: NodeSpec, cameras: Sequence[Further]) -> Mapping[str, str]:
    """Parameter -> YAML text of what follows from the cameras; wins over what is set by hand for the kind of node."""
    if spec == PEOPLE:
        return {"inputs": json.dumps([OWN, *(f"{camera.name}/emotion/scores" for camera in cameras)])}
    if not spec.space:
        return {}
    if spec.name == "perception":  # two sets of people would meet under the same ids
        return {"ros4hri.enabled": "false"}
    return {"source": json.dumps(next(camera.source for camera in cameras if camera.name == spec.space))}
