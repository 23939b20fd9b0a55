"""Real-time scheduling for a Python process with one thread that must not be late."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

PRIORITY = 10
"""Real-time priority of the calling thread: above everything ordinary, below sound and device threads."""


def realtime_process() -> Callable[[], None]:
    """Give the calling thread real-time scheduling where the system allows it, else the best nice level it allows.

    The other threads of the process get it too, one step lower: a thread that loses its core while it holds Python's
    global lock would stop the caller as well. Child processes and later threads start without it.

    Returns:
        a function that puts every thread back to what it was.
    """
    me = threading.get_native_id()
    before: dict[int, tuple[int, os.sched_param]] = {}

    def undo() -> None:
        for thread, (policy, parameter) in before.items():
            with contextlib.suppress(OSError):  # it has ended
                os.sched_setscheduler(thread, policy, parameter)

    try:
        for thread in [me, *(t for t in map(int, os.listdir("/proc/self/task")) if t != me)]:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                old = os.sched_getscheduler(thread), os.sched_getparam(thread)
                level = os.sched_param(PRIORITY if thread == me else PRIORITY - 1)
                os.sched_setscheduler(thread, os.SCHED_RR | os.SCHED_RESET_ON_FORK, level)
                before[thread] = old
    except (AttributeError, OSError):
        with contextlib.suppress(AttributeError, OSError):
            os.setpriority(os.PRIO_PROCESS, me, -10)
        log.debug("no real-time scheduling: grant rtprio in /etc/security/limits.conf for steadier motion")
    return undo
