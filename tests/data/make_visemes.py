"""Writes visemes.json: timed mouth shapes of spoken sentences, as examples/talk makes them with espeak-ng."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "talk"))
from voice import Espeak, track

SENTENCES = (
    "Maybe Bob can bring my big umbrella back by bus.",
    "Pepper and Baymax both remember my mother's number.",
    "Please put the map of Bremen beside the blue lamp.",
    "My boss promised a public apology, but he simply mumbled.",
    "Bambi jumped over the bumpy bump and hurt his paw.",
    "I am sorry that your grandmother is in the hospital.",
    "Many people hope to become members of the chamber.",
    "The baby's pink pyjamas came from a shop in Bombay.",
    "Mom baked apple pie and brought marmalade to the party.",
    "Five of us will have to leave before the festival.",
    "What a beautiful morning! Do you want to come for a walk?",
    "Pam's puppy bit Peter's arm because he pulled its paw.",
    "My problem is that nobody remembers whose umbrella this might be.",
    "Mr. Palmer bumped his lip, but the lump is tiny.",
)


def main() -> None:
    voice = Espeak(pace=175)
    rows = []
    for sentence in SENTENCES:
        spoken = voice.say(sentence)
        shapes = track(spoken)
        names, offsets = [name for _, name in shapes], [round(start, 4) for start, _ in shapes]
        rows.append({"text": sentence, "names": names, "offsets": offsets, "duration": round(spoken.duration, 4)})
    path = Path(__file__).with_name("visemes.json")
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
