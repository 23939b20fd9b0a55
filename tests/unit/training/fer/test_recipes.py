"""Every recipe of the face student goes from a bank to an ONNX file, in a few steps, and comes back from its caches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from emo_face.training.fer.cv import Fitting, doubt, said_of
from emo_face.training.fer.data import HELD, Bank
from emo_face.training.fer.export import export
from emo_face.training.fer.main import train_base
from emo_face.training.fer.model import Exported
from emo_face.training.fer.recipe import ALONE, CROWD, STRANGERS, Recipe
from emo_face.training.fer.renders import ALWAYS


def _bank() -> Bank:
    """Twelve posed faces of two folds, one photo and one frame that are held back, twelve strangers, twelve renders."""
    rng = np.random.default_rng(0)
    fold = np.array([0, 1] * 6 + [HELD] * 2 + [ALWAYS] * 24)
    count = len(fold)
    truth = np.full((count, 7), np.nan, np.float32)
    labels = [0, 3, 4, 6]
    truth[:13] = np.eye(7)[[labels[i % 4] for i in range(13)]]
    truth[26:] = rng.dirichlet(np.ones(7), 12)
    real = np.arange(count) < 26
    lessons = rng.normal(size=(count, 5)).astype(np.float32)
    lessons[14:26] = np.nan  # nobody asked the teachers about the strangers
    return Bank(
        wide=rng.integers(0, 255, (count, 128, 128)).astype(np.uint8),
        truth=truth,
        arkit=rng.random((count, 52)).astype(np.float32),
        lessons=lessons,
        soft=rng.dirichlet(np.ones(7), count).astype(np.float32),
        fold=fold,
        other=fold,
        real=real,
    )


def _short(recipe: Recipe) -> Recipe:
    tuning = recipe.tuning and replace(recipe.tuning, steps=2, shipped_steps=2)
    return replace(recipe, steps=2, tuning=tuning)


@pytest.mark.parametrize("recipe", [ALONE, STRANGERS, CROWD], ids=["alone", "strangers", "crowd"])
def test_from_bank_to_onnx(recipe: Recipe, tmp_path: Path) -> None:
    import onnxruntime as ort

    recipe, bank = _short(recipe), _bank()
    base = train_base(bank, [], 0, recipe, tmp_path)
    fitting = Fitting(bank, base, [], 0, recipe)
    net = fitting.train(None)
    hidden = fitting.train(0)
    assert not torch.equal(net.emotion.weight, hidden.emotion.weight)
    path = export(Exported(net, 1.1, torch.zeros(7), doubt(net, [], 0)), tmp_path / "net.onnx")
    crops = np.random.default_rng(1).normal(size=(3, 1, 48, 48)).astype(np.float32)
    probabilities, face = ort.InferenceSession(str(path)).run(None, {"crops": crops})
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert face.shape == (3,)
    assert said_of(net, np.zeros((2, 48, 48), np.uint8), 0.0)[0].shape == (2, 7)


def test_the_base_comes_back_from_its_file_and_the_same_seed_gives_the_same_net(tmp_path: Path) -> None:
    recipe, bank = _short(CROWD), _bank()
    (tmp_path / "other").mkdir()
    first = train_base(bank, [], 0, recipe, tmp_path)
    cached = train_base(bank, [], 0, recipe, tmp_path)
    again = train_base(bank, [], 0, recipe, tmp_path / "other")
    for one, two, three in zip(*(net.state_dict().values() for net in (first, cached, again)), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)
