"""Restart policy and child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from emo_face.runtime.backoff import Backoff
from emo_face.runtime.process import PARENT, Child, Parent


def test_delays_double_up_to_the_longest():
    backoff = Backoff(first=0.5, longest=3.0, give_up=6)
    backoff.started(0.0)
    assert [backoff.failed(1.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_gives_up_after_so_many_failures_in_a_row():
    backoff = Backoff(give_up=2)
    backoff.started(0.0)
    assert backoff.failed(0.1) is not None
    assert backoff.failed(0.2) is not None
    assert backoff.failed(0.3) is None


def test_a_healthy_while_forgives():
    backoff = Backoff(first=0.5, healthy=30.0, give_up=2)
    backoff.started(0.0)
    backoff.failed(1.0)
    backoff.failed(2.0)
    backoff.started(3.0)
    assert backoff.failed(40.0) == 0.5


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.01)


def test_a_child_ends_when_asked_and_its_code_is_told():
    script = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('up', flush=True)\ntime.sleep(60)"
    )
    read, write = os.pipe()
    with os.fdopen(write, "wb") as log, os.fdopen(read, "rb") as out:
        child = Child([sys.executable, "-c", script], log=log)
        assert out.readline() == b"up\n"
        assert child.exit_code() is None
        assert child.peak_rss_mb() > 1.0
        child.ask_to_end()
        assert child.end() == 7


def test_a_python_that_is_asked_while_it_starts_says_nothing():
    read, write = os.pipe()
    with os.fdopen(write, "wb") as log, os.fdopen(read, "rb") as out:
        children = [Child([sys.executable, "-c", "import numpy, asyncio"], log=log) for _ in range(6)]
        for number, child in enumerate(children):
            time.sleep(0.01 * number)
            child.ask_to_end()
        assert {child.end() for child in children} <= {-signal.SIGTERM, 0}
        log.close()
        assert out.read() == b""


def test_a_child_that_ignores_signals_is_killed():
    script = (
        "import signal, time\nfor s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "print('up', flush=True)\ntime.sleep(60)"
    )
    read, write = os.pipe()
    with os.fdopen(write, "wb") as log, os.fdopen(read, "rb") as out:
        child = Child([sys.executable, "-c", script], log=log)
        assert out.readline() == b"up\n"
        child.ask_to_end()
        assert child.end(patience=0.1) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_no_child_outlives_a_killed_parent():
    parent_script = textwrap.dedent("""
        import sys, time
        from emo_face.runtime.process import PARENT, Child, Parent
        print(Child([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
        time.sleep(60)
    """)
    parent = subprocess.Popen([sys.executable, "-c", parent_script], stdout=subprocess.PIPE, text=True)
    child_pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()

    def gone() -> bool:
        try:
            state = Path(f"/proc/{child_pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"  # ended, waiting for a reaper

    wait_for(gone)


def test_a_parent_that_ends_is_gone_and_nobody_never_is():
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    environment = {PARENT: str(other.pid)}
    parent = Parent.from_environment(environment)
    assert PARENT not in environment
    assert not parent.gone()
    other.communicate(b"\n")
    assert parent.gone()
    assert Parent(other.pid).gone()
    for text in ({}, {PARENT: "0"}, {PARENT: "systemd"}):
        assert not Parent.from_environment(text).gone()
