"""Text on pictures: what OpenCV's fonts cannot show is shown by what is nearest."""

import numpy as np

from emo_face.perception.lettering import ascii_text, width_of, write


def test_quotes_and_accents_of_recognisers_stay_readable() -> None:
    assert ascii_text("\u201cI can\u2019t \u2026 na\u00efve \u2013 \u732b\u201d") == '"I can\'t ... naive - ?"'


def test_a_line_is_as_wide_as_it_says() -> None:
    picture = np.zeros((60, 400, 3), np.uint8)
    write(picture, "na\u00efve", (10, 40), (255, 255, 255), 0.6, (30, 30, 30), 3)
    columns = np.flatnonzero((picture > 128).any(axis=(0, 2)))
    assert 10 <= columns[0] < columns[-1] <= 12 + width_of("na\u00efve", 0.6)
