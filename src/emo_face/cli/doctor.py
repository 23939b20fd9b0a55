"""Check what the graph needs on this machine, and say how to install what is missing.

examples:
  emo-face doctor            a table; exit code 1 when something essential is missing
  emo-face doctor --json     the same for scripts
  emo-face doctor --multiview out/export --contextface out/face     and what these models would run on
"""

import argparse
import importlib
import json
import os
import platform
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from emo_face.cli._verb import JSON
from emo_face.cli.engine import add_models, exported, nano
from emo_face.core.arguments import arguments, option
from emo_face.core.errors import ModelError, UserError
from emo_face.core.install import how_to_get, how_to_install
from emo_face.ros.network import keep_local, listening, open_to_others, scope
from emo_face.runtime.engines import cuda
from emo_face.runtime.engines.base import EngineUnavailable
from emo_face.runtime.engines.ort import check_provider
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.engines.tensorrt.library import tensorrt
from emo_face.runtime.store import open_store

OK, NOTE, BAD = LEVELS = ("ok", "note", "bad")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``level``: ok, note (works, could be better) or bad (the graph does not start)."""

    topic: str
    level: str
    found: str
    fix: str = ""


add_arguments = arguments(
    JSON,
    option("--port", type=int, default=8765, help="port of the screen face (default: 8765)"),
    add_models,
)


def libraries() -> Iterator[Finding]:
    """Python libraries: the nano tier's are essential, the rest are extras."""
    wanted = {
        "numpy": "",
        "cv2": "",
        "onnxruntime": "",
        "yaml": "",
        "pydantic": "",
        "scipy": "",
        "aiohttp": "",
        "rich": "",
        "rosbags": "demo",
        "mcap": "demo",
        "mediapipe": "mediapipe",
        "torch": "train",
        "tensorrt": "tensorrt",
    }
    for module, extra in wanted.items():
        try:
            yield Finding(module, OK, str(getattr(importlib.import_module(module), "__version__", "present")))
        except Exception as error:  # an installed library may fail to import in any way, and that is what we report
            yield Finding(module, NOTE if extra else BAD, f"does not import ({error})", how_to_install(extra))


def opencv() -> Iterator[Finding]:
    """Whether OpenCV has the cascades that stand in without YuNet's file."""
    from emo_face.perception.detect_face import cascade

    found = cascade()
    if found is None:
        fix = "sudo apt-get install opencv-data, or emo-face models pull yunet"
        yield Finding("Haar cascades", NOTE, "none: without YuNet's file no face is found", fix)
    else:
        yield Finding("Haar cascades", OK, str(found))


def ros() -> Iterator[Finding]:
    """rclpy and our messages."""
    for module in ("rclpy", "emo_face_msgs"):
        try:
            importlib.import_module(module)
            yield Finding(module, OK, "imports")
        except Exception as error:
            yield Finding(module, BAD, f"does not import ({error})", how_to_get(module))


def models() -> Iterator[Finding]:
    """Models: which detector and which emotion model the perception node would use."""
    store = open_store()
    wanted = {"nano_face": BAD, "nano_text": BAD, "open-ict-1": BAD, "yolo11n": NOTE, "yunet": NOTE, "centerface": OK}
    for name, level in wanted.items():
        state = store.status(name)
        if state.state == "ok":
            yield Finding(f"model {name}", OK, str(state.path))
        elif level != OK or state.state == "wrong hash":
            entry = state.entry
            get = f"emo-face models pull {name}" if entry.url else entry.how
            found = "not on this machine" if state.state == "missing" else f"{state.path} has the wrong hash: delete it"
            yield Finding(f"model {name}", max(level, NOTE, key=LEVELS.index), found, get)


