"""Losses and the fusion head against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from emo_face.core.errors import ConfigError
from emo_face.perception.multiview.config import FusionConfig
from emo_face.perception.multiview.fusion_head import FusionHead, drop_views
from emo_face.training.multiview import losses


def test_asymmetric_loss_by_hand_and_its_limits():
    logits = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
    truth = torch.tensor([[1, 0, 0]])
    p = 1 / (1 + np.exp(-logits.numpy()[0]))
    shifted = np.maximum(p - 0.05, 0)
    expected = -((1 - p[0]) * np.log(p[0]) + sum(shifted[i] ** 4 * np.log(1 - shifted[i]) for i in (1, 2)))
    assert float(losses.asymmetric_loss(logits, truth)) == pytest.approx(expected, rel=1e-5)
    plain = losses.asymmetric_loss(logits, truth, 0, 0, 0)
    assert float(plain) == pytest.approx(float(losses.binary_cross_entropy(logits, truth)), rel=1e-5)
    easy = torch.tensor([[-4.0]], requires_grad=True)  # p < margin: an easy negative counts nothing
    losses.asymmetric_loss(easy, torch.tensor([[0]])).backward()
    assert float(easy.grad.abs().max()) == 0
    extreme = torch.tensor([[90.0, -90.0]], requires_grad=True)
    for gammas in ((4, 1, 0.05), (0, 0, 0)):
        value = losses.asymmetric_loss(extreme, torch.tensor([[0, 1]]), *gammas)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(extreme.grad).all()
    with pytest.raises(ConfigError, match="asymmetric"):
        losses.classification_loss("focal")


def test_vad_loss_leaves_missing_rows_out():
    predicted = torch.zeros(2, 3, requires_grad=True)
    target = torch.tensor([[1.0, 1, 1], [float("nan"), 0, 0]])
    losses.vad_loss(predicted, target).backward()
    assert torch.isfinite(predicted.grad).all()
    assert predicted.grad[1].abs().sum() == 0
    assert float(losses.vad_loss(predicted, torch.full((2, 3), float("nan"))).detach()) == 0


@pytest.mark.parametrize("attention", [True, False])
def test_a_missing_view_cannot_leak(attention):
    torch.manual_seed(0)
    head = FusionHead(FusionConfig("emotic26", in_features=16, width=8, heads=2, attention=attention, vad=True)).eval()
    features = torch.randn(4, 3, 16)
    present = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 1]])
    logits, vad = head(features, present)
    assert logits.shape == (4, 26)
    assert vad.abs().max() <= 1
    changed = features.clone()
    changed[1, 2] = 100
    changed[2, 1:] = -100
    again, _ = head(changed, present)
    torch.testing.assert_close(again, logits)
    zeroed = features.clone()
    zeroed[1, 2] = 0
    assert not torch.allclose(head(zeroed, torch.ones_like(present))[0][1], logits[1])  # masked is not zero-filled
    assert torch.isfinite(head(features, torch.zeros_like(present))[0]).all()


def test_dropped_views_leave_one():
    generator = torch.Generator().manual_seed(0)
    present = torch.tensor([[1.0, 1, 1]] * 500 + [[1.0, 0, 0]] * 500)
    kept = drop_views(present, 0.5, generator)
    assert (kept.sum(1) >= 1).all()
    assert (kept <= present).all()
    assert 0.3 < float(kept[:500].mean()) < 0.7
