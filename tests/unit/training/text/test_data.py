"""Corpora readers, splits, scores and calibration of the speech student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.core.numeric import softmax
from emo_face.datasets.text import GOEMOTIONS, XED, TextSplits, read_goemotions, read_splits, read_xed
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.intervals import bootstrap
from emo_face.evaluation.metrics.single_label import accuracy, f1_per_class, macro_f1
from emo_face.evaluation.text.leak import SpacingCue, has_cue, retypeset
from emo_face.evaluation.text.main import evaluate_text
from emo_face.perception.nano.wordpiece import clean
from emo_face.training.text.calibration import Part, fit
from emo_face.training.text.data import augment, batches, noise_texts

FIRST_XED_TEST_LINE = "I want you to meet somebody ."
"""Moves when the split moves, and then no figure of the model card is comparable any more."""
NEUTRAL = basic7().index("Neutral")
EKMAN = "anger\ndisgust\nfear\njoy\nneutral\nsadness\nsurprise"


def goemotions(folder: Path, rows: str, labels: str = EKMAN) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "labels.txt").write_text(labels)
    (folder / "train.tsv").write_text(rows)
    return folder


def test_goemotions_rows_map_to_basic7(tmp_path: Path) -> None:
    rows = read_goemotions(goemotions(tmp_path, "yay\t3\tid\nwhat, no\t0,6\tid\n"), "train")
    assert [tuple(basic7().labels[i] for i in row.labels) for row in rows] == [("Happy",), ("Anger", "Surprise")]
    assert [row.single for row in rows] == [True, False]
    assert rows[1].target().sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ("fine\t3\tid\nodd\t7\tid\n", EKMAN, r"train\.tsv:2: unknown class '7'"),
        ("no tab here\n", EKMAN, r"train\.tsv:1: expected at least 2"),
        ("fine\t3\tid\n", EKMAN.replace("fear", "envy"), r"labels\.txt:3: unknown class 'envy'"),
    ],
)
def test_damaged_goemotions_names_file_and_line(tmp_path: Path, rows: str, labels: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_goemotions(goemotions(tmp_path, rows, labels), "train")


def test_missing_and_badly_encoded_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels\.txt not found"):
        read_goemotions(tmp_path, "train")
    goemotions(tmp_path, "x\t1\n")
    (tmp_path / "train.tsv").write_bytes(b"caf\xe9\t1\n")
    with pytest.raises(UserError, match=r"train\.tsv: not UTF-8 at byte 3"):
        read_goemotions(tmp_path, "train")


def test_xed_drops_anticipation_and_trust(tmp_path: Path) -> None:
    (tmp_path / "en-annotated.tsv").write_text("a .\t1\nb .\t2\nc .\t8, 6\nd .\t3, 7\n")
    (tmp_path / "neu_en.txt").write_text("9\tWell.\n")
    rows = read_xed(tmp_path)
    assert [(row.text, [basic7().labels[i] for i in row.labels], row.single) for row in rows] == [
        ("a .", ["Anger"], True),
        ("c .", ["Sad"], False),
        ("d .", ["Disgust", "Surprise"], False),
        ("Well.", ["Neutral"], True),
    ]


@pytest.fixture(scope="module")
def splits(assets: Path) -> TextSplits:
    return read_splits(assets / "text")


def test_splits_are_fixed_disjoint_and_of_the_stated_size(splits: TextSplits) -> None:
    assert len(splits.test[XED]) == 2500
    assert len(splits.test[GOEMOTIONS]) == 4968
    assert all(row.single for part in (splits.test, splits.validation) for rows in part.values() for row in rows)
    assert splits.test[XED][0].text == FIRST_XED_TEST_LINE
    train = {clean(row.text) for row in splits.train}
    for part in (splits.validation, splits.test):
        for rows in part.values():
            assert not train & {clean(row.text) for row in rows}


def test_scores_against_hand_counts() -> None:
    truth, said = np.array([0, 0, 1, 1]), np.eye(2)[[0, 1, 1, 1]]
    assert f1_per_class(truth, said) == pytest.approx([2 / 3, 0.8])
    assert macro_f1(truth, said) == pytest.approx((2 / 3 + 0.8) / 2)
    sure = np.tile([0.9, 0.1], (10, 1))
    assert ece(np.array([0] * 9 + [1]), sure) == pytest.approx(0.0)
    assert ece(np.array([0] * 5 + [1] * 5), sure) == pytest.approx(0.4)
    many, answers = truth.repeat(50), said.repeat(50, 0)
    found = bootstrap(lambda rows: accuracy(many[rows], answers[rows]), len(many), rounds=200)
    assert found.low < found.value == 0.75 < found.high


def test_calibration_recovers_a_temperature() -> None:
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 2, (4000, 7))
    truth = np.array([generator.choice(7, p=p) for p in softmax(honest)])
    found = fit({"a": Part(honest * 2, truth)}, np.full(7, 1 / 7))
    assert found.temperature == pytest.approx(2, rel=0.08)
    assert found.validation["a_ece"] < 0.03


def test_prior_strength_helps_a_rare_class() -> None:
    generator = np.random.default_rng(1)
    truth = (generator.random(4000) < 0.05).astype(int)
    prior = np.array([0.95, 0.05, *[1e-3] * 5])
    logits = np.log(np.maximum(prior, 1e-6)) + 1.5 * np.eye(7)[truth] + generator.normal(0, 0.7, (4000, 7))
    found = fit({"a": Part(logits, truth)}, prior)
    assert found.strength > 0
    assert found.validation["a_macro_f1"] > macro_f1(truth, softmax(logits))


def test_augmentation_is_seeded_and_hides_what_tells_files_apart() -> None:
    text = "[PERSON] , go to [LOCATION] now !"
    spelled = [augment(text, np.random.default_rng(seed)) for seed in range(40)]
    assert spelled == [augment(text, np.random.default_rng(seed)) for seed in range(40)]
    assert not any("[" in line for line in spelled)
    assert 8 < sum("," in line for line in spelled) < 32
    assert 2 < sum("!" not in line for line in spelled) < 20
    assert len(set(noise_texts(20, np.random.default_rng(0)))) == 20


def test_batches_cover_every_row_once() -> None:
    ids = [[2, *[5] * (n % 9), 3] for n in range(103)]
    target = np.eye(103, dtype=np.float32)
    seen = np.concatenate([batch.target.argmax(1) for batch in batches(ids, target, 8, 0, np.random.default_rng(0))])
    assert sorted(seen) == list(range(103))


def test_retypesetting_removes_commas_masks_and_spaces() -> None:
    assert retypeset("[PERSON] , don't go ! Please .") == "Alex don't go! Please."


def test_the_spacing_cue_is_learned_and_only_tells_files_apart(splits: TextSplits) -> None:
    share = {
        neutral: np.mean([has_cue(r.text) for r in splits.test[XED] if (r.labels[0] == NEUTRAL) == neutral])
        for neutral in (True, False)
    }
    assert share[True] < 0.02 < 0.7 < share[False]
    cue = SpacingCue(splits.validation[XED])
    flat = np.full((2, 7), 1 / 7)
    told = cue(["Come on !", "Come on!"], flat)
    assert told[0, NEUTRAL] < 0.02 < 0.3 < told[1, NEUTRAL]
    assert not any(has_cue(retypeset(row.text)) for row in splits.test[XED])


@pytest.mark.slow
def test_bars_on_the_whole_test_splits(assets: Path) -> None:
    pytest.importorskip("sklearn")
    result = evaluate_text(assets / "text")
    ours, peer = result["text"], result["peers"]["tfidf_words"]
    assert ours["goemotions_macro_f1"] >= 0.60 > peer["goemotions_macro_f1"]
    assert ours["xed_macro_f1_leak_removed"] >= peer["xed_macro_f1_leak_removed"] + 0.04
    assert ours["xed_macro_f1_leak_used"] >= 0.55
    assert ours["ece"] <= 0.05
