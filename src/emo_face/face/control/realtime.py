"""Real-time scheduling for a Python process with one thread that must not be late."""

import contextlib
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

PRIORITY = 10
"""Real-time priority of the calling thread: above everything ordinary, below sound and device threads."""


GIL_SLICE = 0.0005
"""Seconds after which another Python thread must let the loop in; Python's own default of 5 ms is half a period."""


def realtime_process() -> Callable[[], None]:
    """Arrange the whole process for one punctual thread, the calling one; returns what puts all back as it was.

    Other threads hand Python's lock over sooner, and the garbage collector never scans again what exists now.
    """
    interval, frozen = sys.getswitchinterval(), gc.get_freeze_count()
    sys.setswitchinterval(min(interval, GIL_SLICE))
    if not frozen:
        gc.collect()
        gc.freeze()
    slower = realtime_threads()

    def undo() -> None:
        slower()
        if not frozen:
            gc.unfreeze()
        sys.setswitchinterval(interval)

    return undo


def realtime_threads() -> Callable[[], None]:
    """Give the calling thread real-time scheduling if the system allows it, else the best nice level it allows.

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
