"""What is fitted by form and by side is written into the model and reaches what a robot shows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from tinyworld import tiny

from emo_face.core.configs import from_dict
from emo_face.core.errors import ConfigError
from emo_face.core.types import Speech
from emo_face.evaluation.contextface import predict as cp
from emo_face.evaluation.contextface.measure import calibration
from emo_face.expression.contextface import checkpoint
from emo_face.expression.contextface.backend import ContextFaceExpression
from emo_face.expression.contextface.conditions import CONDITIONS
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.engine import Engine
from emo_face.expression.contextface.prompts import Example, Turn, expression_answer, words
from emo_face.expression.model import Context
from emo_face.training.contextface.calibration import Heard, fitted, listen

QUOTE, LISTENER = CONDITIONS["quote"], CONDITIONS["listener/quote"]


def heard(form, warmth, n=4000, emission=0.9, seed=0):
    """Answers whose truth is drawn from their distribution at temperature ``warmth``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, 7))
    p = np.exp(logits / warmth)
    truth = (p.cumsum(1) / p.sum(1, keepdims=True) > rng.random((n, 1))).argmax(1)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True)) + np.log(emission)
    return Heard(form, logs, truth, np.arange(n).astype(str))


def test_each_form_and_each_side_gets_its_own():
    parts = [heard("quote", 2.0), heard("situation", 2.0, n=99), heard("listener/quote", 0.5, emission=0.02)]
    config, found = fitted(ContextFaceConfig(), parts)
    for name, warmth, least in (("quote", 2.0, 0.09), ("speaker", 2.0, 0.09), ("listener/quote", 0.5, 0.002)):
        assert config.temperatures[name] == pytest.approx(warmth, rel=0.05)
        assert config.least_emissions[name] == pytest.approx(least)
        assert found[name]["ece_after"] < 0.02 < found[name]["ece_before"]
    assert found["speaker"]["n"] == 4099
    assert found["situation"] == {"n": 99, "fitted": False}, "it is the side's"
    assert set(config.shifts) == {"speaker", "quote", "listener", "listener/quote"}
    few, said = fitted(ContextFaceConfig(), [heard("quote", 2.0, n=19)])
    assert few == ContextFaceConfig()
    assert said == {name: {"n": 19, "fitted": False} for name in ("speaker", "quote")}


def test_what_a_model_says_too_often_is_taken_back():
    """Its words lean to Neutral whatever is said: the shift takes that off, and rare words come to the top."""
    rng, n = np.random.default_rng(0), 3000
    truth = rng.choice(7, n, p=[0.02, 0.03, 0.1, 0.5, 0.05, 0.25, 0.05])
    lean = np.array([-2.0, 0.0, 0.0, 1.5, 0.0, 0.0, 0.0])
    logits = rng.normal(0, 1.0, (n, 7)) + 1.5 * np.eye(7)[truth] + np.log([0.02, 0.03, 0.1, 0.5, 0.05, 0.25, 0.05])
    logits += lean
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    config, found = fitted(ContextFaceConfig(), [Heard("quote", logs, truth, np.arange(len(logs)).astype(str))])
    report, shift = found["speaker"], config.shifts["speaker"]
    assert report["macro_f1_after"] > report["macro_f1_before"] + 0.03
    assert report["ece_after"] < 0.05
    assert max(shift, key=shift.get) == "Angry"
    assert min(shift, key=shift.get) == "Neutral"
    p = config.probabilities(logs[0], QUOTE)
    q = np.exp((logs[0] + list(shift.values())) / report["temperature"])
    np.testing.assert_allclose(p, q / q.sum())
    np.testing.assert_allclose(config.probabilities(logs[0], LISTENER), np.exp(logs[0]))
    with pytest.raises(ConfigError, match="shifts: speaker: expected a perspective or form and a number for every"):
        ContextFaceConfig(shifts={"speaker": {"Angry": 0.1}})


def test_a_hundred_right_answers_do_not_make_a_model_certain():
    """Log-loss alone would have a temperature of 0 here, and every answer of a robot a probability of 1."""
    truth = np.arange(106) % 7
    logs = np.log(np.full((106, 7), 0.1) + 0.3 * np.eye(7)[truth])
    config, found = fitted(ContextFaceConfig(), [Heard("quote", logs, truth, np.arange(len(logs)).astype(str))])
    assert 0.1 < found["quote"]["temperature"] < 1.0
    assert config.probabilities(logs[0], QUOTE).max() < 0.999


