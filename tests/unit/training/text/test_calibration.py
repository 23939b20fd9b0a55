"""The speech student's calibration and averages on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from emo_face.core.numeric import softmax
from emo_face.training.text.calibration import Part, Scaling, as_conversation, fit_confidence, fit_register, fit_seven
from emo_face.training.text.examples import repeated

RNG = np.random.default_rng(4)


def drawn(logits: np.ndarray) -> np.ndarray:
    """A label a row with the probabilities of ``logits``."""
    return np.array([RNG.choice(7, p=p) for p in softmax(logits)])


def test_comments_and_talk_are_told_apart_by_their_vectors() -> None:
    comments, talk = RNG.normal(0, 1, (400, 5)), RNG.normal([3, 0, 0, 0, 0], 1, (300, 5))
    weight, bias = fit_register(comments, talk)
    assert (comments @ weight + bias < 0).mean() > 0.9
    assert (talk @ weight + bias > 0).mean() > 0.9


def test_a_student_that_is_too_sure_of_strangers_is_made_less_sure_with_the_same_answers() -> None:
    logits = RNG.normal(0, 2, (4000, 7))
    truth = drawn(logits / 2)
    found = fit_confidence(Scaling(np.ones(7), np.zeros(7), {}), [Part(logits, truth, np.full(4000, 1 / 4000))])
    assert found.scale == pytest.approx(np.full(7, 0.5), abs=0.05)
    shifted = Scaling(np.ones(7), np.arange(7.0), {})
    less = fit_confidence(shifted, [Part(logits, truth, np.full(4000, 1 / 4000))])
    same = (logits * less.scale + less.bias).argmax(1) == (logits + shifted.bias).argmax(1)
    assert same.all()


def test_biases_follow_the_shares_of_a_conversation() -> None:
    logits = RNG.normal(0, 1, (3000, 7))
    truth = drawn(logits)
    found = fit_seven({"talk": Part(logits, truth, as_conversation(truth))})
    assert found.bias[6] > found.bias[:6].max() + 1


def test_rows_with_a_rare_fine_emotion_stand_several_times() -> None:
    fine = np.zeros((3000, 28), np.float32)
    fine[:, 27] = 1
    fine[5, 3] = 1
    fine[9] = np.nan
    counts = np.bincount(repeated(fine, 4), minlength=3000)
    assert counts[5] == 4
    assert counts.sum() == 3003


def test_the_average_follows_and_is_inside_only_while_applied() -> None:
    torch = pytest.importorskip("torch")
    from emo_face.training.text.average import WeightAverage
    from emo_face.training.text.warm import mixed_with

    net = torch.nn.Linear(1, 1)
    with torch.no_grad():
        net.weight.fill_(0.0)
    average = WeightAverage(net, 0.9)
    with torch.no_grad():
        net.weight.fill_(1.0)
    for step in range(1, 200):
        average.update(step)
    with average.applied():
        assert net.weight.item() == pytest.approx(1.0, abs=0.01)
        kept = average.state()
    again = WeightAverage(net, 0.9)
    assert again.restore({**kept, "weight": net.weight}).keys() == {"weight"}
    assert torch.equal(again.state()["average.weight"], kept["average.weight"])
    trained = {"head.bias": torch.tensor([2.0, 2.0]), "a": torch.tensor([2.0])}
    start = {"head.bias": torch.tensor([0.0, 0.0]), "a": torch.tensor([0.0])}
    mixed = mixed_with(trained, start, 0.5, 1)
    assert mixed["head.bias"].tolist() == [1.0, 2.0]
    assert mixed["a"].tolist() == [1.0]
