"""Write the face themes to src/emo_face/web/static/faces/*.json from the drawings in export/themes/.

python export/export_themes.py            # write
python export/export_themes.py --check    # exit 1 if a file differs from its drawing
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "export" / "themes"))
OUT = ROOT / "src" / "emo_face" / "web" / "static" / "faces"


def main() -> int:
    """Write or check every theme."""
    from themes import THEMES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    check = parser.parse_args().check
    stale = []
    for name, draw in THEMES.items():
        text, path = draw().to_json(), OUT / f"{name}.json"
        if check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(path.name)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: {len(text)} bytes")
    if stale:
        print(f"{', '.join(stale)} differ from export/themes: run python export/export_themes.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
