"""``emo-face evaluate nano``: what it puts together and what it draws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.core.paths import share_dir
from emo_face.evaluation import cards, nano
from emo_face.evaluation.text.main import Predictions


def test_report_has_one_picture_a_model_and_data_set(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    said = Predictions(rng.integers(0, 7, 50), rng.dirichlet(np.ones(7), 50))
    predictions = {"text": {"text": {"goemotions": said, "xed": said}, "tfidf": {"xed": said}}}
    result = {"text": {"ece": 0.03}, "peers": {"tfidf": {"ece": 0.2}}}
    files = nano.report(result, predictions, tmp_path)
    assert {f.name for f in files} == {"nano_text_goemotions.png", "nano_text_xed.png", "tfidf_xed.png", "nano.html"}
    page = (tmp_path / "nano.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "text.ece" in page


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected one with text/ and images/"):
        nano.evaluate(tmp_path / "nowhere")


def test_without_data_it_measures_what_needs_none_and_says_what_it_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "nano", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["text"]["lines"] >= 200
    assert 0.7 < said["text"]["lines_accuracy"] <= 1.0
    assert said["text"]["foreign_right_or_refused"] == said["text"]["foreign_lines"] == 20
    assert said["text"]["bytes"] > 1_000_000
    *skipped, last = said["text"]["skipped"]
    assert last == "all figures on corpora: no --data"
    assert ("multilingual" in said["text"]) != any("multilingual" in reason for reason in skipped)  # what installs it
    assert said["fer"]["skipped"] == ["the shipped file, peers and strangers on pictures: no --data"]
    assert said["fer"]["cmu_accuracy"] == pytest.approx(0.42, abs=0.01)  # of the folds, as the card says
    assert said["fer"]["noise_top"] < 0.5
    assert said["fusion"]["trained"]["scenarios"]["strong_words_still_face_active"] >= 0.8


FIGURES = {
    "text": {
        "goemotions_macro_f1": 0.61234,
        "goemotions_macro_f1_ci95": [0.6, 0.63],
        "bytes": 23255547,
        "goemotions_f1": {"Anger": 0.5, "Fear": 0.6},
        "lines_by_kind": {"typo": [16, 18, 0.889]},
        "skipped": ["dialogue: no meld/test_sent_emo.csv in here"],
    },
    "fer": {
        "strangers_smiling": {"right": 30, "total": 39, "share": 0.7692, "wilson95": [0.617, 0.874]},
        "cmu_accuracy": 0.462,
        "clip_phases": ["Sad", "Happy"],
        "seen_in_training": {"cmu_accuracy": 0.508},
        "skipped": [],
    },
    "peers": {"tfidf_words": {"goemotions_macro_f1": 0.574, "bytes": 3}, "face-api": {"cmu_accuracy": 0.428}},
}


def test_the_cards_tables_are_written_between_their_markers(tmp_path: Path) -> None:
    for name in cards.CARDS.values():
        (tmp_path / name).write_text(f"# Card\n\n{cards.BEGIN}\nold\n{cards.END}\n\n## After\n")
    cards.write_cards(FIGURES, tmp_path)
    text, face = ((tmp_path / name).read_text() for name in cards.CARDS.values())
    assert "| GoEmotions, seven labels: macro-F1 | 0.612 [0.600, 0.630] | 0.574 |" in text
    assert "| size, bytes | 23,255,547 | 3 |" in text
    assert "F1 by class, GoEmotions: Anger 0.50, Fear 0.60." in text
    assert "by kind: typo 16 of 18." in text
    assert "Not measured by this run: dialogue" in text
    assert "| 30 of 39 [0.62, 0.87] |" in face
    assert "| CMU, 4 classes, all poses: accuracy | 0.462 | 0.508 | 0.428 |" in face
    assert "Sad → Happy" in face
    assert text.startswith("# Card")
    assert text.endswith("## After\n")
    assert "old" not in text
    before = face
    cards.write_cards(FIGURES, tmp_path)
    assert (tmp_path / cards.CARDS["fer"]).read_text() == before


def test_a_card_without_markers_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    for name in cards.CARDS.values():
        (tmp_path / name).write_text(f"{cards.BEGIN}\n{cards.END}\n")
    (tmp_path / cards.CARDS["fer"]).write_text("# Card")
    with pytest.raises(UserError, match=r"nano_face\.md: expected one"):
        cards.write_cards(FIGURES, tmp_path)
    assert (tmp_path / cards.CARDS["text"]).read_text() == f"{cards.BEGIN}\n{cards.END}\n"


def test_the_shipped_cards_have_their_markers() -> None:
    for name in cards.CARDS.values():
        card = (share_dir() / "models" / name).read_text()
        assert card.count(cards.BEGIN) == card.count(cards.END) == 1
