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
from emo_face.training.common.arguments import flag_of, words_of
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


def _flags(**given: object) -> tuple[str, ...]:
    """Flags in this order: True stands alone, False and empty texts are left out."""
    kept = ((flag_of(name), value) for name, value in given.items() if value is not False and value != "")
    return tuple(word for flag, value in kept for word in ((flag,) if value is True else (flag, str(value))))


def _convert(recipe: MultiViewRecipe, to: Path) -> Step:
    data = recipe.data
    flags = _flags(set=data.set, root=data.root, split=data.split, seed=data.seed, to=to)
    return Step("records", ("data", "convert", *flags), (), (to,), always=True)


def _boxes(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    to = out / "boxed.jsonl"
    words = ("data", "boxes", *_flags(records=records, images=recipe.images, to=to))
    return Step("boxes", words, (records,), (to,), _shards(recipe))


def _texts(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    texts, to = recipe.texts, out / "told.jsonl"
    flags = _flags(
        records=records,
        root=recipe.images,
        out=to,
        tasks=",".join(texts.tasks),
        provider=texts.provider,
        model=texts.model,
        temperature=texts.temperature,
        tries=texts.tries,
        least=texts.least,
        endpoint=texts.endpoint,
        cache=texts.cache,
        boxed_only=texts.boxed_only,
    )
    money = {"price_in": texts.price_in, "price_out": texts.price_out, "budget": texts.budget}
    how = _flags(key_env=texts.key_env, **{name: value for name, value in money.items() if value > 0})
    return Step("texts", ("annotate", "multiview", *flags), (records,), (to,), (*how, *_device(recipe)))


def _corpus(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    corpus, to = recipe.corpus, out / "corpus.jsonl"
    flags = _flags(
        records=records,
        to=to,
        tasks=",".join(corpus.tasks),
        reading=corpus.reading,
        seed=corpus.seed,
        other_share=corpus.other_share,
        no_balance=not corpus.balance,
    )
    return Step("corpus", ("data", "qa", *flags), (records,), (to,))


def _stage1(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    corpus, to = out / "corpus.jsonl", out / "stage1"
    flags = _flags(base=recipe.run.base, images=recipe.images, corpus=corpus, out=to)
    settings = (*words_of(recipe.encoder, DERIVED), *words_of(recipe.stage1), *_flags(dtype=recipe.run.dtype))
    words = ("train", "multiview", "stage1", *flags, *settings)
    return Step("stage1", words, (corpus, _config(recipe)), (to / "best" / checkpoint.CARD,), _device(recipe))


def _adapt(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    to = out / "stage1"
    flags = _flags(base=recipe.run.base, images=recipe.images, records=records, out=to)
    encoder = words_of(recipe.encoder, (*DERIVED, "qformer_sharing", "train", "feature", "instruction"))
    settings = (*encoder, *words_of(recipe.stage1, Stage1Config.OF_TEXT), *_flags(dtype=recipe.run.dtype))
    words = ("train", "multiview", "adapt", *flags, *settings)
    return Step("adapt", words, (records, _config(recipe)), (to / "best" / checkpoint.CARD,), _device(recipe))


def _cache(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    from emo_face.datasets.features import INDEX

    run, encoder, to = recipe.run, out / "stage1" / "best", out / "features"
    flags = _flags(base=run.base, images=recipe.images, records=records, encoder=encoder, out=to, dtype=run.dtype)
    how = (*_flags(batch_size=recipe.cache.batch_size), *_device(recipe), *_shards(recipe))
    inputs = (records, encoder / checkpoint.CARD)
    return Step("cache", ("train", "multiview", "cache", *flags), inputs, (to / INDEX,), how)


def _stage2(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    from emo_face.datasets.features import INDEX

    features, to = out / "features", out / "model"
    flags = _flags(records=records, cache=features, encoder=out / "stage1" / "best", out=to)
    settings = (*words_of(recipe.head, ("label_set", "views", "in_features")), *words_of(recipe.stage2))
    outputs = (to / head_file.CARD, to / head_file.WEIGHTS, to / checkpoint.CARD, to / checkpoint.WEIGHTS)
    return Step("stage2", ("train", "multiview", "stage2", *flags, *settings), (records, features / INDEX), outputs)


def _report(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    report, model, to = recipe.report, out / "model", out / "report"
    flags = _flags(
        records=records,
        cache=out / "features",
        model=model,
        out=to,
        split=report.split,
        ap_mode=report.ap_mode,
        rounds=report.rounds,
        images=recipe.images,
        ablations=report.ablations,
    )
    outputs = (to / "report.html", to / "report.json")
    return Step(
        "report", ("evaluate", "multiview", *flags), (records, model / head_file.CARD), outputs, _shards(recipe)
    )


def _export(recipe: MultiViewRecipe, records: Path, out: Path) -> Step:
    export, model, to = recipe.export, out / "model", out / "export"
    flags = _flags(base=recipe.run.base, model=model, out=to, precision=export.precision, tensorrt=export.tensorrt)
    return Step(
        "export", ("export", "multiview", *flags), (model / head_file.CARD, model / checkpoint.CARD), (to / FILE,)
    )


def _config(recipe: MultiViewRecipe) -> Path:
    return Path(recipe.run.base) / "config.json"


def _device(recipe: MultiViewRecipe) -> tuple[str, ...]:
    return _flags(device=recipe.run.device)


def _shards(recipe: MultiViewRecipe) -> tuple[str, ...]:
    return _flags(runner=recipe.run.runner, workers=recipe.run.workers, shards=recipe.run.shards)
