"""A recipe as a list of commands: each step is an ``emo-face`` command that a user could type."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_face.perception.multiview import checkpoint, head_file
from emo_face.perception.multiview.export_manifest import FILE
from emo_face.runtime.files import write_json
from emo_face.runtime.store import sha256_of
from emo_face.training.common.arguments import words_of
from emo_face.training.multiview.config import Stage1Config
from emo_face.training.multiview.recipe import MultiViewRecipe

VERSION = 1
"""Of what the steps do; another one runs every step anew."""
DERIVED = ("kind", "image_size", "instruction_ids", "mean", "std", "resample")
FOLDER = "steps"


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        words: what decides the result. how: flags that do not (device, workers).
        inputs, outputs: files; a folder counts by its card. always: nothing tells whether its source changed.
    """

    name: str
    words: tuple[str, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    how: tuple[str, ...] = ()
    always: bool = False

    @property
    def command(self) -> list[str]:
        """The words after ``emo-face``."""
        return [*self.words, *self.how]

    def key(self) -> str:
        """What the outputs depend on. Raises FileNotFoundError if an input is not there yet."""
        content = [VERSION, self.words, [sha256_of(path) for path in self.inputs]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class Journal:
    """Which steps are done: a file per step, written once its outputs are whole."""

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER

    def done(self, step: Step) -> bool:
        """Whether the outputs are there, unchanged, and made from these inputs by these words."""
        if step.always:
            return False
        try:
            content = json.loads((self.folder / f"{step.name}.json").read_text(encoding="utf-8"))
            return bool(content["key"] == step.key() and content["outputs"] == _hashes(step.outputs))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def finished(self, step: Step, seconds: float) -> None:
        """Note a step. Raises FileNotFoundError if an output is missing."""
        content = {"key": step.key(), "outputs": _hashes(step.outputs), "seconds": seconds, "command": step.command}
        write_json(self.folder / f"{step.name}.json", content)


def _hashes(paths: Sequence[Path]) -> dict[str, str]:
    return {str(path): sha256_of(path) for path in paths}


def plan(recipe: MultiViewRecipe) -> list[Step]:
    """The steps in their order."""
    out = Path(recipe.run.out)
    records = out / "records.jsonl"
    steps = [_convert(recipe, records)]
    for wanted, make in ((recipe.boxes.find, _boxes), (bool(recipe.texts.tasks), _texts)):
        if wanted:
            steps.append(make(recipe, records, out))
            records = steps[-1].outputs[0]
    later: list[Callable[[MultiViewRecipe, Path, Path], Step]] = [_cache, _stage2, _report]
    later[:0] = [_corpus, _stage1] if recipe.encoder.tuned_on_corpus else [_adapt]
    if recipe.export.write:
        later.append(_export)
    return [*steps, *(make(recipe, records, out) for make in later)]


def _convert(recipe: MultiViewRecipe, to: Path) -> Step:
    data = recipe.data
    words = ["data", "convert", "--set", data.set, "--root", data.root, "--split", data.split]
    return Step("records", (*words, "--seed", str(data.seed), "--to", str(to)), (), (to,), always=True)


def _boxes(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    to = out / "boxed.jsonl"
    words = ("data", "boxes", "--records", str(records), "--images", str(recipe.images), "--to", str(to))
    return Step("boxes", words, (records,), (to,), _shards(recipe))


def _texts(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    texts, to = recipe.texts, out / "told.jsonl"
    words = ["annotate", "multiview", "--records", str(records), "--root", str(recipe.images), "--out", str(to)]
    words += ["--tasks", ",".join(texts.tasks), "--provider", texts.provider, "--model", texts.model]
    words += ["--temperature", str(texts.temperature), "--tries", str(texts.tries), "--least", str(texts.least)]
    given = {"--endpoint": texts.endpoint, "--cache": texts.cache}
    words += [word for flag, value in given.items() if value for word in (flag, value)]
    words += ["--boxed-only"] if texts.boxed_only else []
    money = {"--price-in": texts.price_in, "--price-out": texts.price_out, "--budget": texts.budget}
    how = {"--key-env": texts.key_env, **{flag: str(value) for flag, value in money.items() if value > 0}}
    flags = tuple(word for flag, value in how.items() if value for word in (flag, value))
    return Step("texts", tuple(words), (records,), (to,), (*flags, *_device(recipe)))


def _corpus(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    corpus, to = recipe.corpus, out / "corpus.jsonl"
    words = ["data", "qa", "--records", str(records), "--to", str(to), "--tasks", ",".join(corpus.tasks)]
    words += ["--reading", corpus.reading, "--seed", str(corpus.seed), "--other-share", str(corpus.other_share)]
    return Step("corpus", (*words, *(() if corpus.balance else ("--no-balance",))), (records,), (to,))


def _stage1(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    corpus, to = out / "corpus.jsonl", out / "stage1"
    words = ["train", "multiview", "stage1", *_base(recipe), "--corpus", str(corpus), "--out", str(to)]
    words += [*words_of(recipe.encoder, DERIVED), *words_of(recipe.stage1), *_dtype(recipe)]
    how = _device(recipe)
    return Step("stage1", tuple(words), (corpus, _config(recipe)), (to / "best" / checkpoint.CARD,), how)


def _adapt(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    to = out / "stage1"
    words = ["train", "multiview", "adapt", *_base(recipe), "--records", str(records), "--out", str(to)]
    encoder = words_of(recipe.encoder, (*DERIVED, "qformer_sharing", "train", "feature", "instruction"))
    words += [*encoder, *words_of(recipe.stage1, Stage1Config.OF_TEXT), *_dtype(recipe)]
    outputs = (to / "best" / checkpoint.CARD,)
    return Step("adapt", tuple(words), (records, _config(recipe)), outputs, _device(recipe))


def _cache(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    from emo_face.datasets.features import INDEX

    encoder, to = out / "stage1" / "best", out / "features"
    words = ["train", "multiview", "cache", *_base(recipe), "--records", str(records), "--encoder", str(encoder)]
    how = ("--batch-size", str(recipe.cache.batch_size), *_device(recipe), *_shards(recipe))
    inputs = (records, encoder / checkpoint.CARD)
    return Step("cache", (*words, "--out", str(to), *_dtype(recipe)), inputs, (to / INDEX,), how)


def _stage2(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    from emo_face.datasets.features import INDEX

    features, encoder, to = out / "features", out / "stage1" / "best", out / "model"
    words = ["train", "multiview", "stage2", "--records", str(records), "--cache", str(features)]
    words += ["--encoder", str(encoder), "--out", str(to)]
    words += [*words_of(recipe.head, ("label_set", "views", "in_features")), *words_of(recipe.stage2)]
    outputs = (to / head_file.CARD, to / head_file.WEIGHTS, to / checkpoint.CARD, to / checkpoint.WEIGHTS)
    return Step("stage2", tuple(words), (records, features / INDEX), outputs)


def _report(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    report, to = recipe.report, out / "report"
    words = ["evaluate", "multiview", "--records", str(records), "--cache", str(out / "features")]
    words += ["--model", str(out / "model"), "--out", str(to), "--split", report.split, "--ap-mode", report.ap_mode]
    words += ["--rounds", str(report.rounds), "--images", str(recipe.images)]
    words += ["--ablations"] if report.ablations else []
    inputs, how = (records, out / "model" / head_file.CARD), _shards(recipe)
    return Step("report", tuple(words), inputs, (to / "report.html", to / "report.json"), how)


def _export(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    to = out / "export"
    words = ["export", "multiview", "--base", recipe.run.base, "--model", str(out / "model"), "--out", str(to)]
    words += ["--precision", recipe.export.precision]
    words += ["--tensorrt"] if recipe.export.tensorrt else []
    inputs = (out / "model" / head_file.CARD, out / "model" / checkpoint.CARD)
    return Step("export", tuple(words), inputs, (to / FILE,))


def _base(recipe: MultiViewRecipe) -> list[str]:
    return ["--base", recipe.run.base, "--images", str(recipe.images)]


def _config(recipe: MultiViewRecipe) -> Path:
    return Path(recipe.run.base) / "config.json"


def _device(recipe: MultiViewRecipe) -> tuple[str, ...]:
    return ("--device", recipe.run.device) if recipe.run.device else ()


def _dtype(recipe: MultiViewRecipe) -> tuple[str, ...]:
    return ("--dtype", recipe.run.dtype) if recipe.run.dtype else ()


def _shards(recipe: MultiViewRecipe) -> tuple[str, ...]:
    run = recipe.run
    return ("--runner", run.runner, "--workers", str(run.workers), "--shards", str(run.shards))
