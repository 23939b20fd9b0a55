"""Make the CMake files of the ROS wheels name this interpreter instead of the one they were built with.

The wheels' exported targets carry the build machine's `/opt/python/cp3XX-cp3XX` paths, on which every
message package fails to configure. Idempotent.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

FOREIGN = {
    re.compile(r"/opt/python/cp3\d+-cp3\d+/include/python3\.\d+"): sysconfig.get_paths()["include"],
    re.compile(r"/opt/python/cp3\d+-cp3\d+/lib/python3\.\d+/site-packages/numpy/_core/include"): numpy.get_include(),
}


def main() -> None:
    for path in Path(sys.prefix, "share").rglob("*.cmake"):
        before = path.read_text(encoding="utf-8")
        after = before
        for pattern, here in FOREIGN.items():
            after = pattern.sub(lambda _, here=here: here, after)
        if after != before:
            path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
