"""The small text-only ContextFace beside its untuned backbone and the speech student: words on three test sets.

    python benchmarks/contextface_words.py --data DATA [--limit 2000] [--untuned 500] [--keep words.npz]

DATA: the folder of `emo-face evaluate nano` (goemotions_ekman/, xed/, meld/). Every model is asked for the speaker's
emotion of the line alone. One row per model: macro-F1 and accuracy with 95 % intervals, calibration error, and the
difference to the tuned model on the same lines (paired bootstrap). What is tuned or fitted used no test row.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.configs import from_dict
from emo_face.core.labels import basic7
from emo_face.core.numeric import softmax
from emo_face.core.types import FloatArray
from emo_face.datasets.text import GOEMOTIONS, read_splits
from emo_face.evaluation.metrics.calibration import ece
from emo_face.evaluation.metrics.intervals import bootstrap
from emo_face.evaluation.metrics.single_label import accuracy, macro_f1
from emo_face.evaluation.text.main import read_talk
from emo_face.evaluation.text.spoken import SPOKEN_FILE, lines_folder, read_lines
from emo_face.expression.contextface.checkpoint import read_card
from emo_face.expression.contextface.conditions import CONDITIONS
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.prompts import label_of, words
from emo_face.perception.nano.text import TextStudent
from emo_face.runtime.progress import track
from emo_face.runtime.weights import model_folder

TOGETHER = 8
"""Lines a forward pass."""
SAVED = 10
"""Passes after which they are kept."""


def log_probs(engine: Any, lines: Sequence[str], faced: bool) -> FloatArray:
    """(n, 7) of whole endings, several lines at once; without ``<FACE>`` for a model that never learned it."""
    onepass = engine.onepass
    asked = [onepass.asked(line, "") for line in lines]
    said = asked if faced else [one._replace(branches=[end[:-1] for end in one.branches]) for one in asked]
    return np.stack([answer.log_probs for answer in onepass.several(said)])


class Kept:
    """Log-probabilities by set and model, in the order of the lines; a run that was stopped goes on."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: dict[str, FloatArray] = dict(np.load(path)) if path and path.is_file() else {}

    def of(self, key: str, lines: Sequence[str], make: Callable[[Sequence[str]], FloatArray]) -> FloatArray:
        """(n, 7), what is missing made eight lines at a time."""
        done = len(self._rows.get(key, ()))
        for number, start in enumerate(track(range(done, len(lines), TOGETHER), key), 1):
            made = make(lines[start : start + TOGETHER])
            self._rows[key] = np.concatenate([self._rows[key], made]) if key in self._rows else made
            if self._path and (number % SAVED == 0 or start + TOGETHER >= len(lines)):
                np.savez_compressed(self._path, **self._rows)
        return self._rows[key][: len(lines)]


def in_basic7(probabilities: FloatArray) -> FloatArray:
    """Columns of the answers' words as those of basic7."""
    result = np.zeros((len(probabilities), 7))
    for column, word in enumerate(words()):
        result[:, basic7().index(label_of(word))] = probabilities[:, column]
    return result


def answers(model: str, faced: bool, logs: FloatArray) -> FloatArray:
    """(n, 7) in the order of basic7: calibrated as the robot's backend does, or of the bare backbone as it comes."""
    if not faced:
        return in_basic7(softmax(logs))
    config = from_dict(ContextFaceConfig, read_card(model_folder(model))["config"], str(model))
    return in_basic7(np.stack([config.probabilities(row, CONDITIONS["quote"]) for row in logs]))


def tuned(model: str) -> Any:
    """The engine of a trained folder, or of one that ships."""
    from emo_face.expression.contextface.engine import EngineSettings, load_engine

    return load_engine(EngineSettings(Path(model)))


def untuned(model: str) -> Any:
    """One of the same form around the model's backbone, with nothing learned."""
    from emo_face.expression.contextface import checkpoint
    from emo_face.expression.contextface.engine import Engine
    from emo_face.expression.contextface.model import build_model, merged
    from emo_face.expression.contextface.tokens import TokenBuilder
    from emo_face.expression.contextface.vision import NoEyes

    card = read_card(model_folder(model))
    config = from_dict(ContextFaceConfig, card["config"], str(model))
    tokenizer, _ = checkpoint.load_tools(card["backbone"])
    bare = merged(build_model(checkpoint.load_backbone(card["backbone"]), tokenizer, config))
    builder = TokenBuilder(tokenizer, "llama", bare.image_id, 0, config.chat, config.system)
    return Engine(bare, builder, NoEyes())


