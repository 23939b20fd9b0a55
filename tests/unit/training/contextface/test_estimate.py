"""What a run takes is told before its first step, and a GPU that is too small is refused then."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from tinyworld import tiny

from emo_face.core.errors import UserError
from emo_face.expression.contextface.prompts import Example, Turn, expression_answer, expression_question
from emo_face.training.contextface.data import ContextFaceCollator
from emo_face.training.contextface.estimate import GB, TRAINED, Estimate, check, estimate


def test_memory_is_counted_and_time_is_measured():
    world = tiny()
    turn = Turn(expression_question("oh"), expression_answer("quote", "Sad"))
    batch = ContextFaceCollator(world.builder, world.eyes, world.model.config)([Example("a", "expression", (turn,))])
    found, cheap = (estimate(world.model, batch, 100, checkpointing) for checkpointing in (False, True))
    numbers = list(world.model.parameters())
    assert found.weights == pytest.approx(sum(4 * p.numel() for p in numbers) / GB)
    assert found.trained == pytest.approx(TRAINED * sum(p.numel() for p in numbers if p.requires_grad) / GB)
    assert found.activations == pytest.approx(
        34 * 2 * 32 * 2 * batch.input_ids.numel() / GB
    )  # width 32, two layers, float32
    assert cheap.activations == pytest.approx(found.activations / 17)
    assert found.seconds > 0
    assert world.model.head.inner.weight.grad is None


def test_what_does_not_fit_is_refused_before_the_first_step():
    found = Estimate(weights=26.7, trained=0.4, activations=9.6, seconds=40 * 3600)
    assert (
        str(found) == "about 36.7 GB (weights 26.7, what is trained 0.4, activations 9.6) and 40.0 h before validations"
    )
    check(found, 11.0)
    with pytest.raises(UserError, match=r"about 10.0 GB beside the weights, 8.0 GB are free; add --checkpointing"):
        check(found, 8.0)
