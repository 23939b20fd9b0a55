"""What modules cost a fresh interpreter: megabytes of its own memory and milliseconds, each on top of those before.

Run as a script with the modules' names; prints a JSON list. Own memory (USS) is what would be free without it: pages of
shared libraries that other processes map as well do not count.
"""

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def import_costs(modules: Sequence[str]) -> list[dict[str, Any]]:
    """One row per module in their order: ``module``, ``mb`` resident, ``own_mb``, ``ms``.

    Raises:
        RuntimeError: one of them does not import; the interpreter's last line.
    """
    done = subprocess.run([sys.executable, __file__, *modules], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"imports: {done.stderr.strip().splitlines()[-1]}")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def memory_mb(pid: int | str = "self") -> dict[str, float]:
    """``rss``, ``pss`` (shared pages divided by those who share them) and ``uss`` (own pages), MB; 0 if it is gone."""
    kb = dict.fromkeys(("Rss", "Pss", "Private_Clean", "Private_Dirty"), 0)
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            key = line.partition(":")[0]
            if key in kb:
                kb[key] = int(line.split()[1])
    except OSError:
        pass
    own = kb["Private_Clean"] + kb["Private_Dirty"]
    return {"rss": kb["Rss"] / 1000, "pss": kb["Pss"] / 1000, "uss": own / 1000}


def main(modules: Sequence[str]) -> None:
    rows, before = [], memory_mb()
    for module in modules:
        start = time.perf_counter()
        importlib.import_module(module)
        spent, now = time.perf_counter() - start, memory_mb()
        grown = {"mb": round(now["rss"] - before["rss"], 1), "own_mb": round(now["uss"] - before["uss"], 1)}
        rows.append({"module": module, **grown, "ms": round(spent * 1e3)})
        before = now
    print(json.dumps(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