def gpu() -> Iterator[Finding]:
    """GPU: the device, and the engines that work on it."""
    try:
        cuda.driver()
        present = True
        yield Finding("gpu", OK, str(cuda.device()))
    except EngineUnavailable as error:
        present = "no NVIDIA driver" not in str(error)
        yield Finding("gpu", NOTE if present else OK, str(error))
    checks: dict[str, Callable[[], object]] = {
        "engine cuda": lambda: check_provider("CUDA"),
        "engine tensorrt provider": lambda: check_provider("Tensorrt"),
        "engine tensorrt": tensorrt,
    }
    for topic, check in checks.items():
        try:
            check()
            yield Finding(topic, OK, "works" if present else "libraries are here, no GPU")
        except EngineUnavailable as error:
            fix = how_to_install("gpu" if topic == "engine cuda" else "tensorrt")
            yield Finding(topic, NOTE if present else OK, str(error), fix if present else "")


def choices(args: argparse.Namespace) -> Iterator[Finding]:
    """What `engine: auto` takes for each model of the nano tier that is here and of the folders named, and why."""
    engines = Engines("auto")
    for target in chain(nano(args), exported(args)):
        try:
            engines.load(target.path, target.plan)
            choice = engines.choices[target.plan.name]
            yield Finding(f"runs on: {choice.model}", NOTE if choice.warning else OK, str(choice))
        except ModelError as error:
            yield Finding(f"runs on: {target.plan.name}", NOTE, str(error))


def cameras() -> Iterator[Finding]:
    """Video devices of this machine."""
    devices = sorted(str(p) for p in Path("/dev").glob("video*"))
    if devices:
        yield Finding("camera", OK, ", ".join(devices))
    else:
        yield Finding("camera", NOTE, "no /dev/video*", "name a --source, or remap `image` to your camera's topic")


def port(number: int) -> Iterator[Finding]:
    """Whether the screen face's port is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
            yield Finding(f"port {number}", OK, "free")
        except OSError as error:
            yield Finding(f"port {number}", NOTE, str(error), "set face_driver.screen.port, or end what uses it")


def network() -> Iterator[Finding]:
    """Who could take part in a graph that `emo-face up` starts now, and what running nodes listen on."""
    environment = dict(os.environ)
    keep_local(environment)
    who = scope(environment)
    fix = "" if who == "this host only" else "unset ROS_* and DDS settings that you do not need"
    yield Finding("network", NOTE if fix else OK, f"`emo-face up` lets in: {who}", fix)
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        node = next((word for word in words if word.startswith("emo_face.nodes.")), "")
        if node:
            listens = listening(folder.name)
            level = NOTE if open_to_others(listens) else OK
            name = f"{node.removeprefix('emo_face.nodes.')} ({folder.name})"
            yield Finding(name, level, f"listens on {', '.join(listens) or 'nothing'}")


def examine(args: argparse.Namespace) -> list[Finding]:
    """Every finding; a check that itself fails becomes a finding too."""
    host = f"{platform.machine()}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    found = [Finding("machine", OK, host)]
    checks: list[Callable[[], Iterator[Finding]]] = [
        libraries,
        opencv,
        ros,
        models,
        gpu,
        lambda: choices(args),
        cameras,
        network,
        lambda: port(args.port),
    ]
    for check in checks:
        try:
            found.extend(check())
        except UserError as error:
            found.append(Finding("models named", BAD, str(error)))
        except Exception as error:
            found.append(Finding(getattr(check, "__name__", "check"), BAD, f"the check itself failed: {error!r}"))
    return found


def run(args: argparse.Namespace) -> int:
    found = examine(args)
    if args.json:
        print(json.dumps([asdict(f) for f in found], indent=2))
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table("", "what", "found", "fix", box=None)
        marks = {OK: "[green]✓[/]", NOTE: "[yellow]•[/]", BAD: "[red]✗[/]"}
        for f in found:
            table.add_row(marks[f.level], *(escape(text) for text in (f.topic, f.found, f.fix)))
        Console().print(table)
    return int(any(f.level == BAD for f in found))
