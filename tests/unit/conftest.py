"""Fixtures that unit tests of several packages share: tiny random models of the true architectures and their data."""

from __future__ import annotations

import sys
from functools import cache

import pytest


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A folder of synthetic scenes and a tiny InstructBLIP that knows their words."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from sceneworld import World

    return World(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="session")
def of_family():
    """``of_family("llava")`` -> the tiny ContextFace of a family; shared, so leave its weights alone."""
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
