"""The opinion pool: what must hold for any opinions, and a few cases worked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_face.core.errors import ConfigError
from emo_face.core.labels import basic7
from emo_face.perception.fusion import (
    FusionParameters,
    Opinion,
    SourceParameters,
    fuse,
    read_fusion,
    speech_reliability,
)

N = 7
PARAMETERS = FusionParameters(
    label_set="basic7",
    sources={
        "face": SourceParameters(weight=0.9, temperature=1.3),
        "speech": SourceParameters(weight=0.7, temperature=0.9),
    },
)
PLAIN = FusionParameters(label_set="basic7", sources={})


def peaked(label: str, p: float = 0.9) -> np.ndarray:
    out = np.full(N, (1 - p) / (N - 1))
    out[basic7().index(label)] = p
    return out


distribution = st.lists(st.floats(1e-3, 1.0), min_size=N, max_size=N).map(lambda v: np.array(v) / sum(v))
unit = st.floats(0, 1)
opinion = st.builds(Opinion, distribution, unit)
opinions = st.fixed_dictionaries({}, optional={"face": opinion, "speech": opinion, "scene": opinion})


@given(opinions)
def test_result_is_a_distribution_and_evidence_is_bounded(said: dict[str, Opinion]) -> None:
    result = fuse(said, PARAMETERS)
    assert result.probabilities.sum() == pytest.approx(1.0)
    assert (result.probabilities >= 0).all()
    assert sum(map(abs, result.evidence.values())) <= 1.0 + 1e-9
    assert 0.0 <= result.reliability <= 1.0


@given(opinions, distribution)
def test_a_source_without_reliability_is_a_missing_source(said: dict[str, Opinion], p: np.ndarray) -> None:
    without = fuse(said, PARAMETERS)
    with_it = fuse({**said, "extra": Opinion(p, 0.0)}, PARAMETERS)
    np.testing.assert_allclose(with_it.probabilities, without.probabilities)
    assert with_it.evidence == without.evidence


@given(opinions, unit)
def test_a_source_that_knows_nothing_changes_nothing(said: dict[str, Opinion], reliability: float) -> None:
    uniform = Opinion(np.full(N, 1 / N), reliability)
    result = fuse({**said, "extra": uniform}, PARAMETERS)
    np.testing.assert_allclose(result.probabilities, fuse(said, PARAMETERS).probabilities, atol=1e-9)


@given(st.permutations(["face", "speech", "scene"]), opinion, opinion, opinion)
def test_order_does_not_matter(order: list[str], a: Opinion, b: Opinion, c: Opinion) -> None:
    said = dict(zip(["face", "speech", "scene"], (a, b, c), strict=True))
    shuffled = {name: said[name] for name in order}
    np.testing.assert_allclose(fuse(said, PARAMETERS).probabilities, fuse(shuffled, PARAMETERS).probabilities)


@given(distribution, unit, unit)
def test_less_reliable_means_flatter(p: np.ndarray, r1: float, r2: float) -> None:
    low, high = sorted((r1, r2))
    flat = fuse({"face": Opinion(p, low)}, PARAMETERS).probabilities
    sharp = fuse({"face": Opinion(p, high)}, PARAMETERS).probabilities
    assert flat.max() <= sharp.max() + 1e-9


@given(distribution)
def test_one_plain_source_alone_is_believed_as_it_is(p: np.ndarray) -> None:
    np.testing.assert_allclose(fuse({"face": Opinion(p)}, PLAIN).probabilities, p, atol=1e-6)


def test_nobody_says_anything() -> None:
    result = fuse({}, PARAMETERS)
    np.testing.assert_allclose(result.probabilities, 1 / N)
    assert (result.evidence, result.reliability) == ({}, 0.0)


def test_agreement_sharpens_and_disagreement_flattens() -> None:
    alone = fuse({"face": Opinion(peaked("Happy", 0.6))}, PARAMETERS).probabilities
    happy = basic7().index("Happy")
    agree = {"face": Opinion(peaked("Happy", 0.6)), "speech": Opinion(peaked("Happy", 0.6))}
    differ = {"face": Opinion(peaked("Happy", 0.6)), "speech": Opinion(peaked("Sad", 0.6))}
    assert fuse(agree, PARAMETERS).probabilities[happy] > alone[happy]
    assert fuse(differ, PARAMETERS).probabilities[happy] < alone[happy]


@given(distribution, st.floats(0.5, 2.0), st.floats(0.5, 2.0))
def test_agreement_is_never_less_certain(p: np.ndarray, face: float, speech: float) -> None:
    sources = {"face": SourceParameters(weight=face), "speech": SourceParameters(weight=speech)}
    parameters = FusionParameters(label_set="basic7", sources=sources)
    both = fuse({"face": Opinion(p), "speech": Opinion(p)}, parameters).probabilities
    assert both.max() >= p.max() - 1e-6


def test_evidence_is_signed() -> None:
    result = fuse({"face": Opinion(peaked("Happy", 0.95)), "speech": Opinion(peaked("Sad", 0.6))}, PARAMETERS)
    assert basic7().labels[int(result.probabilities.argmax())] == "Happy"
    assert result.evidence["face"] > 0 > result.evidence["speech"]
    certain = fuse({"face": Opinion(peaked("Happy", 0.9999))}, PLAIN)
    assert certain.evidence["face"] == pytest.approx(1.0, abs=0.01)


def test_no_source_has_a_veto() -> None:
    certain = np.zeros(N)
    certain[0] = 1.0
    result = fuse({"face": Opinion(certain), "speech": Opinion(peaked("Sad", 0.9))}, PARAMETERS)
    assert np.isfinite(np.log(result.probabilities)).all()


@pytest.mark.parametrize(
    "bad",
    [np.full(N, np.nan), np.full(3, 1 / 3), np.zeros(N), np.array([2.0, -1, 0, 0, 0, 0, 0]), np.full(N, np.inf)],
)
def test_rubbish_counts_as_missing(bad: np.ndarray) -> None:
    good = {"face": Opinion(peaked("Sad"))}
    result = fuse({**good, "speech": Opinion(bad)}, PARAMETERS)
    np.testing.assert_allclose(result.probabilities, fuse(good, PARAMETERS).probabilities)
    assert fuse({"face": Opinion(peaked("Sad"), math.nan)}, PARAMETERS).reliability == 0.0


def test_speech_counts_in_full_for_half_its_time_to_live_then_fades_without_a_jump() -> None:
    ages = np.linspace(0.0, 6.0, 61)
    trust = np.array([speech_reliability(age, 0.8, 6.0) for age in ages])
    assert (trust[ages <= 3.0] == 0.8).all()
    assert trust[45] == pytest.approx(0.4)
    assert trust[-1] == speech_reliability(60.0, 0.8, 6.0) == 0.0
    assert (np.diff(trust) <= 0).all()
    assert np.diff(trust).min() > -0.05
    assert speech_reliability(-0.1, 1.0, 6.0) == 1.0  # a recogniser's clock a little ahead
    assert speech_reliability(1.0, math.nan, 6.0) == speech_reliability(1.0, 1.0, 0.0) == 0.0


def test_a_still_face_speaks_against_words_only_as_far_as_feelings_show() -> None:
    """At a miss rate of m a still face is worth at most 1 / m to 1 against what was said, however sure it is."""
    sources = {"face": SourceParameters(miss_rate=0.5), "speech": SourceParameters()}
    parameters = FusionParameters(label_set="basic7", sources=sources)
    words = Opinion(peaked("Anger", 0.9999))  # f = 1: the leak is whole
    anger, neutral = basic7().index("Anger"), basic7().index("Neutral")
    for sure in (0.9, 0.99, 0.9997):
        said = {"face": Opinion(peaked("Neutral", sure)), "speech": words}
        p, alone = (fuse(o, parameters).probabilities for o in (said, {"speech": words}))
        against = (alone[anger] / alone[neutral]) / (p[anger] / p[neutral])
        assert 1.0 < against < 2.01
    both = {"face": Opinion(peaked("Neutral", 0.9)), "speech": Opinion(peaked("Neutral", 0.9))}
    assert fuse(both, parameters).probabilities[neutral] > 0.97  # nothing to leak: neutral with neutral stays


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("label_set: basic7\nsources: {face: {weight: -1}}", "sources.face.weight"),
        ("label_set: basic7\nsources: {face: {temperature: 0}}", "sources.face.temperature"),
        ("label_set: basic7\nsources: {}\nthresholds: {Joy: 0.4}", "Joy"),
        ("sources: {}", "label_set"),
        ("label_set: none\nsources: {}", "none"),
        ("[", "cannot be read"),
    ],
)
def test_bad_parameter_file_names_file_and_field(tmp_path: Path, text: str, field: str) -> None:
    path = tmp_path / "fusion.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"fusion\.yaml.*{field}"):
        read_fusion(path)
