"""Readers of what people say to each other and to machines, of GoEmotions' 28 labels, and of valence and arousal.

Topical-Chat: Gopalakrishnan et al., Interspeech 2019 (alexa/Topical-Chat, CDLA-Sharing-1.0): typed conversations; each
message has the feeling that its writer chose. CLINC150: Larson et al., EMNLP 2019 (CC-BY-3.0), and HWU64: Liu et al.,
IWSDS 2019 (CC-BY-4.0): what people ask of assistants and home robots. EmoBank: Buechel & Hahn, EACL 2017
(CC-BY-SA-4.0): valence and arousal 1..5. MELD: Poria et al., ACL 2019 (GPL-3.0), a television series: for tests only.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7, label_set
from emo_face.core.types import FloatArray
from emo_face.datasets.text import EKMAN, TextRow, lines, table_rows
from emo_face.runtime.files import table_of

TOPICAL_CHAT, COMMANDS, EMOBANK, MELD = "topical_chat", "commands", "emobank", "meld"
TOPICAL_CHAT_FILES = ("valid_freq.json", "valid_rare.json", "test_freq.json", "test_rare.json")
MELD_FILE = "test_sent_emo.csv"
GOEMOTIONS_28_FOLDER = "goemotions_28"

CALM = {"Neutral", "Curious to dive deeper"}
"""What Topical-Chat's writers choose for a line without emotion. Their other choices are about the topic as often as
about the line ("I like the original trilogy": Surprised), so those lines are not used."""

TOPICAL_CHAT_FEELINGS = {
    "Angry": "Anger",
    "Disgusted": "Disgust",
    "Fearful": "Fear",
    "Happy": "Happy",
    "Sad": "Sad",
    "Surprised": "Surprise",
}

NOT_NEUTRAL_INTENTS = {
    "oos",
    "greeting",
    "goodbye",
    "thank_you",
    "tell_joke",
    "meaning_of_life",
    "are_you_a_bot",
    "report_fraud",
    "report_lost_card",
    "lost_luggage",
    "damaged_card",
    "card_declined",
    "account_blocked",
    "who_made_you",
    "general_praise",
    "general_quirky",
    "general_joke",
    "general_negate",
    "general_dontcare",
    "general_commandstop",
    "social_post",
    "music_likeness",
    "play_game",
}
"""Intents with lines such as "that's wrong again" or "you are the best": not every one of them is neutral."""


@dataclass(frozen=True, slots=True)
class Affect:
    """A sentence with valence and arousal in [-1, 1] and EmoBank's split (train, dev or test)."""

    text: str
    valence: float
    arousal: float
    split: str


def read_goemotions_28(folder: Path, part: str) -> tuple[list[str], FloatArray]:
    """Texts and (n, 28) multi-hot labels of ``<folder>/<part>.tsv``, in the order of the set ``goemotions28``.

    Raises:
        UserError: a file is missing or a row is damaged; names file, line and value.
    """
    names = [line.strip() for line in lines(folder / "labels.txt")]
    known = label_set("goemotions28").labels
    if tuple(names) != known:
        raise UserError(f"{folder / 'labels.txt'}: expected {', '.join(known)}; got {', '.join(names)}")
    path, texts, rows = folder / f"{part}.tsv", [], []
    for number, fields in table_rows(path, 2):
        row = np.zeros(len(known), np.float32)
        for key in fields[1].split(","):
            if not key.isdigit() or int(key) >= len(known):
                raise UserError(f"{path}:{number}: expected label ids 0..{len(known) - 1}, got {key!r}")
            row[int(key)] = 1.0
        texts.append(fields[0])
        rows.append(row)
    return texts, np.stack(rows)


def read_topical_chat(folder: Path) -> list[TextRow]:
    """Neutral lines of Topical-Chat's four labelled files: messages whose writer chose a calm label, once each.

    Raises:
        UserError: a file is missing or is not Topical-Chat's structure.
    """
    return _messages(folder, dict.fromkeys(CALM, "Neutral"))


def read_topical_chat_feelings(folder: Path) -> list[TextRow]:
    """The other lines, each with the feeling that its writer chose. Raises UserError as :func:`read_topical_chat`."""
    return _messages(folder, TOPICAL_CHAT_FEELINGS)


def _messages(folder: Path, label_of: Mapping[str, str]) -> list[TextRow]:
    """Messages whose writer's choice is in ``label_of``, once each."""
    rows: dict[str, TextRow] = {}
    for name in TOPICAL_CHAT_FILES:
        path = folder / name
        try:
            conversations = json.loads(path.read_text(encoding="utf-8"))
            turns = [turn for talk in conversations.values() for turn in talk["content"]]
            chosen = [(str(turn["message"]).strip(), label_of.get(turn["sentiment"])) for turn in turns]
        except OSError:
            raise UserError(f"{path} not found: copy conversations/{name} of alexa/Topical-Chat there") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: not a file of Topical-Chat's conversations: {error!r}") from None
        for text, label in chosen:
            if text and label is not None:
                rows.setdefault(text, TextRow(text, (basic7().index(label),), TOPICAL_CHAT, True))
    return list(rows.values())


def read_commands(folder: Path, held_out: bool = False) -> list[TextRow]:
    """Neutral commands and questions, without intents that are often felt.

    Args:
        held_out: CLINC150's validation and test lines instead of its training lines and HWU64.
    """
    neutral = basic7().index("Neutral")
    rows, seen = [], set()
    for name, intent_column, least in (("clinc150.tsv", 1, 3), ("hwu64_home_robot.tsv", 0, 2)):
        for _, fields in table_rows(folder / name, least):
            part_held_out = least == 3 and fields[0] != "train"
            text = fields[-1].strip()
            if part_held_out != held_out or fields[intent_column] in NOT_NEUTRAL_INTENTS or text.lower() in seen:
                continue
            seen.add(text.lower())
            rows.append(TextRow(text, (neutral,), COMMANDS, True))
    return rows


def read_emobank(path: Path) -> list[Affect]:
    """EmoBank's sentences; its 1..5 become -1..1. Raises UserError naming the file, and the line of a bad cell."""
    try:
        table = table_of(path)
    except OSError:
        raise UserError(f"{path} not found: copy corpus/emobank.csv of JULIELab/EmoBank there") from None
    rows = []
    for number, row in enumerate(table, 2):
        try:
            valence, arousal = (float(row[key]) / 2 - 1.5 for key in ("V", "A"))
            rows.append(Affect(row["text"], valence, arousal, row["split"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}:{number}: expected columns id,split,V,A,D,text with numbers: {error!r}") from None
    return rows


def read_meld(path: Path) -> list[TextRow]:
    """MELD's test utterances. If its marks were saved in Windows-1252, they are read as what was meant.

    Raises:
        UserError: the file is missing, or a label is unknown.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="cp1252", errors="replace")
    except OSError:
        raise UserError(f"{path} not found: copy data/MELD/{MELD_FILE} of declare-lab/MELD there") from None
    rows = []
    for number, row in enumerate(csv.DictReader(text.splitlines()), 2):
        label = EKMAN.get(str(row.get("Emotion")))
        if label is None:
            raise UserError(f"{path}:{number}: unknown emotion {row.get('Emotion')!r}")
        rows.append(TextRow(str(row["Utterance"]), (basic7().index(label),), MELD, True))
    return rows
