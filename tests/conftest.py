"""What every test shares: the folder of real assets, found beside the checkout or by EMO_FACE_ASSETS."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples for everybody, so that a red run is red again; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))  # what tests in several folders share
OTHER_PROCESSES = ("node", "launch", "browser")
ASSETS = Path(os.environ.get("EMO_FACE_ASSETS", ROOT.parent / "shared" / "assets"))


@pytest.fixture(scope="session")
def assets() -> Path:
    """Folder of real models, pictures, video and text; skips where it is absent."""
    if not ASSETS.is_dir():
        pytest.skip(f"no assets at {ASSETS}; set EMO_FACE_ASSETS")
    return ASSETS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where other processes answer over a network, a busy machine may be late: such a test is tried once more."""
    for item in items:
        if item.path.parent.name in OTHER_PROCESSES:
            item.add_marker(pytest.mark.flaky(reruns=1))
