"""The command that installs an extra, as it works from where this package is: a checkout, pip, or a ROS workspace."""

import shlex
from importlib import metadata

from emo_face.core.paths import PACKAGE

NAME = "emo_face"


def how_to_install(extra: str = "") -> str:
    """What to type for ``extra`` of setup.py; without one, for the package itself.

    In a checkout ``scripts/setup.sh EXTRA``; elsewhere pip with the extra's own requirements, because the package is on
    no index that pip could take ``emo_face[EXTRA]`` from.
    """
    if (PACKAGE.parents[1] / "scripts" / "setup.sh").is_file():
        return f"scripts/setup.sh {extra}".rstrip()
    wanted = _requirements(extra)
    return f"pip install {' '.join(map(shlex.quote, wanted))}" if wanted else "reinstall emo_face"


def _requirements(extra: str) -> list[str]:
    try:
        lines = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:  # a ROS workspace without Python metadata
        return []
    found = []
    for line in lines:
        name, _, marker = (part.strip() for part in line.partition(";"))
        of = marker.partition("extra ==")[2].strip().strip("\"'")
        if of == extra:
            found.append(name)
    return found
