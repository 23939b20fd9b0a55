"""The FACS table and its blending."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ConfigError
from emo_face.core.labels import basic7
from emo_face.core.paths import data_file
from emo_face.face.expressions.facs import Facs, default_facs, load_facs

LABELS = basic7().labels
probabilities = (
    arrays(np.float64, 7, elements=st.floats(0, 1)).filter(lambda p: p.sum() > 1e-6).map(lambda p: p / p.sum())
)


def one_hot(label: str, p: float = 1.0) -> np.ndarray:
    result = np.full(7, (1 - p) / 6)
    result[LABELS.index(label)] = p
    return result


def shapes(arkit: np.ndarray) -> set[str]:
    return {name.removesuffix("Left").removesuffix("Right") for name, v in zip(ARKIT_52, arkit, strict=True) if v > 0.1}


@pytest.mark.parametrize(
    ("expression", "units"),
    [
        # Du, Tao & Martinez (PNAS 2014), table 1: units seen in over 70 % of people.
        ("Happy", {"12", "25"}),
        ("Sad", {"4", "15"}),
        ("Fear", {"1", "4", "20", "25"}),
        ("Anger", {"4", "7", "24"}),
        ("Surprise", {"1", "2", "25", "26"}),
        ("Disgust", {"9", "10", "17"}),
        # EMFACS: the units that tell the emotion.
        ("Happy", {"6", "12"}),
        ("Sad", {"1", "4", "15"}),
        ("Surprise", {"1", "2", "5", "26"}),
        ("Anger", {"4", "5", "7", "23"}),
        ("Contempt", {"R12", "R14"}),
        ("Neutral", set()),
    ],
)
def test_prototypes_hold_the_units_of_the_literature(expression: str, units: set[str]) -> None:
    assert units <= set(default_facs().units_of(expression))


@pytest.mark.parametrize(
    ("expression", "present", "absent"),
    [
        ("Happy", {"mouthSmile", "cheekSquint"}, {"mouthFrown", "browDown", "noseSneer"}),
        ("Sad", {"browInnerUp", "mouthFrown"}, {"mouthSmile", "jawOpen", "eyeWide"}),
        ("Surprise", {"browInnerUp", "browOuterUp", "eyeWide", "jawOpen"}, {"browDown", "mouthSmile"}),
        ("Anger", {"browDown", "eyeSquint", "mouthPress"}, {"browInnerUp", "mouthSmile"}),
        ("Disgust", {"noseSneer", "mouthUpperUp"}, {"mouthSmile", "eyeWide"}),
        ("Fear", {"eyeWide", "browInnerUp", "mouthStretch"}, {"mouthSmile", "noseSneer"}),
    ],
)
def test_prototypes_move_what_they_should(expression: str, present: set[str], absent: set[str]) -> None:
    facs = default_facs()
    moved = shapes(facs.prototypes[facs.expressions.index(expression)])
    assert present <= moved
    assert not absent & moved


def test_every_pair_of_basic_expressions_is_far_apart() -> None:
    facs = default_facs()
    rows = np.stack([facs.prototypes[facs.expressions.index(label)] for label in LABELS])
    distance = np.linalg.norm(rows[:, None] - rows[None], axis=2) + 9 * np.eye(7)
    assert distance.min() > 0.9


def test_only_contempt_is_lopsided() -> None:
    facs = default_facs()
    for name, row in zip(facs.expressions, facs.prototypes, strict=True):
        sides = [(row[ARKIT_INDEX[n]], row[ARKIT_INDEX[n[:-4] + "Right"]]) for n in ARKIT_52 if n.endswith("Left")]
        lopsided = any(left != right for left, right in sides)
        assert lopsided == (name == "Contempt"), name
    contempt = facs.prototypes[facs.expressions.index("Contempt")]
    assert contempt[ARKIT_INDEX["mouthDimpleRight"]] > 0.5
    assert contempt[ARKIT_INDEX["mouthDimpleLeft"]] == 0


@pytest.mark.parametrize("label", LABELS)
def test_a_certain_label_gives_its_prototype(label: str) -> None:
    facs = default_facs()
    arkit = facs.arkit(facs.strengths(LABELS, one_hot(label)))
    np.testing.assert_allclose(arkit, facs.prototypes[facs.expressions.index(label)], atol=1e-12)


def test_flat_empty_and_broken_distributions_leave_the_face_at_rest() -> None:
    facs = default_facs()
    for values in (np.full(7, 1 / 7), np.zeros(7), np.full(7, np.nan)):
        assert not facs.arkit(facs.strengths(LABELS, values)).any()
    with pytest.raises(ValueError, match="7 labels"):
        facs.strengths(LABELS, np.zeros(6))


@given(probabilities, st.floats(0, 3))
def test_activations_stay_in_bounds(p: np.ndarray, intensity: float) -> None:
    facs = default_facs()
    strengths = facs.strengths(LABELS, p)
    assert sum(strengths.values()) <= 1 + 1e-9
    arkit = facs.arkit(strengths, intensity)
    assert arkit.shape == (52,)
    assert (arkit >= 0).all()
    assert (arkit <= 1).all()


@given(probabilities, st.floats(0, 1), st.floats(0, 1))
def test_activations_never_fall_as_intensity_rises(p: np.ndarray, a: float, b: float) -> None:
    facs = default_facs()
    strengths = facs.strengths(LABELS, p)
    low, high = sorted((a, b))
    assert (facs.arkit(strengths, high) >= facs.arkit(strengths, low) - 1e-12).all()
    assert not facs.arkit(strengths, 0.0).any()


@given(st.sampled_from([x for x in LABELS if x != "Neutral"]), st.floats(1 / 7, 1), st.floats(1 / 7, 1))
def test_a_surer_label_shows_more(label: str, a: float, b: float) -> None:
    facs = default_facs()
    low, high = (facs.arkit(facs.strengths(LABELS, one_hot(label, p))) for p in sorted((a, b)))
    assert (high >= low - 1e-9).all()


@given(probabilities, probabilities)
def test_a_small_change_of_the_scores_is_a_small_change_of_the_face(p: np.ndarray, q: np.ndarray) -> None:
    facs = default_facs()
    step = 1e-4
    before = facs.arkit(facs.strengths(LABELS, p))
    after = facs.arkit(facs.strengths(LABELS, (1 - step) * p + step * q))
    assert np.abs(after - before).max() < 0.05


def test_arousal_scales_strength_within_limits() -> None:
    facs = default_facs()
    rule = facs.table.circumplex
    assert facs.arousal_scale(0.3, 0.3) == 1.0
    assert 1.0 < facs.arousal_scale(0.5, 0.3) <= rule.max
    assert facs.arousal_scale(1.0, -1.0) == rule.max
    assert facs.arousal_scale(-1.0, 1.0) == rule.min
    assert facs.arousal_scale(float("nan"), 0.0) == 1.0


def test_every_label_of_every_label_set_has_an_expression() -> None:
    sets = yaml.safe_load(data_file("labels.yaml").read_text())["sets"]
    for name, body in sets.items():
        for entry in body["labels"]:
            assert default_facs().mixture_of_label(entry["label"]), f"{name}: {entry['label']}"


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = data_file("facs.yaml").read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("browInnerUp: 1.0", "browInnerUpp: 1.0", r"mine\.yaml.*browInnerUpp"),
        ("Happy: {units: {6: D", "Happy: {units: {66: D", r"mine\.yaml.*'66'"),
        ("Happy: {units: {6: D", "Happy: {units: {6: F", r"mine\.yaml.*Happy.*'F', expected one of A, B"),
        ("Joy: {Happy: 1.0}", "Joy: {Hapy: 1.0}", r"mine\.yaml.*Joy.*Hapy"),
        ("strength_exponent: 0.6", "strength_exponent: -1", r"mine\.yaml.*strength_exponent.*greater than 0"),
        ("strength_exponent: 0.6", "strength: 0.6", r"mine\.yaml.*strength"),
        ("source: [reeve1993, cordaro2018]", "source: [hearsay]", r"mine\.yaml.*hearsay"),
        ("levels: {", "levels: {[", r"mine\.yaml.*YAML"),
    ],
)
def test_a_mistake_in_the_table_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_facs(edited(tmp_path, old, new))


def test_an_unknown_label_names_the_fix() -> None:
    with pytest.raises(ConfigError, match=r"Melancholy.*add a row"):
        default_facs().mixture_of_label("Melancholy")


def test_the_table_can_be_tuned(tmp_path: Path) -> None:
    facs: Facs = load_facs(edited(tmp_path, "Happy: {units: {6: D, 12: E", "Happy: {units: {6: D, 12: A"))
    happy = facs.arkit({"Happy": 1.0})[ARKIT_INDEX["mouthSmileLeft"]]
    assert happy == pytest.approx(facs.table.levels["A"])
