"""The tables of the model cards, as ``emo-face evaluate nano --cards DIR`` writes them between two markers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.runtime.files import write_text

BEGIN = "<!-- written by `emo-face evaluate nano --cards`: do not edit -->"
END = "<!-- end of what it writes -->"
CARDS = {"text": "nano_text.md", "fer": "nano_face.md"}
LISTS = {
    "goemotions_f1": "F1 by class, GoEmotions",
    "xed_f1": "F1 by class, XED",
    "fine_f1": "F1 by class, GoEmotions 28 labels",
    "lines_by_kind": "Hand-made lines, correct by kind",
    "multilingual_by_kind": "Hand-made lines with the extra `multilingual`, correct by language",
    "strangers_smiling_by_group": "London set, people not used in training, smiling recall by ethnic group",
    "strangers_neutral_by_group": "London set, people not used in training, neutral recall by ethnic group",
}
ROWS: dict[str, dict[str, str]] = {
    "text": {
        "goemotions_macro_f1": "GoEmotions, seven labels: macro-F1",
        "goemotions_accuracy": "GoEmotions, seven labels: accuracy",
        "fine_macro_f1": "GoEmotions, 28 labels: macro-F1 (BERT in its paper: 0.46)",
        "xed_macro_f1_leak_removed": "XED: macro-F1, typing leak removed",
        "xed_macro_f1_leak_used": "XED: macro-F1, typing leak available to all models",
        "goemotions_ece": "GoEmotions: calibration error",
        "xed_ece": "XED: calibration error",
        "dialogue_accuracy": "dialogue (MELD test): accuracy",
        "dialogue_macro_f1": "dialogue: macro-F1",
        "dialogue_ece": "dialogue: calibration error",
        "dialogue_sure_right": "dialogue: accuracy on lines with a confidence of at least 0.9",
        "dialogue_sure_share": "dialogue: share of lines with a confidence of at least 0.9",
        "valence_r": "EmoBank test: valence, Pearson r",
        "arousal_r": "EmoBank test: arousal, Pearson r",
        "commands_neutral": "commands not used in training: share called Neutral",
        "lines_accuracy": "hand-made lines: accuracy",
        "foreign_right_or_refused": "20 lines in Spanish, German, French and Italian: refused or correct",
        "multilingual_foreign_right": "the same 20 with the extra `multilingual`: correct",
        "multilingual_accuracy": "hand-made lines in twelve languages with the extra: accuracy",
        "ms_per_utterance": "CPU time per utterance, one thread, ms",
        "bytes": "size, bytes",
    },
    "fer": {
        "strangers_smiling": "London set, people not used in training: smiling recall",
        "strangers_neutral": "London set, people not used in training: neutral recall",
        "ferplus_accuracy": "FER+ test: accuracy",
        "ferplus_uar": "FER+ test: mean recall of the seven labels",
        "ferplus_ece": "FER+ test: calibration error",
        "ferplus_degraded": "FER+ test, degraded as by a bad camera: accuracy",
        "cmu_accuracy": "CMU, 4 classes, all poses: accuracy",
        "london_smiling_recall": "London set, training people, cross-validated: smiling recall",
        "london_neutral_recall": "London set, training people, cross-validated: neutral recall",
        "max_correct": "MAX photos: correct of 5",
        "ece": "CMU, London and MAX: calibration error",
        "clip_phases": "film: top emotion, phase by phase",
        "noise_top": "400 non-faces: highest top probability",
        "ms_batch8": "CPU time for a batch of 8, one thread, ms",
        "bytes": "size, bytes",
    },
}


def write_cards(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the tables of every part in ``result`` (``evaluate nano``'s object) into its card; returns the cards.

    Raises:
        UserError: a card is missing or has no markers; nothing is written then.
    """
    new = {}
    for part, name in CARDS.items():
        if part in result:
            path = folder / name
            new[path] = _placed(path, section(part, result[part], result["peers"]))
    for path, text in new.items():
        write_text(path, text)
    return list(new)


def section(part: str, ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """One table of ours and the peers that have any of its figures, then the figures by class, kind and group."""
    rows = ROWS[part]
    columns = {"ours": ours}
    if seen := ours.get("seen_in_training"):
        columns["as shipped (has seen these people)"] = seen
    columns |= {name: figures for name, figures in peers.items() if rows.keys() & figures.keys() - {"bytes"}}
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for key, title in rows.items():
        if any(key in figures for figures in columns.values()):
            lines.append(f"| {title} | " + " | ".join(_cell(figures, key) for figures in columns.values()) + " |")
    lists = [f"{title}: {_listed(ours[key])}." for key, title in LISTS.items() if ours.get(key)]
    skipped = [f"Not measured by this run: {'; '.join(ours['skipped'])}."] if ours.get("skipped") else []
    return "\n".join([*lines, "", *(line + "\n" for line in (*lists, *skipped))]).rstrip("\n")


def _cell(figures: Mapping[str, Any], key: str) -> str:
    value = figures.get(key)
    text = "" if value is None else _text(value)
    interval = figures.get(f"{key}_ci95")
    return f"{text} [{', '.join(f'{end:.3f}' for end in interval)}]" if interval else text


def _text(value: Any) -> str:
    """A number, a share ``{right, total, wilson95}``, a count ``[right, total, share]`` or a sequence of words."""
    if isinstance(value, Mapping):
        low, high = value["wilson95"]
        return f"{value['right']} of {value['total']} [{low:.2f}, {high:.2f}]"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list | tuple):
        numbers = all(isinstance(item, int | float) for item in value)
        return f"{value[0]} of {value[1]}" if numbers else " → ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {f'{v:.2f}' if isinstance(v, float) else _text(v)}" for name, v in values.items())


def _placed(path: Path, text: str) -> str:
    try:
        card = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"--cards: {path}: {error.strerror}") from None
    if card.count(BEGIN) != 1 or card.count(END) != 1 or card.index(END) < card.index(BEGIN):
        raise UserError(f"--cards: {path}: expected one {BEGIN!r} and one {END!r} behind it, got none")
    before, after = card.split(BEGIN)[0], card.split(END)[1]
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
