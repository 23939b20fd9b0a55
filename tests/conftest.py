"""What every test shares: the folder of real assets, found beside the checkout or by EMO_FACE_ASSETS."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples for everybody, so that a red run is red again; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))  # what tests in several folders share
sys.path.append(str(ROOT / "benchmarks"))  # the fixtures that they share with benchmarks
OTHER_PROCESSES = ("node", "launch", "browser")
ASSETS = Path(os.environ.get("EMO_FACE_ASSETS", ROOT.parent / "shared" / "assets"))


@pytest.fixture(scope="session")
def assets() -> Path:
    """Folder of real models, pictures, video and text; skips where it is absent."""
    if not ASSETS.is_dir():
        pytest.skip(f"no assets at {ASSETS}; set EMO_FACE_ASSETS")
    return ASSETS


@pytest.fixture
def server() -> Iterator[Any]:
    """A face page on a free port of this host."""
    from emo_face.web.server import FaceServer

    running = FaceServer(port=0)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``process(domain, module, *words)``: start ``python -m module`` in a ROS domain; what is left is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(domain: int, module: str, *words: str, **popen: Any) -> subprocess.Popen[str]:
        env = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen([sys.executable, "-m", module, *words], env=env, **pipes, **popen))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
            one.wait()
        one.stdout.close()  # not read to its end: children of its own may still hold the other end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests first. Where other processes answer over a network, a busy machine may be late: tried once more."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/unit/"))
    for item in items:
        if item.path.parent.name in OTHER_PROCESSES:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files of unit tests side by side; what runs nodes, servers and browsers one after the other, and last."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.split("::")[0] if nodeid.startswith("tests/unit/") else "nodes"

    return Scheduling(config, log)
