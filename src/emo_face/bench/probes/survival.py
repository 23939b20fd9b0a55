"""Does the graph come up every time, and how soon is a node that hangs or dies noticed and back? Real processes."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emo_face.bench.probes.child import Child, child
from emo_face.core.errors import UserError

ALL_ACTIVE = "all 4 nodes active"
NODES = ("camera", "perception", "expression", "face_driver")
HEALTHY = 31.0  # s after which the failures of a node are forgiven: no node is struck often in short time


@contextlib.contextmanager
def graph(folder: Path, words: Sequence[str] = ()) -> Iterator[Child]:
    """`emo-face up` of all nodes on a grey picture, or as ``words`` say; its state and logs are in ``folder``."""
    picture = folder / "grey.png"
    cv2.imwrite(str(picture), np.full((48, 64, 3), 90, np.uint8))
    command = [sys.executable, "-m", "emo_face.cli.main", "up", "--source", str(picture)]
    command += ["--set", "face_driver.screen.port=0", *words]
    own = {"XDG_STATE_HOME": str(folder / "state"), "ROS_LOG_DIR": str(folder / "ros_log")}  # not the user's
    with child(command, {**os.environ, **own}, folder) as up:
        yield up


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that do nothing but use the processor."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def bring_ups(number: int, loops: int) -> tuple[list[float | None], float]:
    """(seconds of each of ``number`` bring-ups beside ``loops`` busy loops, mean load of the machine meanwhile).

    None for one that was never all active.
    """
    taken, load = [], []
    with busy(loops):
        for _ in range(number):
            with tempfile.TemporaryDirectory() as folder, graph(Path(folder)) as up:
                taken.append(up.wait(ALL_ACTIVE))
            load.append(os.getloadavg()[0])
    return taken, float(np.mean(load)) if load else 0.0


def strike(strikes: Sequence[tuple[signal.Signals, str]]) -> list[tuple[float, float]]:
    """(seconds until the supervisor named the victim, until all nodes were active again) of each (signal, victim).

    All on one graph, one after the other.

    Raises:
        UserError: one was not noticed, or not all came back; says which.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder, graph(Path(folder)) as up:
        if up.wait(ALL_ACTIVE) is None:
            raise UserError(f"the graph did not come up: {up.said()[-500:]}")
        for how, victim in strikes:
            sentence = f"{victim}: waiting: {'gave no heartbeat' if how == signal.SIGSTOP else 'was ended by signal 9'}"
            before, whole = up.said().count(sentence), up.said().count(ALL_ACTIVE)
            os.kill(up.nodes()[victim], how)
            start = time.monotonic()
            noticed = up.wait(sentence, before + 1, 30.0)
            back = up.wait(ALL_ACTIVE, whole + 1)
            if noticed is None or back is None:
                raise UserError(f"{victim} after {how.name}: {'not noticed' if noticed is None else 'not back'}")
            found.append((noticed, time.monotonic() - start))
            if len(strikes) > len(NODES):
                time.sleep(HEALTHY)
    return found


def figures(*, bringups: int = 50, loops: int | None = None, hangs: int = 4, kills: int = 4) -> dict[str, Any]:
    """What `emo-face bench safety --graph` prints.

    Args:
        bringups: how many to try. loops: busy loops beside them; None is two for each core.
        hangs, kills: SIGSTOPs and SIGKILLs of running nodes, in turn.

    Returns:
        ``bringups``, ``bringups_all_active``, ``bringup_s`` (p50 and longest), ``bringup_load`` (load average of the
        machine), ``hang_noticed_s`` (longest), ``hang_back_s``, ``kills`` (all came back), ``kill_back_s`` (longest).

    Raises:
        UserError: a node that was struck did not come back.
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(40 + os.getpid() % 60))
    loops = 2 * (os.cpu_count() or 1) if loops is None else loops
    taken, load = bring_ups(bringups, loops)
    active = [seconds for seconds in taken if seconds is not None]
    plan = [(signal.SIGSTOP, NODES[n % 4]) for n in range(1, 1 + hangs)]
    struck = strike([*plan, *((signal.SIGKILL, NODES[n % 4]) for n in range(kills))])
    hung, killed = struck[:hangs], struck[hangs:]
    return {
        "bringups": len(taken),
        "bringups_all_active": len(active),
        "bringup_s": {"p50": round(float(np.median(active)), 1), "max": round(max(active), 1)} if active else None,
        "bringup_load": round(load, 1),
        "hang_noticed_s": round(max((noticed for noticed, _ in hung), default=0.0), 2),
        "hang_back_s": round(max((back for _, back in hung), default=0.0), 1),
        "kills": len(killed),
        "kill_back_s": round(max((back for _, back in killed), default=0.0), 1),
    }
