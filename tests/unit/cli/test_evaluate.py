"""``emo-face evaluate nano``: what it puts together and what it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_face.core.errors import UserError
from emo_face.evaluation import nano
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
