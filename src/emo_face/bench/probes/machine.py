"""What a benchmark ran on, and what a process costs; read from /proc, so Linux only for the costs."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def machine() -> dict[str, Any]:
    """Processor, cores, memory, versions and how busy the machine is, for the report."""
    import cv2
    import onnxruntime as ort

    return {
        "cpu": _fields("/proc/cpuinfo").get("model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(_kb(_fields("/proc/meminfo"), "MemTotal") / 1e6, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "onnxruntime": ort.__version__,
        "load_before": round(os.getloadavg()[0], 2),
    }


def milliseconds(call: Callable[[], object], runs: int, warm_up: int = 0) -> dict[str, float]:
    """``p50_ms`` and ``p95_ms`` of ``runs`` calls, after ``warm_up`` calls that are not timed."""
    spent = []
    for _ in range(warm_up + runs):
        start = time.perf_counter()
        call()
        spent.append((time.perf_counter() - start) * 1e3)
    p50, p95 = np.percentile(spent[warm_up:], (50, 95)).round(3).tolist()
    return {"p50_ms": p50, "p95_ms": p95}


def descendants(pid: int) -> list[int]:
    """Process ids below ``pid``, itself not included."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def command_of(pid: int) -> str:
    """Command line of a process, words separated by blanks; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def rss_mb(pid: int) -> float:
    """Resident memory of a process, MB; shared libraries count in full. 0 if it is gone."""
    return _kb(_fields(f"/proc/{pid}/status"), "VmRSS") / 1000


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and its threads have used, seconds."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the command name (state is 0, parent is 1, utime 11, stime 12)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _fields(path: str) -> dict[str, str]:
    """``key: value`` lines of a file of /proc; none if it is gone."""
    try:
        lines = (line.partition(":") for line in Path(path).read_text().splitlines())
        return {key.strip(): value.strip() for key, _, value in lines}
    except OSError:
        return {}


def _kb(fields: dict[str, str], key: str) -> int:
    return int(fields.get(key, "0 kB").split()[0])
