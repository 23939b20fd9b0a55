"""Scores of the speech student on the held-out splits, beside TF-IDF + logistic regression peers.

Keys of a model's figures: ``goemotions_macro_f1``, ``xed_macro_f1`` (lines as they stand in the corpus), ``ece`` (the
worse of the two corpora), ``ms_per_utterance`` (median CPU time of one thread, tokenising included), ``bytes``; then
95 % bootstrap intervals, accuracy, ECE and class F1 of each corpus, and two readings of XED's typing leak
(:mod:`emo_face.evaluation.text.leak`): ``xed_macro_f1_leak_removed``, the figure to believe, and
``xed_macro_f1_leak_used``, to compare with models that see spelling.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.install import how_to_install
from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray, IntArray
from emo_face.datasets.text import GOEMOTIONS, XED, TextRow, TextSplits, read_splits, retypeset
from emo_face.datasets.text_conversation import (
    COMMANDS,
    EMOBANK,
    GOEMOTIONS_28_FOLDER,
    MELD,
    MELD_FILE,
    read_commands,
    read_emobank,
    read_goemotions_28,
    read_meld,
)
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.intervals import Rows, bootstrap
from emo_face.evaluation.metrics.single_label import accuracy, f1_per_class, macro_f1
from emo_face.evaluation.metrics.timing import cpu_milliseconds
from emo_face.evaluation.text.leak import SpacingCue
from emo_face.evaluation.text.peer import PEERS, TfidfPeer
from emo_face.evaluation.text.spoken import (
    FOREIGN_FILE,
    MULTILINGUAL_FILE,
    SPOKEN_FILE,
    always,
    dialogue,
    foreign,
    hand_made,
    lines_folder,
    read_lines,
)
from emo_face.perception.nano.readers import open_readers
from emo_face.perception.nano.text import TextStudent
from emo_face.runtime.store import open_store

TIMED_UTTERANCES = 300
COMMAND_ROWS = 1500
CALM_ROWS = 5000
"""Commands that a peer learns from: as many as the student sees in an epoch."""

Predict = Callable[[Sequence[str], str], FloatArray]
"""(texts, corpus) -> (n, 7) probabilities. Only the peers, which have one model per corpus, look at the corpus."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model said about one test split: truth (n,), probabilities (n, 7)."""

    truth: IntArray
    probabilities: FloatArray


def evaluate_text(data: Path, model: Path | None = None, peers: bool = True) -> dict[str, Any]:
    """Score the speech student and its peers.

    Args:
        data: folder with ``goemotions_ekman/`` and ``xed/``.
        model: ONNX file of the student; None takes the store's.
        peers: also train and score the peers (about a minute; needs scikit-learn).

    Returns:
        ``{"text": figures, "peers": {name: figures}, "predictions": {"text"|name: {corpus: Predictions}}}``; all of
        it but ``predictions`` goes into JSON as it is.

    Raises:
        UserError: data are missing or damaged, or scikit-learn is not installed. ModelError: the student does not load.
    """
    splits = read_splits(data)
    student = TextStudent(model) if model else TextStudent.from_store()

    def ours(texts: Sequence[str], _: str) -> FloatArray:
        return student.probabilities(texts)

    said = predictions(splits, ours)
    result: dict[str, Any] = {"text": figures(said, splits, ours, student.path.stat().st_size)}
    result["text"] |= without_data(student)
    result["peers"], result["predictions"] = {}, {"text": said}
    further, skipped = further_figures(student, data)
    result["text"] |= {**further, "skipped": [*result["text"]["skipped"], *skipped]}
    talk = read_talk(data)
    if peers:
        for name, pattern in PEERS.items():
            peer = TfidfPeer(splits.train, pattern)
            said = predictions(splits, peer.probabilities)
            result["peers"][name] = figures(said, splits, peer.probabilities, peer.bytes)
            result["predictions"][name] = said
        if talk:
            result["peers"] |= dialogue_peers(splits, data, talk)
    return result


def without_data(student: TextStudent) -> dict[str, Any]:
    """Figures that need no corpus: the hand-made lines by kind, those in other languages, and what was skipped."""
    folder = lines_folder()
    if folder is None:
        return {"skipped": [f"hand-made lines: no tests/data/{SPOKEN_FILE} beside this installation"]}
    strangers = read_lines(folder / FOREIGN_FILE)
    found = {**hand_made(student.read, read_lines(folder / SPOKEN_FILE)), **foreign(student.read, strangers)}
    readers, _ = open_readers(open_store())
    if len(readers.students) == 1:
        return {**found, "skipped": [f"other languages: no sentence encoder: {how_to_install('multilingual')}"]}
    several = hand_made(readers.read, read_lines(folder / MULTILINGUAL_FILE))
    named = {key.replace("lines", "multilingual", 1): value for key, value in several.items()}
    both = {f"multilingual_{key}": value for key, value in foreign(readers.read, strangers).items()}
    return {**found, **named, **both, "skipped": []}


def read_talk(data: Path) -> list[TextRow]:
    """The dialogue test, which is trained on nowhere: MELD's; empty if it is not in ``data``."""
    path = data / MELD / MELD_FILE
    return read_meld(path) if path.is_file() else []


