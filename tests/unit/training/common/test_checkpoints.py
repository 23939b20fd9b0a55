"""Checkpoints carry a version, and one that is not known is refused by name."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from emo_face.core.errors import UserError
from emo_face.training.common.checkpoints import RunProgress, load, random_state, save


@pytest.fixture
def run(tmp_path):
    """A checkpoint folder and the optimiser that it is of."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    weight.sum().backward()
    optimizer.step()
    progress = RunProgress(step=5, epoch=1, position=2)
    return save(tmp_path, progress, {"w": weight.detach()}, optimizer, {"seed": 0}, [random_state()]), optimizer


def test_what_was_saved_comes_back(run):
    folder, optimizer = run
    taken = {}
    found = load(folder, lambda weights, path: taken.update(weights), optimizer, {"seed": 0})
    assert found == RunProgress(step=5, epoch=1, position=2)
    assert taken["w"].shape == (3,)
    assert json.loads((folder / "progress.json").read_text())["version"] == 1


def test_an_unknown_version_is_refused_by_name(run):
    folder, optimizer = run
    path = folder / "progress.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    with pytest.raises(UserError, match=r"progress.json: field version: unknown version 2.*reads version 1"):
        load(folder, lambda weights, path: None, optimizer, {"seed": 0})


def test_other_data_are_refused_by_name_and_older_checkpoints_that_name_none_go_on(run, tmp_path):
    folder, optimizer = run
    now = {"seed": 0, "data": {"records": "new", "faces": "same"}, "model": {"chat": "auto"}}
    assert load(folder, lambda weights, path: None, optimizer, now).step == 5
    was = now | {"data": {"records": "old", "faces": "same"}}
    folder = save(tmp_path / "named", RunProgress(step=1), {"w": torch.ones(3)}, optimizer, was, [random_state()])
    with pytest.raises(
        UserError, match=r"made with data.records='old', now 'new'; resume with the same settings and data"
    ):
        load(folder, lambda weights, path: None, optimizer, now)
