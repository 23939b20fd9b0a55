"""Run one node as a process: signals end it through its lifecycle, user errors are one line, the exit code tells."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from emo_face.core.errors import UserError
from emo_face.ros.images.transport import use_profile
from emo_face.ros.lifecycle import EmoNode

HAND_OVER = 0.0005
"""Seconds that rclpy's multi-threaded executor is kept from looking for work. It hands a callback out again and again,
thousands of times a second, until a thread of its pool has begun it, and keeps the interpreter from beginning it."""


def run(create: Callable[[], EmoNode], args: Sequence[str] | None = None, remaps: Sequence[str] = ()) -> int:
    """Spin the node that ``create`` makes until it finishes or SIGINT/SIGTERM comes.

    A signal deactivates the node first (the face eases to neutral); a second one ends at once.

    Args:
        args: command line, default ``sys.argv``.
        remaps: ``from:=to`` rules that hold where the user gives none for the same name.

    Returns:
        0 at a clean end, 2 after a user's mistake in the parameters, else what the node finished with.
    """
    use_profile(os.environ)
    # our own handlers: rclpy's would shut the context down before the node can say good-bye
    rclpy.init(args=arguments(args, remaps), signal_handler_options=SignalHandlerOptions.NO)
    node: EmoNode | None = None
    code = 0
    try:
        node = create()
        _end_on_signals(node)
        code = _spin(node)
    except UserError as error:
        print(f"emo_face: {error}", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            end(node)
        rclpy.try_shutdown()
    return code


def arguments(args: Sequence[str] | None, remaps: Sequence[str]) -> list[str]:
    """Append default remap rules to a command line; ROS applies the first that fits, so the user's win."""
    rules = [word for rule in remaps for word in ("-r", rule)]
    return [*(sys.argv if args is None else args), *(["--ros-args", *rules] if rules else [])]


def _end_on_signals(node: EmoNode) -> None:
    def stop(number: int, frame: Any) -> None:
        if node.exit_code is not None:
            raise KeyboardInterrupt
        node.finish(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _spin(node: EmoNode) -> int:
    executor: Executor = SingleThreadedExecutor() if node.threads == 1 else MultiThreadedExecutor(node.threads)
    executor.add_node(node)
    try:
        while node.exit_code is None and rclpy.ok():
            # the timeout lets Python run its signal handlers
            executor.spin_once(timeout_sec=0.1)
            if node.threads > 1:
                time.sleep(HAND_OVER)
        return node.exit_code or 0
    finally:
        executor.remove_node(node)


def end(node: EmoNode) -> None:
    """Take the node to ``finalized`` and destroy it; never raises."""
    try:
        if node.state != "finalized" and rclpy.ok(context=node.context):
            node.trigger_shutdown()
        node.destroy_node()
    except (KeyboardInterrupt, Exception) as error:
        print(f"emo_face: unclean end: {type(error).__name__}: {error}", file=sys.stderr)
