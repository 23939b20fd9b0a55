"""One pass equals separate passes; the prefix cache changes nothing but the time."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from tinyworld import PICTURE, separately, tiny

from emo_face.core.errors import ModelError, UserError
from emo_face.core.types import Box
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.packed import pack, tree_mask
from emo_face.expression.contextface.prompts import words
from fixtures.tiny_contextface import FAMILIES

QUOTE = "I can't believe how therapeutic it is"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("what", ["quote", "picture"])
def test_one_pass_equals_separate_passes(of_family, family, what):
    world = of_family(family)
    one = world.onepass()
    picture = world.eyes.fitted(PICTURE, Box(10, 10, 40, 60)) if what == "picture" else None
    answer = one.answer(quote=QUOTE, picture=picture)
    log_probs, faces = separately(world, QUOTE, picture=picture)
    np.testing.assert_allclose(answer.log_probs, log_probs, atol=2e-5, rtol=1e-6)
    np.testing.assert_allclose(answer.faces, faces, atol=2e-5)
    np.testing.assert_allclose(answer.probabilities, np.exp(log_probs) / np.exp(log_probs).sum(), atol=2e-5)
    assert np.ptp(answer.faces, axis=0).max() > 1e-3  # the branches do differ
    assert answer.probabilities.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_new_speech_reuses_the_picture_and_changes_no_result(of_family, family):
    world = of_family(family)
    picture = world.eyes.fitted(PICTURE)
    one, plain = world.onepass(), world.onepass(cache=False)
    one.answer(quote=QUOTE, picture=picture)
    second = one.answer(quote="Leave me alone!", picture=picture)
    fresh = plain.answer(quote="Leave me alone!", picture=picture)
    assert fresh.reused == 0
    assert second.reused > world.eyes.tokens  # the picture's run, and the format before it
    assert second.tokens + second.reused == fresh.tokens
    np.testing.assert_allclose(second.log_probs, fresh.log_probs, atol=2e-5, rtol=1e-6)
    np.testing.assert_allclose(second.faces, fresh.faces, atol=2e-5)


@pytest.mark.parametrize("family", ["llama", "llava", "smolvlm", "qwen2_5_vl", "qwen3_vl"])
def test_several_questions_in_one_pass_are_as_each_alone(of_family, family):
    world = of_family(family)
    one, seen = world.onepass(), (None, None, None)
    if family != "llama":
        seen = (world.eyes.fitted(PICTURE), None, world.eyes.fitted(PICTURE[:, ::-1]))
    asked = [one.asked(quote, "", each) for quote, each in zip((QUOTE, "Leave me alone!", "I"), seen, strict=True)]
    for question, found in zip(asked, one.several(asked), strict=True):
        alone = one.run(question)
        np.testing.assert_allclose(found.log_probs, alone.log_probs, atol=2e-5, rtol=1e-6)
        np.testing.assert_allclose(found.faces, alone.faces, atol=2e-5)


def test_reused_picture_is_not_encoded_again(of_family, monkeypatch):
    world = of_family("llava")
    one, calls = world.onepass(), []
    seen = world.model.base.model.get_image_features
    monkeypatch.setattr(world.model.base.model, "get_image_features", lambda *a, **k: calls.append(1) or seen(*a, **k))
    picture = world.eyes.fitted(PICTURE)
    one.answer(quote="one", picture=picture)
    one.answer(quote="two", picture=picture)
    assert len(calls) == 1
    one.answer(quote="two", picture=world.eyes.fitted(PICTURE[:, ::-1]))
    assert len(calls) == 2
    one.answer(quote="two")
    assert len(calls) == 2  # text alone encodes no picture


def test_another_picture_with_the_same_words_is_another_answer(of_family):
    world = of_family("llava")
    one = world.onepass()
    first = one.answer(quote=QUOTE, picture=world.eyes.fitted(PICTURE))
    other = one.answer(quote=QUOTE, picture=world.eyes.fitted(255 - PICTURE))
    again = one.answer(quote=QUOTE, picture=world.eyes.fitted(PICTURE))
    assert not np.allclose(first.faces, other.faces, atol=1e-6)
    np.testing.assert_allclose(first.faces, again.faces, atol=2e-5)


def test_map_takes_the_best_branch_and_mean_all_by_probability(of_family):
    answer = of_family("llava").onepass().answer(quote=QUOTE)
    best = int(np.argmax(answer.probabilities))
    assert answer.word == words()[best]
    np.testing.assert_array_equal(answer.face("map"), answer.faces[best])
    expected = sum(p * face for p, face in zip(answer.probabilities, answer.faces, strict=True))
    np.testing.assert_allclose(answer.face("mean"), expected)
    with pytest.raises(ValueError, match="decision: 'best', expected one of map, mean"):
        answer.face("best")


def test_hidden_offsets_select_different_states():
    paper = tiny(config=ContextFaceConfig(hidden_offset=0))
    code = tiny(config=ContextFaceConfig(hidden_offset=-1))
    one, two = (world.onepass().answer(quote=QUOTE) for world in (paper, code))
    np.testing.assert_allclose(one.log_probs, two.log_probs, atol=1e-5)
    assert np.abs(one.faces - two.faces).max() > 1e-2
    np.testing.assert_allclose(two.faces, separately(code, QUOTE)[1], atol=2e-5)


def test_temperature_flattens_the_distribution():
    sharp = tiny(config=ContextFaceConfig())
    flat = tiny(config=ContextFaceConfig(temperatures={"speaker": 4.0}))
    p, q = (world.onepass().answer(quote=QUOTE).probabilities for world in (sharp, flat))
    assert q.max() < p.max()
    np.testing.assert_allclose(q, p**0.25 / (p**0.25).sum(), atol=1e-6)


def test_each_form_of_the_question_has_its_own_temperature_or_its_sides():
    given = {"speaker": 4.0, "quote": 2.0, "image+quote": 0.5}
    plain, warm = tiny(config=ContextFaceConfig()), tiny(config=ContextFaceConfig(temperatures=given))
    picture = warm.eyes.fitted(PICTURE)
    forms = (
        (2.0, {}),
        (0.5, {"picture": picture}),
        (4.0, {"situation": "he left"}),
        (1.0, {"perspective": "listener"}),
    )
    for warmth, more in forms:
        p, q = (world.onepass().answer(QUOTE, **more).probabilities for world in (plain, warm))
        power = p ** (1 / warmth)
        np.testing.assert_allclose(q, power / power.sum(), atol=1e-6, err_msg=str(more))
    one = warm.onepass()
    several = one.several([one.asked(QUOTE, ""), one.asked(QUOTE, "he left", picture)])
    np.testing.assert_allclose(several[0].probabilities, one.answer(QUOTE).probabilities, atol=1e-5)
    np.testing.assert_allclose(several[1].probabilities, one.answer(QUOTE, "he left", picture).probabilities, atol=1e-5)


def test_the_mask_shows_each_token_the_prompt_and_its_own_branch():
    packed = pack([1, 2, 3], [[4, 5], [6], [7, 8]])
    assert packed.positions == (0, 1, 2, 3, 4, 3, 3, 4)
    seen = (tree_mask(packed, 0, torch.float32, "cpu")[0, 0] == 0).int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 1, 0, 0],
        [1, 1, 1, 0, 0, 0, 1, 0],
        [1, 1, 1, 0, 0, 0, 1, 1],
    ]
    with pytest.raises(ValueError, match="at least one token"):
        pack([1], [[2], []])


def test_emission_is_the_mass_of_the_form_and_grows_with_it():
    answer = tiny().onepass().answer(quote=QUOTE)
    assert answer.emission == pytest.approx(np.exp(answer.log_probs).sum())
    assert 0 <= answer.emission <= 1


def test_nan_in_the_weights_is_caught_and_the_cache_dropped():
    world = tiny()
    one = world.onepass()
    one.answer(quote=QUOTE)
    with torch.no_grad():
        world.model.base.model.language_model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        one.answer(quote="now it breaks")
    assert one._cache is None


def test_nothing_and_too_much_are_users_errors(of_family):
    with pytest.raises(UserError, match="all are empty"):
        of_family("llava").onepass().answer(quote=" \u200b\n")
    short = tiny(config=ContextFaceConfig(max_tokens=40))
    with pytest.raises(UserError, match=r"prompt: \d+ tokens, at most 40 fit"):
        short.onepass().answer(quote=QUOTE)
