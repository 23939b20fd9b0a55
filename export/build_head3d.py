"""Build the optional 3D view of the screen face: bundle three.js into src/emo_face/web/static/head3d.js.

    python export/build_head3d.py        # needs Node.js 18 or newer; npm fetches three and esbuild once

The bundle (about 600 kB, MIT licence of three.js) is not in the repository. Then start the driver with
``screen.model`` set to a GLB file (``emo-face head3d`` makes one) and open /3d.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "export" / "head3d"
BUNDLE = ROOT / "src" / "emo_face" / "web" / "static" / "head3d.js"


def main() -> int:
    """Install the two packages and bundle."""
    if not shutil.which("npm"):
        print("npm is missing: apt install nodejs npm", file=sys.stderr)
        return 2
    steps = [
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],
        [
            "npx",
            "esbuild",
            "head3d.js",
            "--bundle",
            "--minify",
            "--format=esm",
            "--legal-comments=inline",
            f"--outfile={BUNDLE}",
        ],
    ]
    for step in steps:
        done = subprocess.run(step, cwd=SOURCE, check=False)
        if done.returncode:
            print(f"{' '.join(step)} failed", file=sys.stderr)
            return 1
    print(f"{BUNDLE.relative_to(ROOT)}: {BUNDLE.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
