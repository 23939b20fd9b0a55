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
    "fine_f1": "F1 of the 28",
    "lines_by_kind": "Hand-made lines right, by kind",
    "multilingual_by_kind": "With the extra `multilingual`, hand-made lines right by language",
    "strangers_smiling_by_group": "London's others smiling, by group that the set names",
    "strangers_neutral_by_group": "the same, neutral",
}
ROWS: dict[str, dict[str, str]] = {
    "text": {
        "goemotions_macro_f1": "GoEmotions macro-F1, seven",
        "goemotions_accuracy": "GoEmotions accuracy",
        "fine_macro_f1": "GoEmotions 28 labels, macro-F1 (BERT in its paper: 0.46)",
        "xed_macro_f1_leak_removed": "XED macro-F1, typing leak removed",
        "xed_macro_f1_leak_used": "XED macro-F1, leak given to all",
        "goemotions_ece": "calibration error, GoEmotions",
        "xed_ece": "calibration error, XED",
        "dialogue_accuracy": "dialogue (MELD test): accuracy",
        "dialogue_macro_f1": "dialogue: macro-F1",
        "dialogue_ece": "dialogue: calibration error",
        "dialogue_sure_right": "dialogue: right when at least 0.9 sure",
        "dialogue_sure_share": "dialogue: share of lines so sure",
        "valence_r": "EmoBank test: valence, Pearson r",
        "arousal_r": "EmoBank test: arousal, Pearson r",
        "commands_neutral": "commands not trained on, called Neutral",
        "lines_accuracy": "hand-made lines right",
        "foreign_right_or_refused": "lines in es, de, fr, it refused or right, of 20",
        "multilingual_foreign_right": "the same 20 with the extra `multilingual`, right",
        "multilingual_accuracy": "hand-made lines in twelve languages with it, right",
        "ms_per_utterance": "CPU ms an utterance, one thread",
        "bytes": "bytes",
    },
    "fer": {
        "strangers_smiling": "London's others, not picked: smiling recall",
        "strangers_neutral": "London's others: neutral recall",
        "ferplus_accuracy": "FER+ test, not trained on: accuracy",
        "ferplus_uar": "FER+ test: mean recall of the seven",
        "ferplus_ece": "FER+ test: calibration error",
        "ferplus_degraded": "FER+ test, as a bad camera sees it: accuracy",
        "cmu_accuracy": "CMU accuracy, 4 classes, all poses",
        "london_smiling_recall": "London, picked people: smiling recall",
        "london_neutral_recall": "London, picked people: neutral recall",
        "max_correct": "MAX photos right of 5",
        "ece": "calibration error (CMU, London, MAX)",
        "clip_phases": "clip, phases of the top emotion",
        "noise_top": "highest top probability on 400 non-faces",
        "ms_batch8": "CPU ms, batch of 8, one thread",
        "bytes": "bytes",
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
