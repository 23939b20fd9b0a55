"""Is a line English: features, votes, the packed form, and the shipped detector on lines that it has not seen."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from emo_face.evaluation.text.spoken import FOREIGN_FILE, SPOKEN_FILE, read_lines
from emo_face.perception.nano.language import BUCKETS, PRIOR, LanguageDetector, features, share_known
from emo_face.perception.nano.text import TextStudent
from emo_face.runtime.store import open_store

LINES = Path(__file__).parents[3] / "data"


@pytest.fixture(scope="module")
def student() -> TextStudent:
    return TextStudent.from_store(open_store(extra=()))


def detector(**words: int) -> LanguageDetector:
    weights = np.zeros(BUCKETS, np.int8)
    for word, weight in words.items():
        weights[next(features(word))] = weight
    return LanguageDetector(weights, 0.1, 0.0)


def test_words_push_and_the_tag_decides_if_they_do_not() -> None:
    found = detector(the=100, der=-100)
    assert found.known("the") > 0.9 > 0.3 > found.known("der")
    assert found.known("hm", -2.0) < 0.5 < found.known("hm", PRIOR)
    assert found.known("", PRIOR) > 0.5
    assert share_known(0.9) == 1.0
    assert share_known(0.2) == 0.0
    assert 0 < share_known(0.5) < 1


def test_the_packed_form_comes_back_and_damage_is_named() -> None:
    found = detector(the=100)
    again = LanguageDetector.from_text(found.to_text())
    assert again.known("the") == found.known("the")
    for damaged in ("", "1 2", "x 0.0 AAAA", "0.1 nan " + found.to_text().split(" ")[2], found.to_text()[:-40]):
        with pytest.raises(ValueError, match="language"):
            LanguageDetector.from_text(damaged)


def test_twenty_lines_in_four_languages_are_refused(student: TextStudent) -> None:
    rows = read_lines(LINES / FOREIGN_FILE)
    assert len(rows) == 20
    for row in rows:
        reading = student.read(row.text)
        assert reading.quality < 0.3, row.text
        assert reading.probabilities.max() < 0.5, row.text


def test_english_lines_are_read(student: TextStudent) -> None:
    qualities = [student.read(row.text).quality for row in read_lines(LINES / SPOKEN_FILE)]
    assert np.mean(np.array(qualities) > 0.9) > 0.97


@pytest.mark.parametrize("tag", ["de-DE", "german", "fr", "zz"])
def test_a_tag_that_lies_is_not_believed(student: TextStudent, tag: str) -> None:
    assert student.read("I am so happy that you came to see me today", tag).quality > 0.9
    assert student.read("Ich bin so traurig, dass du nicht kommen konntest", "en-GB").quality < 0.3


def test_a_tag_decides_about_a_word_that_several_languages_have(student: TextStudent) -> None:
    assert student.read("no", "es").quality < student.read("no", "en").quality


def test_a_megabyte_is_judged_by_its_beginning(student: TextStudent) -> None:
    started = time.process_time()
    assert student.read("Mir geht es heute gar nicht gut. " * 32_000).quality < 0.3
    assert time.process_time() - started < 0.5