def test_answers_about_few_events_say_how_sure_a_model_is_and_not_which_words_it_favours():
    """Seven events, one of each emotion, asked about fifteen times each: two are read wrong, whatever is asked.

    A shift would put just these two right, and other events wrong: on new events the model that ships lost 15 points
    of accuracy to one.
    """
    truth = np.arange(105) % 7
    said = np.where(truth == 1, 2, np.where(truth == 4, 5, truth))
    logits = 6.0 * np.eye(7)[said]
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    config, found = fitted(ContextFaceConfig(), [Heard("quote", logs, truth, truth.astype(str))])
    assert found["quote"]["groups"] == 7
    assert set(config.shifts["quote"].values()) == {0.0}
    assert config.temperatures["quote"] > 1.5
    config, found = fitted(ContextFaceConfig(), [Heard("quote", logs, truth, np.arange(105).astype(str))])
    assert found["quote"]["groups"] == 105
    assert config.shifts["quote"][words()[1]] > 0.1


def test_an_unlikely_form_is_no_answer():
    config = ContextFaceConfig(temperatures={"listener": 2.0}, least_emissions={"listener": 0.1})
    likely, unlikely = np.log(np.full(7, 0.1)), np.log(np.full(7, 0.01))
    likely[2] = unlikely[2] = np.log(0.03)
    assert np.ptp(config.probabilities(unlikely, LISTENER)) == 0
    assert config.probabilities(unlikely, QUOTE)[2] == pytest.approx(0.03 / 0.09)
    p = np.sqrt(np.exp(likely))
    np.testing.assert_allclose(config.probabilities(likely, LISTENER), p / p.sum())
    for wrong in ({"temperatures": {"speaker": 0.0}}, {"least_emissions": {"me": 0.1}}, {"temperatures": {"me": 1.0}}):
        with pytest.raises(ConfigError, match=r"temperatures|least_emissions"):
            ContextFaceConfig(**wrong)


def example(name, number):
    label, form = words()[number % 7], CONDITIONS[name]
    turn = Turn(form.question(f"oh {number}", ""), expression_answer(form.source, label))
    return Example(f"{name}{number}", "expression", (turn,), label=label, form=name)


def test_a_model_listens_to_its_own_questions_and_keeps_what_was_found(tmp_path):
    world = tiny(config=ContextFaceConfig())
    examples = [example(name, number) for name in ("quote", "listener/quote") for number in range(25)]
    onepass = world.onepass(cache=False)
    found = listen(onepass, [*examples, Example("s", "situation", ())])
    assert [(part.name, len(part.truth)) for part in found] == [("quote", 25), ("listener/quote", 25)]
    served = onepass.answer("oh 3", perspective="listener")
    np.testing.assert_allclose(found[1].log_probs[3], served.log_probs, atol=1e-5)
    folder = checkpoint.save_model(tmp_path / "m", world.model, "backbone")
    config, report = fitted(world.model.config, found)
    checkpoint.set_config(folder, config, {"calibration": report})
    card = checkpoint.read_card(folder)
    assert card["calibration"]["listener"]["fitted"]
    assert from_dict(ContextFaceConfig, card["config"], "card") == config
    assert json.dumps(card)
    again = tiny(config=ContextFaceConfig(), stir=False)
    checkpoint.put_back(folder, again.model)
    assert torch.equal(again.model.head.outer.weight, world.model.head.outer.weight)


def test_a_flat_answer_leaves_the_face_at_rest_and_counts_as_none():
    world = tiny(config=ContextFaceConfig(least_emissions={"listener": 0.99}))
    backend = ContextFaceExpression(Engine(world.model.eval(), world.builder, world.eyes))
    target = backend.express(Context(1.0, speech=Speech("oh dear", 1.0)), 1.0)
    assert (target.shown.name, target.confidence, target.text) == ("Neutral", 0.0, "")
    assert np.abs(target.keyframes[0].coefficients).max() == 0
    assert np.abs(target.keyframes[0].jaw_pose).max() < 1e-6
    engine = backend.engine
    engine.model.config = replace(engine.model.config, least_emissions={})
    sure = ContextFaceExpression(engine).express(Context(1.0, speech=Speech("oh dear", 1.0)), 1.0)
    assert sure.confidence > 1 / 7
    flat = np.full((2, 7), 1 / 7)
    flat[1] = np.eye(7)[3]
    said = cp.ConditionPredictions(("a", "b"), flat, flat[:, 0], flat, flat, flat)
    assert said.guess.tolist() == [-1, 3]
    assert calibration(np.array([0, 3]), said)["ECE"] == 0
