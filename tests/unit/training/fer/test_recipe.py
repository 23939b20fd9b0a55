"""The FER student's recipe goes from a bank to an ONNX file, in a few steps, and comes back from its caches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from emo_face.core.errors import ConfigError, UserError
from emo_face.core.geometry import Box
from emo_face.core.types import Face
from emo_face.datasets.faces.faces import FacePicture
from emo_face.training.common.recipes import read_recipe
from emo_face.training.fer.bank import HELD_OUT, NOT_JUDGED, Bank
from emo_face.training.fer.batches import FerBatches
from emo_face.training.fer.export import SMALL, export
from emo_face.training.fer.fit import loss_of
from emo_face.training.fer.folds import Heads, predict_crops, reject_shift
from emo_face.training.fer.model import Exported, FerNet
from emo_face.training.fer.recipe import NAME, FerRecipe
from emo_face.training.fer.train import make_bank, train_base

RECIPE = read_recipe(FerRecipe, NAME)
WIDTHS = (8, 16, 16, 24)
SHORT = replace(RECIPE, widths=WIDTHS, steps=2, reject_faces=300, reject_non_faces=300)


def _bank() -> Bank:
    """Twelve posed faces of two folds, one photo and one frame that are held back, twelve strangers."""
    rng = np.random.default_rng(0)
    fold = np.array([0, 1] * 6 + [HELD_OUT] * 2 + [NOT_JUDGED] * 12)
    count = len(fold)
    truth = np.full((count, 7), np.nan, np.float32)
    labels = [0, 3, 4, 6]
    truth[:13] = np.eye(7)[[labels[i % 4] for i in range(13)]]
    wide = rng.integers(0, 255, (count, 128, 128)).astype(np.uint8)
    return Bank(wide, truth, rng.dirichlet(np.ones(7), count).astype(np.float32), fold, fold)


def test_from_bank_to_onnx(tmp_path: Path) -> None:
    import onnxruntime as ort

    bank = _bank()
    heads = Heads(bank, train_base(bank, [], 0, SHORT, tmp_path), [], 0, SHORT)
    net, hidden = heads.fit(None), heads.fit(0)
    assert not torch.equal(net.emotion.weight, hidden.emotion.weight)
    path = export(Exported(net, 1.1, torch.zeros(7), reject_shift(net, [], 0)), tmp_path / "net.onnx")
    crops = np.random.default_rng(1).normal(size=(3, 1, 48, 48)).astype(np.float32)
    session = ort.InferenceSession(str(path))
    assert session.get_modelmeta().custom_metadata_map == {"version": "1"}
    probabilities, face = session.run(None, {"crops": crops})
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert face.shape == (3,)
    assert predict_crops(net, np.zeros((2, 48, 48), np.uint8), 0.0)[0].shape == (2, 7)


def test_the_file_is_half_as_large_and_what_it_stores_is_the_net_rounded(tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    net = FerNet(WIDTHS).eval()
    path = export(Exported(net), tmp_path / "net.onnx")
    stored = {w.name: numpy_helper.to_array(w) for w in onnx.load(path).graph.initializer}
    halves = [w for w in stored.values() if w.dtype == np.float16]
    large = sum(p.numel() for p in net.parameters() if p.numel() >= SMALL)
    assert sum(w.size for w in halves) == large
    assert not any(w.size >= SMALL for w in stored.values() if w.dtype == np.float32)
    assert FerNet.of(net.state_dict()).trunk[6][0].weight.shape == net.trunk[6][0].weight.shape


def test_the_base_comes_back_from_its_file_and_the_same_seed_gives_the_same_net(tmp_path: Path) -> None:
    bank = _bank()
    (tmp_path / "other").mkdir()
    first = train_base(bank, [], 0, SHORT, tmp_path)
    cached = train_base(bank, [], 0, SHORT, tmp_path)
    again = train_base(bank, [], 0, SHORT, tmp_path / "other")
    for one, two, three in zip(*(net.state_dict().values() for net in (first, cached, again)), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)
    train_base(bank, [], 0, replace(SHORT, head_penalty=1.0, reject_faces=3), tmp_path)
    assert len(list(tmp_path.glob("base_*.pt"))) == 1  # other last layers are fitted to the same base
    train_base(bank, [], 0, replace(SHORT, learning_rate=1e-3), tmp_path)
    assert len(list(tmp_path.glob("base_*.pt"))) == 2  # another recipe is another base


def test_the_bank_comes_back_for_the_same_pictures_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    monkeypatch.setattr("emo_face.training.fer.train.ExpressionTeachers", lambda folder: None)
    monkeypatch.setattr("emo_face.training.fer.bank.build", lambda *_: built.append(1) or _bank())
    one = FacePicture("cmu", "a", "cmu:a", "Happy", np.zeros((9, 9), np.uint8), Face(Box(0, 0, 9, 9), 0.9))
    first = make_bank(tmp_path, tmp_path, [one], 0, SHORT)
    again = make_bank(tmp_path, tmp_path, [one], 0, SHORT)
    assert (len(built), np.array_equal(first.wide, again.wide)) == (1, True)
    make_bank(tmp_path, tmp_path, [replace(one, label="Sad")], 0, SHORT)
    assert len(built) == 2
    assert {file.suffix for file in tmp_path.iterdir()} == {".npz"}  # nothing half written is left


def test_votes_teach_emotions_and_what_is_no_face_teaches_the_reject_layer() -> None:
    bank, rng = _bank(), np.random.default_rng(0)
    recipe = replace(RECIPE, faces_per_batch=6, non_faces_per_batch=2)
    batch = FerBatches(bank, bank.without(None), recipe, [], rng).draw()
    assert batch.crops.shape == (8, 1, 48, 48)
    assert batch.soft.shape == (6, 7)
    torch.manual_seed(0)
    net = FerNet(WIDTHS)
    loss = loss_of(*net(batch.crops), batch, recipe)
    loss.backward()
    assert torch.isfinite(loss)
    assert net.emotion.weight.grad.abs().sum() > 0
    assert net.reject.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("version: 1\nstepz: 3\n", ConfigError, "unknown field 'stepz'"),
        ("version: 1\nsteps: 0\n", ConfigError, "steps: expected at least 1, got 0"),
        ("version: 1\nclean: 1.5\n", ConfigError, "clean: expected a share"),
        ("version: 1\nsteps: many\n", ConfigError, "steps: expected int"),
        ("steps: 3\n", UserError, "field version: expected 1, got None"),
        ("- 1\n", ConfigError, "expected fields of a recipe, got list"),
        ("version: [1\n", UserError, "cannot be read as a recipe"),
    ],
)
def test_a_recipe_of_ones_own_is_checked(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(error, match=message):
        read_recipe(FerRecipe, NAME, file)


def test_a_recipe_of_ones_own_changes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("version: 1\nsteps: 7\njitter: 0\n")
    assert read_recipe(FerRecipe, NAME, file, steps=None) == replace(RECIPE, steps=7, jitter=0.0)
    assert read_recipe(FerRecipe, NAME, file, steps=9).steps == 9