def further_figures(student: TextStudent, data: Path) -> tuple[dict[str, Any], list[str]]:
    """Dialogue, 28 labels, valence and arousal, commands; and a sentence for each that lacks its data."""
    out: dict[str, Any] = {}
    skipped = []
    if talk := read_talk(data):
        truth = np.array([row.labels[0] for row in talk])
        out |= dialogue(truth, student.probabilities([row.text for row in talk]))
        out["dialogue_lines"] = len(talk)
    else:
        skipped.append(f"dialogue: no {MELD}/{MELD_FILE} in {data} (data/MELD/{MELD_FILE} of declare-lab/MELD)")
    if (data / GOEMOTIONS_28_FOLDER).is_dir():
        texts, real = read_goemotions_28(data / GOEMOTIONS_28_FOLDER, "test")
        active = np.stack([student.read(text).emotions for text in texts]) >= student.thresholds
        f1 = 2 * (active & (real > 0)).sum(0) / np.maximum(active.sum(0) + real.sum(0), 1)
        out["fine_macro_f1"] = round(float(f1.mean()), 4)
        out["fine_f1"] = dict(zip(student.fine.labels, np.round(f1, 3).tolist(), strict=True))
    else:
        skipped.append(f"28 labels: no {GOEMOTIONS_28_FOLDER}/ in {data}")
    if (data / EMOBANK / "emobank.csv").is_file():
        rows = [row for row in read_emobank(data / EMOBANK / "emobank.csv") if row.split == "test"]
        said = [student.read(row.text) for row in rows]
        for name in ("valence", "arousal"):
            pair = [[getattr(one, name) for one in part] for part in (said, rows)]
            out[f"{name}_r"] = round(float(np.corrcoef(pair)[0, 1]), 4)
    else:
        skipped.append(f"valence and arousal: no {EMOBANK}/emobank.csv in {data}")
    if (data / COMMANDS).is_dir():
        held_out = read_commands(data / COMMANDS, held_out=True)[:COMMAND_ROWS]
        said_top = student.probabilities([row.text for row in held_out]).argmax(1)
        out["commands_neutral"] = round(float((said_top == basic7().index("Neutral")).mean()), 4)
    else:
        skipped.append(f"commands: no {COMMANDS}/ in {data}")
    return out, skipped


def dialogue_peers(splits: TextSplits, data: Path, talk: Sequence[TextRow]) -> dict[str, dict[str, Any]]:
    """Always Neutral, and TF-IDF on all that the student's seven labels learn from, balanced and as it is."""
    truth = np.array([row.labels[0] for row in talk])
    texts = [row.text for row in talk]
    calm = read_commands(data / COMMANDS) if (data / COMMANDS).is_dir() else []
    rows = [replace(row, source=MELD) for row in (*splits.train, *calm[:CALM_ROWS])]
    out: dict[str, dict[str, Any]] = {"always_neutral": always("Neutral", truth)}
    for balanced in (True, False):
        peer = TfidfPeer(rows, PEERS["tfidf_words"], balanced)
        name = "tfidf_dialogue" if balanced else "tfidf_dialogue_unbalanced"
        out[name] = {**dialogue(truth, peer.probabilities(texts, MELD)), "bytes": peer.bytes}
    return out


def predictions(splits: TextSplits, predict: Predict) -> dict[str, Predictions]:
    """Run a model over both test splits."""
    return {source: _predict(rows, source, predict) for source, rows in splits.test.items()}


def figures(said: Mapping[str, Predictions], splits: TextSplits, predict: Predict, size: int) -> dict[str, Any]:
    """All figures of one model of ``size`` bytes."""
    out: dict[str, Any] = {f"{source}_macro_f1": _macro_f1(part) for source, part in said.items()}
    eces = {source: ece(part.truth, part.probabilities) for source, part in said.items()}
    out["ece"] = round(max(eces.values()), 4)
    out["ms_per_utterance"] = round(_milliseconds(splits, predict), 3)
    out["bytes"] = size
    out.update(_leak(said[XED], splits.test[XED], SpacingCue(splits.validation[XED]), predict))
    for source, part in said.items():
        interval = bootstrap(_macro_f1_of(part), len(part.truth))
        out[f"{source}_macro_f1_ci95"] = [round(interval.low, 4), round(interval.high, 4)]
        out[f"{source}_accuracy"] = round(accuracy(part.truth, part.probabilities), 4)
        out[f"{source}_ece"] = round(eces[source], 4)
        scores = f1_per_class(part.truth, part.probabilities)
        out[f"{source}_f1"] = {name: round(float(v), 3) for name, v in zip(basic7().labels, scores, strict=True)}
    return out


def _leak(part: Predictions, rows: Sequence[TextRow], cue: SpacingCue, predict: Predict) -> dict[str, float]:
    """XED macro-F1 with the typing leak removed from the lines, and with it given to the model."""
    removed = Predictions(part.truth, predict([retypeset(row.text) for row in rows], XED))
    used = Predictions(part.truth, cue([row.text for row in rows], part.probabilities))
    return {"xed_macro_f1_leak_removed": _macro_f1(removed), "xed_macro_f1_leak_used": _macro_f1(used)}


def _macro_f1_of(part: Predictions) -> Callable[[Rows], float]:
    return lambda rows: macro_f1(part.truth[rows], part.probabilities[rows])


def _macro_f1(part: Predictions) -> float:
    return round(macro_f1(part.truth, part.probabilities), 4)


def _predict(rows: Sequence[TextRow], source: str, predict: Predict) -> Predictions:
    truth = np.array([row.labels[0] for row in rows], dtype=np.int64)
    return Predictions(truth, predict([row.text for row in rows], source))


def _milliseconds(splits: TextSplits, predict: Predict) -> float:
    """Median CPU milliseconds of one utterance over the first test rows of GoEmotions, one call each."""
    rows = splits.test[GOEMOTIONS][:TIMED_UTTERANCES]
    return cpu_milliseconds(partial(predict, [row.text], GOEMOTIONS) for row in rows)
