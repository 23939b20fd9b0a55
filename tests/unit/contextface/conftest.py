"""Tiny random models of the true architectures, one of each family a session."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def of_family():
    """``of_family("llava")`` -> the tiny world of a family; shared, so leave its weights alone."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    from tinyworld import tiny

    return cache(tiny)


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """accelerate keeps its precision in a global; each test starts a new process as far as it can tell."""
    yield
    state = sys.modules.get("accelerate.state")
    if state is not None:
        state.AcceleratorState._reset_state(reset_partial_state=True)
