"""Label sets: the colours that pictures, plots and pages share."""

from __future__ import annotations

import re

from emo_face.core.labels import basic7, label_colour, label_set


def test_every_basic_emotion_has_a_colour_of_its_own() -> None:
    colours = [label_colour(label) for label in basic7().labels]
    assert len(set(colours)) == 7
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)


def test_other_sets_use_the_same_colours_and_one_for_the_rest() -> None:
    heco = {label: label_colour(label) for label in label_set("heco8").labels}
    assert heco["Happiness"] == label_colour("Happy")
    assert heco["Sadness"] == label_colour("Sad")
    assert heco["Peace"] == heco["Excitement"] == label_colour("no such label")
