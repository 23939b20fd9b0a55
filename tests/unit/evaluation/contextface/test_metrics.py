"""Metrics of faces and emotion words: identities that must hold, floors, baselines, the leakage probe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.core.errors import UserError
from emo_face.datasets.annotate import quality
from emo_face.datasets.annotate.schema import Context, parse_context, parse_judgement
from emo_face.evaluation.contextface import metrics as m
from emo_face.evaluation.contextface.probe import BagOfWords, probe
from emo_face.expression.contextface.prompts import words

RNG = np.random.default_rng(0)


def test_the_conventions_and_their_ratio():
    a, b = RNG.normal(size=(9, 100)), RNG.normal(size=(9, 100))
    mse, total, distance = (m.per_sample(a, b, name) for name in m.CONVENTIONS)
    np.testing.assert_allclose(total / mse, 100)
    np.testing.assert_allclose(distance**2, total)
    np.testing.assert_allclose(mse[3], ((a[3] - b[3]) ** 2).mean())
    with pytest.raises(ValueError, match="per_dim_mse"):
        m.per_sample(a, b, "l2")


def test_frechet_identities():
    x = RNG.normal(size=(200, 20)) @ RNG.normal(size=(20, 20))
    assert m.frechet(x, x) == pytest.approx(0, abs=1e-6)
    shift = RNG.normal(size=20)
    assert m.frechet(x, x + shift) == pytest.approx((shift**2).sum(), rel=1e-6)
    constant = np.repeat(x.mean(0)[None], 200, 0)
    assert m.frechet(constant, x) == pytest.approx(np.trace(np.cov(x, rowvar=False)), rel=1e-6)
    mse = m.per_sample(constant, x).mean()
    assert m.frechet(constant, x) == pytest.approx(20 * mse * 200 / 199, rel=1e-6), "the paper's ratio of FD to L2"


def test_frechet_against_the_matrix_square_root():
    from scipy.linalg import sqrtm

    x = RNG.normal(size=(300, 10)) @ RNG.normal(size=(10, 10))
    y = RNG.normal(size=(250, 10)) @ RNG.normal(size=(10, 10)) + 1
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert m.frechet(x, y) == pytest.approx(expected, rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 30), st.integers(0, 2**31))
def test_frechet_is_finite_symmetric_and_not_negative(n, k, d, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(k, d)) * 1e3
    value = m.frechet(x, y)
    assert np.isfinite(value)
    assert value >= -1e-6 * np.abs(y).max() ** 2
    assert value == pytest.approx(m.frechet(y, x), rel=1e-6, abs=1e-3)


def test_the_floor_is_what_two_draws_of_one_gaussian_score():
    scale = np.linspace(2, 0.05, 30)
    truth = RNG.normal(size=(400, 30)) * scale
    floor = m.floor(truth, np.random.default_rng(1))
    draws = [m.frechet(RNG.normal(size=(400, 30)) * scale, RNG.normal(size=(400, 30)) * scale) for _ in range(20)]
    assert floor.value == pytest.approx(np.mean(draws), rel=0.1)
    assert floor.low < floor.value < floor.high
    # the anchor: 431 faces, 100 flat dimensions, trace 19.4
    flat = RNG.normal(size=(431, 100)) * np.sqrt(0.194)
    assert m.floor(flat, np.random.default_rng(2), 5).value == pytest.approx(2.37, abs=0.35)


def test_intervals_hold_the_value_and_shrink():
    truth = RNG.normal(size=(300, 30))
    near = truth + RNG.normal(size=truth.shape) * 0.3
    found = m.intervals(near, truth, np.random.default_rng(0), 60)
    for name in (*m.CONVENTIONS, "FD", "FD_pca"):
        assert found[name].low <= found[name].value <= found[name].high, name
    fewer = m.intervals(near[:60], truth[:60], np.random.default_rng(0), 60)
    assert fewer["per_dim_mse"].high - fewer["per_dim_mse"].low > found["per_dim_mse"].high - found["per_dim_mse"].low


def test_baselines():
    labels = np.arange(70) % 7
    means = RNG.normal(size=(7, 40))
    truth = means[labels] + RNG.normal(size=(70, 40)) * 0.1
    shown = m.baseline_faces(truth, labels, np.random.default_rng(0))
    errors = {name: m.per_sample(face, truth).mean() for name, face in shown.items()}
    assert errors["Per-emotion mean"] < errors["Mean"] < errors["Random"]
    assert not np.any(np.all(shown["Random"] == truth, axis=1)), "never the face itself"
    # each face is left out of its own mean: with two faces of an emotion it is the other one
    pair = m.baseline_faces(truth[:14], labels[:14], np.random.default_rng(0))
    np.testing.assert_allclose(pair["Per-emotion mean"][:7], truth[7:14])
    trained = m.baseline_faces(truth, labels, np.random.default_rng(0), (means[:6], np.arange(6)))
    np.testing.assert_allclose(trained["Per-emotion mean"][labels == 2], np.repeat(means[2][None], 10, 0))
    np.testing.assert_allclose(trained["Per-emotion mean"][6], means[:6].mean(0), err_msg="an emotion nobody trained")
    np.testing.assert_allclose(trained["Mean"][0], means[:6].mean(0))


def test_faces_that_are_no_faces():
    good = np.zeros((3, 4))
    for p, t, text in (
        (good, np.zeros((2, 4)), "one shape"),
        (good[:0], good[:0], "one shape"),
        (good, np.full((3, 4), np.nan), "finite"),
    ):
        with pytest.raises(UserError, match=text):
            m.per_sample(p, t)
    with pytest.raises(UserError, match="two faces"):
        m.frechet(good[:1], good)
    with pytest.raises(UserError, match="two faces"):
        m.baseline_faces(good[:1], np.zeros(1, int), RNG)


def test_emotion_scores_against_sklearn():
    sk = pytest.importorskip("sklearn.metrics")
    truth, guess = RNG.integers(0, 7, 300), RNG.integers(0, 7, 300)
    found = m.emotion_scores(truth, guess, 7)
    np.testing.assert_allclose(found["F1"], 100 * sk.f1_score(truth, guess, average=None))
    assert found["UAR"] == pytest.approx(100 * sk.balanced_accuracy_score(truth, guess))
    assert found["WAR"] == pytest.approx(100 * sk.accuracy_score(truth, guess))


def test_an_answer_without_an_emotion_is_wrong_and_counted():
    truth, guess = np.array([0, 0, 1, 1]), np.array([0, -1, 1, 1])
    found = m.emotion_scores(truth, guess, 2)
    assert (found["UAR"], found["WAR"], found["unparsed"]) == (75, 75, 25)
    assert found["F1"] == pytest.approx([100 * 2 / 3, 100])
    none = m.emotion_scores(truth, np.full(4, -1), 2)
    assert (none["UAR"], none["unparsed"]) == (0, 100)


def test_majority_and_prior():
    truth = np.array([0] * 6 + [1] * 3 + [2])
    found = m.emotion_baselines(truth, 3)
    assert found["majority"] == {"UAR": pytest.approx(100 / 3), "WAR": pytest.approx(60)}
    assert found["prior"]["WAR"] == pytest.approx(100 * (0.36 + 0.09 + 0.01))
    other = m.emotion_baselines(truth, 3, prior=[0, 0, 5])
    assert other["majority"]["WAR"] == pytest.approx(10)


def test_leaks_and_masks():
    text = "Sadly she mourned; the sadness of a neutral day. He said: don't panic!"
    assert quality.leaks(text, "Sad") == {"label_word": ["Sadly", "sadness"], "synonym": ["mourned"]}
    assert quality.leaks(text, "happiness") == {}
    assert quality.leaks("The crusade of the Saddlers.", "Sad") == {}, "whole words only"
    assert quality.named_labels(text) == {"Sad", "Neutral", "Fear"}
    hidden = quality.masked(text)
    assert quality.named_labels(hidden) == set()
    assert hidden.startswith("… she …;")
    for word in words():
        assert quality.leaks(f"I am {word.lower()} today", word), word
    clean = Context(situation="He waits for the bus.", quote="Where is it?")
    assert quality.flags(clean, "Sad") == {}
    bad = Context(
        situation="The angry man in the red box. Stands. There.", quote="The angry man in the red box. Stands. There"
    )
    assert set(quality.flags(bad, "Sad")) == {"other_label", "task_word", "too_long", "same_text"}


@pytest.mark.parametrize(
    "text",
    [
        "[Expected situation]: He waits for a bus.\n[Expected quote]: “Where is it?”",
        '**[Expected quote]**: "Where is it?"\n\n**[Expected situation]:** He waits for a bus.',
        "[expected situation] He waits for a bus. [EXPECTED QUOTE]: Where is it?",
        "Sure!\n[Expected situation]: He waits\nfor a bus. [Expected quote]: Where is it?",
    ],
)
def test_answers_in_many_dresses(text):
    assert parse_context(text) == Context(situation="He waits for a bus.", quote="Where is it?")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("He waits.", "situation.*missing"),
        ("[Expected situation]: He waits for it.", "quote.*missing"),
        ("[Expected situation]: [Expected quote]: Hm.", "situation.*empty"),
        ("[Expected situation]: He. [Expected quote]: Hm.", "situation"),
        ("[Expected situation]: One two. [Expected quote]: A [Expected quote]: B", "twice"),
        ("[Expected situation]: " + "x" * 700 + " [Expected quote]: Hm.", "situation"),
    ],
)
def test_answers_of_a_wrong_form(text, words):
    with pytest.raises(ValueError, match=words):
        parse_context(text)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=300))
def test_no_answer_crashes_the_parsers(text):
    for parse in (parse_context, parse_judgement):
        try:
            parse(text)
        except ValueError:
            continue


def test_the_probe_reads_what_leaks_and_nothing_else():
    names = words()
    rng = np.random.default_rng(3)
    labels = [names[i % 7] for i in range(210)]
    nothing = [" ".join(rng.choice(["bus", "tea", "door", "rain"], 6)) for _ in labels]
    found = probe(nothing, labels, (nothing, labels))
    assert found["share"]["any"] == 0
    assert found["word_list"]["unparsed"] == 100
    fresh = [" ".join(rng.choice(["bus", "tea", "door", "rain"], 6)) for _ in labels]
    assert probe(fresh, labels, (nothing, labels))["bag_of_words"]["UAR"] < 30, "chance is 14"
    told = [f"{text} {label}" for text, label in zip(nothing, labels, strict=True)]
    found = probe(told, labels, (told, labels))
    assert found["share"]["label_word"] == 100
    assert found["word_list"]["UAR"] == 100
    assert found["bag_of_words"]["UAR"] == 100
    reader = BagOfWords(["wet rain", "hot sun"], [0, 1], 2)
    assert (reader.predict("rain rain"), reader.predict("sun"), reader.predict("unheard of")) == (0, 1, 0)