def sets(data: Path) -> dict[str, tuple[list[str], Any]]:
    """Test set -> (lines, right labels as a (n, 7) mask)."""
    rows = {"goemotions": read_splits(data).test[GOEMOTIONS], "dialogue": read_talk(data)}
    made = read_lines(folder / SPOKEN_FILE) if (folder := lines_folder()) else []
    found = {}
    for name, part in {**rows, "ours": made}.items():
        if part:
            right = np.stack([np.isin(np.arange(7), row.labels) for row in part])
            found[name] = ([row.text for row in part], right)
    return found


def scores(right: Any, probabilities: FloatArray, seed: int = 0) -> dict[str, Any]:
    """Macro-F1, accuracy, their intervals and the calibration error; a line with several right labels counts by any."""
    truth = np.where(right[np.arange(len(right)), probabilities.argmax(1)], probabilities.argmax(1), right.argmax(1))
    f1 = bootstrap(lambda rows: macro_f1(truth[rows], probabilities[rows]), len(truth))
    share = bootstrap(lambda rows: accuracy(truth[rows], probabilities[rows]), len(truth))
    result = {"n": len(truth), "ece": round(ece(truth, probabilities), 4), "ece_if_true": if_true(probabilities, seed)}
    for name, metric, interval in (("macro_f1", macro_f1, f1), ("accuracy", accuracy, share)):
        result[name] = [round(float(v), 4) for v in (metric(truth, probabilities), interval.low, interval.high)]
    return result


def if_true(probabilities: FloatArray, seed: int, rounds: int = 200) -> list[float]:
    """Calibration error of as many lines if these probabilities were true: its mean and what 95 % stay below."""
    rng = np.random.default_rng(seed)
    drawn = [(probabilities.cumsum(1) > rng.random((len(probabilities), 1))).argmax(1) for _ in range(rounds)]
    found = [ece(truth, probabilities) for truth in drawn]
    return [round(float(v), 4) for v in (np.mean(found), np.quantile(found, 0.95))]


def paired(right: Any, ours: FloatArray, theirs: FloatArray) -> dict[str, list[float]]:
    """Ours minus theirs on the same lines: macro-F1 and accuracy with 95 % intervals."""
    truths = [np.where(right[np.arange(len(right)), p.argmax(1)], p.argmax(1), right.argmax(1)) for p in (ours, theirs)]
    found = {}
    for name, metric in (("macro_f1", macro_f1), ("accuracy", accuracy)):

        def gain(rows: Any, metric: Any = metric) -> float:
            return float(metric(truths[0][rows], ours[rows]) - metric(truths[1][rows], theirs[rows]))

        interval = bootstrap(gain, len(right))
        found[name] = [round(float(v), 4) for v in (gain(np.arange(len(right))), interval.low, interval.high)]
    return found


def main() -> None:
    """Ask, score, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2_face")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=0, help="only so many random lines of a set (default all)")
    parser.add_argument("--untuned", type=int, default=0, help="and for the backbone only so many of these")
    parser.add_argument("--sets", default="goemotions,dialogue,ours")
    parser.add_argument("--models", default="tuned,untuned,student")
    parser.add_argument(
        "--keep", type=Path, help="log-probabilities that were computed before, and where to keep them (.npz)"
    )
    args = parser.parse_args()
    kept = Kept(args.keep)
    makers = {"tuned": cache(lambda: tuned(args.model)), "untuned": cache(lambda: untuned(args.model))}
    student = TextStudent.from_store()
    table: dict[str, Any] = {}
    for name, (lines, right) in sets(args.data).items():
        if name not in args.sets.split(","):
            continue
        row, said = table.setdefault(name, {}), {}
        some = np.random.default_rng(0).permutation(len(lines))[: args.limit or len(lines)]
        for model in args.models.split(","):
            rows = some[: args.untuned or len(some)] if model == "untuned" else some
            asked = [lines[i] for i in rows]
            if model == "student":
                said[model] = np.asarray(student.probabilities(asked), float)
            else:
                faced = model == "tuned"

                def make(part: Sequence[str], model: str = model, faced: bool = faced) -> FloatArray:
                    return log_probs(makers[model](), part, faced)

                said[model] = answers(args.model, faced, kept.of(f"{name}/{model}", asked, make))
            row[model] = scores(right[rows], said[model])
            if model != "tuned" and "tuned" in said:
                row[model]["tuned_minus_this"] = paired(right[rows], said["tuned"][: len(rows)], said[model])
            print(name, model, json.dumps(row[model]), file=sys.stderr, flush=True)
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
