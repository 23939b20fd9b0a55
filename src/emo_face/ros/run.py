"""Run one node as a process: signals end it through its lifecycle; user errors are one line and an exit code."""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import IO, Any

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from emo_face.core.errors import ConfigError, UserError
from emo_face.ros.images.transport import use_profile
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.supervision.channel import NodeEnd
from emo_face.ros.supervision.supervised import Supervised
from emo_face.runtime.process import Parent

HAND_OVER = 0.0005
"""Seconds that rclpy's multi-threaded executor is kept from looking for work. It hands a callback out again and again,
thousands of times per second, until a thread of its pool has begun it, and keeps the interpreter from beginning it."""


def run(create: Callable[[], EmoNode], args: Sequence[str] | None = None, remaps: Sequence[str] = ()) -> int:
    """Spin the node that ``create`` makes until it finishes or SIGINT/SIGTERM comes.

    A signal deactivates the node first (the face eases to neutral); a second one ends at once.

    Args:
        args: command line, default ``sys.argv``.
        remaps: ``from:=to`` rules that hold if the user gives none for the same name.

    Returns:
        0 at a clean end, 2 after a user's mistake in the parameters, else what the node finished with.
    """
    use_profile(os.environ)
    parent, line = Parent.from_environment(os.environ), NodeEnd.inherited(os.environ)
    nodes: list[EmoNode] = []

    def work() -> int:
        init(arguments(args, remaps))
        nodes.append(create())
        end_on_signals(nodes)
        return spin(nodes[0], watching(nodes, parent, Supervised(nodes, line) if line is not None else None))

    return to_the_end(nodes, work)


def beside(create: Callable[[], Node], name: str) -> int:
    """Spin a plain node that only watches the graph, until a signal comes or the process that started us is gone.

    Returns:
        0 at a clean end, 2 after a user's mistake, told in one line that begins with ``name``.
    """
    parent = Parent.from_environment(os.environ)
    use_profile(os.environ)
    for number in (signal.SIGINT, signal.SIGTERM):  # also if a shell's & has had SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    node = None
    try:
        init(sys.argv)
        node = create()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not parent.gone():
            executor.spin_once(timeout_sec=0.5)
    except UserError as error:
        print(f"emo-face {name}: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def to_the_end(nodes: Sequence[EmoNode], work: Callable[[], int]) -> int:
    """The exit code of ``work``, or 2 after a user's mistake, which is one line; ``nodes`` and ROS are ended."""
    code = 0
    try:
        code = work()
    except UserError as error:
        print(f"emo_face: {error}", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        for node in nodes:
            end(node)
        rclpy.try_shutdown()
    return code


def watching(nodes: Sequence[EmoNode], parent: Parent, supervised: Supervised | None) -> Callable[[], None]:
    """A function to call often: it obeys the supervisor and finishes ``nodes`` when the parent is gone."""

    def look() -> None:
        if supervised is not None:
            supervised.obey()
        if parent.gone():
            for node in nodes:
                node.finish(0)

    return look


def init(args: Sequence[str], context: Any = None) -> None:
    """Begin ROS with our own signal handlers: rclpy's would shut the context down before a node can say good-bye.

    Raises:
        ConfigError: an argument after ``--ros-args`` is none that ROS understands; one line.
    """
    failed = ""
    log_somewhere(os.environ)
    with tempfile.TemporaryFile() as said:
        with _stderr_to(said):
            try:
                rclpy.init(args=list(args), context=context, signal_handler_options=SignalHandlerOptions.NO)
            except Exception as error:  # rclpy has no public base class of its errors
                unknown = type(error).__name__ == "UnknownROSArgsError"
                failed = f"{'unknown arguments ' if unknown else ''}{error}"
        said.seek(0)
        if failed:  # rcl has said its part of it in words of its own
            text = " ".join(failed.split(", at ")[0].removeprefix("failed to initialize rcl: ").split())
            raise ConfigError(f"ROS does not start: {text}")
        with contextlib.suppress(OSError):  # a log on a full disk is no reason not to start
            sys.stderr.write(said.read().decode(errors="replace"))


def log_somewhere(environment: MutableMapping[str, str]) -> None:
    """Let ROS log to a temporary folder if it cannot write to its own: without HOME, or with one that is not ours.

    ROS does not start without a folder for its logs (rcl, logging directory: ROS_LOG_DIR, ROS_HOME/log, ~/.ros/log).
    """
    if environment.get("ROS_LOG_DIR"):
        return
    home = environment.get("ROS_HOME") or (environment.get("HOME") and f"{environment['HOME']}/.ros")
    try:
        if not home:
            raise FileNotFoundError
        folder = Path(home) / "log"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return
    except OSError:
        pass
    environment["ROS_LOG_DIR"] = tempfile.mkdtemp(prefix="emo_face_log_")


@contextlib.contextmanager
def _stderr_to(file: IO[bytes]) -> Iterator[None]:
    """Send what C libraries write to descriptor 2 into ``file``."""
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def arguments(args: Sequence[str] | None, remaps: Sequence[str]) -> list[str]:
    """Append default remap rules to a command line; ROS applies the first that fits, so the user's win."""
    rules = [word for rule in remaps for word in ("-r", rule)]
    return [*(sys.argv if args is None else args), *(["--ros-args", *rules] if rules else [])]


def end_on_signals(nodes: Sequence[EmoNode]) -> None:
    """SIGINT and SIGTERM finish every node; a second one raises KeyboardInterrupt."""

    def stop(number: int, frame: Any) -> None:
        running = [node for node in nodes if node.exit_code is None]
        if not running:
            raise KeyboardInterrupt
        for node in running:
            node.finish(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def spin(node: EmoNode, between: Callable[[], None] = lambda: None) -> int:
    """Serve ``node`` until it finishes and call ``between`` at least ten times per second; returns its exit code."""
    executor: Executor = SingleThreadedExecutor() if node.threads == 1 else MultiThreadedExecutor(node.threads)
    executor.add_node(node)
    try:
        while node.exit_code is None and rclpy.ok():
            # the timeout lets Python run its signal handlers
            executor.spin_once(timeout_sec=0.1)
            if node.threads > 1:
                time.sleep(HAND_OVER)
            between()
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
