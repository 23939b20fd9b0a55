"""The FER student's last layer: it learns from people who pose, keeps what the crowd says, and never peeks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emo_face.core.labels import basic7

torch = pytest.importorskip("torch")

from emo_face.datasets.faces.augment import not_a_face, view
from emo_face.perception.nano.facecrop import normalise
from emo_face.training.common.recipes import read_recipe
from emo_face.training.fer.bank import HELD_OUT, NOT_JUDGED, Bank
from emo_face.training.fer.head import HeadRows, head_rows, refit, refit_reject
from emo_face.training.fer.model import FerNet
from emo_face.training.fer.recipe import NAME, FerRecipe

RECIPE = read_recipe(FerRecipe, NAME)
HAPPY, SAD, SURPRISE = (basic7().index(name) for name in ("Happy", "Sad", "Surprise"))


def _net() -> FerNet:
    torch.manual_seed(3)
    return FerNet((8, 16, 16, 24)).eval()


def _rows(count: int = 60) -> HeadRows:
    """The crowd's Surprise hangs on feature 0, what the posed call Happy or Sad on the sign of feature 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * count, 256))
    posed = np.arange(2 * count) < count
    label = np.where(posed, np.where(x[:, 1] > 0, HAPPY, SAD), np.where(x[:, 0] > 0, SURPRISE, SAD))
    return HeadRows(np.arange(2 * count), x, np.eye(7)[label], np.where(posed, "posed", "crowd"), posed)


def _said(net: FerNet, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net.emotion(torch.from_numpy(x.astype(np.float32))).numpy()


def test_posed_faces_and_the_crowd_are_both_learned() -> None:
    rows = _rows()
    net = refit(_net(), rows, rows.index, RECIPE)
    said = _said(net, rows.features)
    asked = [basic7().index(name) for name in ("Anger", "Happy", "Sad", "Neutral")]
    posed, truth = rows.group == "posed", rows.target.argmax(axis=1)
    narrow = np.array(asked)[said[:, asked].argmax(axis=1)]
    assert (narrow == truth)[posed].mean() > 0.9
    assert (said.argmax(axis=1) == truth)[~posed].mean() > 0.9


def test_nothing_but_the_emotion_layer_moves() -> None:
    rows, before = _rows(), _net()
    after = refit(before, rows, rows.index, RECIPE)
    for (name, a), b in zip(before.state_dict().items(), after.state_dict().values(), strict=True):
        assert torch.equal(a, b) != name.startswith("emotion."), name


def test_rows_that_are_not_allowed_leave_no_trace() -> None:
    rows = _rows()
    allowed = rows.index[5:]
    other = rows.target.copy()
    other[:5] = np.roll(other[:5], 1, axis=1)
    one, two = (_said(refit(_net(), r, allowed, RECIPE), rows.features) for r in (rows, replace(rows, target=other)))
    assert np.array_equal(one, two)
    assert not np.allclose(one, _said(refit(_net(), rows, rows.index, RECIPE), rows.features))


def test_rows_hold_labelled_people_and_the_crowd() -> None:
    rng = np.random.default_rng(0)
    truth = np.full((6, 7), np.nan, np.float32)
    truth[0] = np.eye(7)[HAPPY]  # posed
    truth[1] = np.eye(7)[SURPRISE]  # a labelled photo
    fold = np.array([0, HELD_OUT, 1, NOT_JUDGED, NOT_JUDGED, HELD_OUT])
    wide = rng.integers(0, 255, (6, 128, 128)).astype(np.uint8)
    bank = Bank(wide, truth, rng.dirichlet(np.ones(7), 6).astype(np.float32), fold, fold)
    rows = head_rows(_net(), bank, RECIPE, rng)
    assert rows.index.tolist() == [0, 1, 3, 4, 5]  # not a person of a fold without a label
    assert rows.group.tolist() == ["posed", "posed", "crowd", "crowd", "told"]
    assert rows.narrow.tolist() == [True, False, False, False, False]  # nobody asked the surprised one to pose
    assert rows.features.shape == (5, 256)
    assert np.allclose(rows.target.sum(axis=1), 1)


def test_the_reject_layer_is_fitted_to_faces_and_to_what_is_none() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    oval = (200 * (x**2 / 0.3 + y**2 / 0.6 < 0.5)).astype(np.float64)  # something that noise and shapes are not
    wide = np.clip(oval + rng.normal(20, 8, (40, 128, 128)), 0, 255).astype(np.uint8)
    nobody = np.full(40, NOT_JUDGED)
    bank = Bank(wide, np.full((40, 7), np.nan, np.float32), np.full((40, 7), 1 / 7, np.float32), nobody, nobody)
    before = _net()
    after = refit_reject(before, bank, [], replace(RECIPE, jitter=0.2), rng)
    for (name, a), b in zip(before.state_dict().items(), after.state_dict().values(), strict=True):
        assert torch.equal(a, b) != name.startswith("reject."), name
    faces = np.stack([view(w, None) for w in wide])
    others = np.stack([not_a_face(rng, []) for _ in range(40)])
    with torch.no_grad():
        score = [after(torch.from_numpy(normalise(c)))[1].numpy() for c in (faces, others)]
    assert (score[0] < 0).mean() > 0.9
    assert (score[1] > 0).mean() > 0.9
