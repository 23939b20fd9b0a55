"""Writes visemes.json: timed mouth shapes of spoken sentences.

By espeak-ng (GPL, a tool: ``pip install espeakng-loader``). Phoneme to viseme by Meta's table of the fifteen
(developers.meta.com, "Viseme reference"); what it lacks (schwa, h, w, j, ng, flap) is ours.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import espeakng_loader

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
)
VISEME = {
    **dict.fromkeys(("p", "b", "m"), "PP"),
    **dict.fromkeys(("f", "v"), "FF"),
    **dict.fromkeys(("θ", "ð"), "TH"),
    **dict.fromkeys(("t", "d", "ɾ"), "DD"),
    **dict.fromkeys(("k", "ɡ", "g", "ŋ", "h"), "kk"),
    **dict.fromkeys(("tʃ", "dʒ", "ʃ", "ʒ"), "CH"),
    **dict.fromkeys(("s", "z"), "SS"),
    **dict.fromkeys(("n", "l"), "nn"),
    **dict.fromkeys(("r", "ɹ"), "RR"),
    **dict.fromkeys(("ɑ", "a", "æ", "ʌ"), "aa"),
    **dict.fromkeys(("ɛ", "e", "ə", "ɜ", "ɚ"), "E"),
    **dict.fromkeys(("ɪ", "i", "j"), "ih"),
    **dict.fromkeys(("ɔ", "o", "ɒ"), "oh"),
    **dict.fromkeys(("u", "ʊ", "w"), "ou"),
}
TERMINATED, PHONEME, IPA, SYNCHRONOUS, UTF8 = 0, 7, 0x3, 2, 1


class Name(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    """``espeak_EVENT`` of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", Name),
    ]


def viseme(phoneme: str) -> str:
    plain = "".join(c for c in phoneme if c not in "ˈˌːʲ̩̃ʔ")
    return VISEME.get(plain, VISEME.get(plain[:1], "sil")) if plain else "sil"


def main() -> None:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = str(Path(espeakng_loader.get_data_path()).parent).encode()
    assert library.espeak_Initialize(SYNCHRONOUS, 0, data, IPA) > 0
    said: list[tuple[float, str]] = []
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(Event))

    def hear(_: Any, __: int, events: Any) -> int:
        i = 0
        while events[i].type != TERMINATED:
            if events[i].type == PHONEME:
                said.append((events[i].audio / 1000, events[i].id.string.decode("utf-8", "ignore")))
            i += 1
        return 0

    kept = callback(hear)
    library.espeak_SetSynthCallback(kept)
    library.espeak_SetVoiceByName(b"en-us")
    out = []
    for sentence in SENTENCES:
        said.clear()
        text = sentence.encode()
        library.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)
        library.espeak_Synchronize()
        track = [(t, viseme(p)) for t, p in said]
        ends = [t for t, _ in track[1:]] + [track[-1][0] + 0.1]
        spoken = [(t, v) for (t, v), end in zip(track, ends, strict=True) if end > t]
        names, offsets = [v for _, v in spoken], [round(t, 4) for t, _ in spoken]
        out.append({"text": sentence, "names": names, "offsets": offsets, "duration": round(offsets[-1] + 0.1, 4)})
    path = Path(__file__).with_name("visemes.json")
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in out) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
