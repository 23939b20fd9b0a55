"""The command that installs an extra, as it works from where this package is: a checkout, pip, or a ROS workspace."""

import re
import shlex
from importlib import metadata

from emo_face.core.paths import PACKAGE

NAME = "emo_face"


def how_to_install(extra: str = "") -> str:
    """What to type for ``extra`` of setup.py; without one, for the package itself.

    In a checkout ``scripts/setup.sh EXTRA``; elsewhere pip with the extra's own requirements, because the package is on
    no index that pip could take ``emo_face[EXTRA]`` from.
    """
    if _in_checkout():
        return f"scripts/setup.sh {extra}".rstrip()
    wanted = [need for need, of in _requirements() if of == extra]
    return f"pip install {' '.join(map(shlex.quote, wanted))}" if wanted else "reinstall emo_face"


def how_to_get(module: str) -> str:
    """What to type if ``module`` does not import: ROS's own come from ROS, all others from the extra that has them."""
    name = module.partition(".")[0]
    if name == "rclpy" or name.endswith(("_msgs", "_interfaces")):
        here = f"{how_to_install()}, or " if _in_checkout() else ""
        return f"{here}source your ROS distribution and a workspace with emo_face_msgs"
    names = (name, name.replace("_", "-"))
    of = next((extra for need, extra in _requirements() if re.split(r"[<>=!~;\[ ]", need)[0] in names), None)
    return f"pip install {name}" if of is None else how_to_install(of)


def _in_checkout() -> bool:
    return (PACKAGE.parents[1] / "scripts" / "setup.sh").is_file()


def _requirements() -> list[tuple[str, str]]:
    """(requirement, its extra) of the installed package; none in a ROS workspace without Python metadata."""
    try:
        lines = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        return []
    split = (line.partition(";")[::2] for line in lines)
    return [(need.strip(), marker.partition("extra ==")[2].strip().strip("\"'")) for need, marker in split]
