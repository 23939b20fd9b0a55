"""The recipe of a whole multi-view training: one file from raw data to a folder that runs.

Every choice of docs/multiview.md is a field. Fields that are left out have the defaults of that page.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from emo_face.core.errors import ConfigError
from emo_face.core.labels import label_set
from emo_face.datasets.annotate.multiview import TASKS as TEXTS
from emo_face.datasets.qa.corpus import TASKS
from emo_face.datasets.records import read_jsonl
from emo_face.perception.multiview.config import VIEWS, EncoderConfig, FusionConfig
from emo_face.runtime.engines.plan import Precision
from emo_face.training.common.recipes import Fields, Yaml12, named, of_sections, read_fields
from emo_face.training.multiview.config import Stage1Config, Stage2Config

PACKAGED = ("emotic", "caer_s", "heco")
OF_CHECKPOINT = ("image_size", "mean", "std", "resample")
LABELS = {"emotic": "emotic26", "caer_s": "caers7", "heco": "heco8"}
Split = Literal["official", "random_70_10_20", "clip_grouped"]


@dataclass(frozen=True)
class DataPart:
    """The data set: ``root`` as ``emo-face data convert`` takes it; ``images``, if the pictures lie elsewhere."""

    set: Literal["emotic", "caer_s", "heco", "records"]
    root: str = ""
    images: str = ""
    split: Split = "official"
    seed: int = 0


@dataclass(frozen=True)
class BoxesPart:
    """Bodies and faces that the records lack, by the package's detectors."""

    find: bool = True


@dataclass(frozen=True)
class TextsPart:
    """Who writes the texts of the corpus, if anybody: flags of ``emo-face annotate multiview``.

    ``least``: share of the texts that is enough to go on; some are refused or stay of a wrong form.
    """

    tasks: tuple[str, ...] = ()
    provider: Literal["http", "local", "replay"] = "local"
    model: str = ""
    endpoint: str = ""
    key_env: str = ""
    cache: str = ""
    price_in: float = 0.0
    price_out: float = 0.0
    budget: float = 0.0
    least: float = 0.95
    temperature: float = 1.0
    tries: int = 3
    boxed_only: bool = True


@dataclass(frozen=True)
class CorpusPart:
    """Flags of ``emo-face data qa``."""

    tasks: tuple[str, ...] = TASKS
    reading: Literal["drop", "keep"] = "drop"
    balance: bool = True
    other_share: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class CachePart:
    """People per pass of the encoder."""

    batch_size: int = 16


@dataclass(frozen=True)
class ReportPart:
    """Flags of ``emo-face evaluate multiview``."""

    split: Literal["train", "val", "test"] = "test"
    ap_mode: Literal["sklearn", "voc11", "voc_all"] = "sklearn"
    rounds: int = 200
    ablations: bool = True


@dataclass(frozen=True)
class ExportPart:
    """Whether the model is exported, and flags of ``emo-face export multiview``."""

    write: bool = True
    precision: Precision = "fp32"
    tensorrt: bool = False


@dataclass(frozen=True)
class RunPart:
    """Where and by whom; nothing of it changes a result.

    Attributes:
        base: folder of the checkpoint. out: of everything that is written. processes: of Stage 1, one per GPU.
        runner, workers, shards: who finds boxes and encodes (``emo_face.runtime.runners``).
    """

    base: str = ""
    out: str = ""
    device: str = ""
    dtype: Literal["", "float32", "bfloat16", "float16"] = ""
    processes: int = 1
    runner: Literal["local", "submitit", "ray"] = "local"
    workers: int = 1
    shards: int = 32

    def __post_init__(self) -> None:
        for name in ("processes", "workers", "shards"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class MultiViewRecipe:
    """All sections; see the class of each."""

    data: DataPart
    head: FusionConfig
    boxes: BoxesPart = field(default_factory=BoxesPart)
    texts: TextsPart = field(default_factory=TextsPart)
    corpus: CorpusPart = field(default_factory=CorpusPart)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    stage1: Stage1Config = field(default_factory=Stage1Config)
    cache: CachePart = field(default_factory=CachePart)
    stage2: Stage2Config = field(default_factory=Stage2Config)
    report: ReportPart = field(default_factory=ReportPart)
    export: ExportPart = field(default_factory=ExportPart)
    run: RunPart = field(default_factory=RunPart)

    @property
    def images(self) -> Path:
        """Folder that picture paths are relative to."""
        root = Path(self.data.root)
        return Path(self.data.images) if self.data.images else root if root.is_dir() else root.parent


def read(own: str, changes: dict[str, str]) -> MultiViewRecipe:
    """A packaged recipe or a file, with ``changes`` (``stage1.epochs`` -> YAML text) on top.

    Raises:
        UserError: no such file, or no recipe.
        ConfigError: a field is unknown, of another type, or contradicts another; names file, line and field.
    """
    found = read_fields(named(own, PACKAGED))
    for path, text in changes.items():
        if path.count(".") != 1:
            raise ConfigError(f"--set {path}={text}: expected SECTION.FIELD=VALUE")
        try:
            value = yaml.load(text, Loader=Yaml12) if text else ""
        except yaml.YAMLError:
            value = text
        found.put(path, value, f"--set {path}={text}")
    _refuse_derived(found)
    found.values["head"] = {**(found.values.get("head") or {}), "label_set": _label_set(found)}
    recipe = of_sections(MultiViewRecipe, found)
    for path, why in contradictions(recipe):
        raise ConfigError(f"{found.where(path)}: {path}: {why}")
    return recipe


def _refuse_derived(found: Fields) -> None:
    """Fields of the dataclasses that follow from others."""
    derived = {
        "encoder": {**dict.fromkeys(OF_CHECKPOINT, "the checkpoint"), "instruction_ids": "encoder.instruction"},
        "head": {"label_set": "data.set", "views": "encoder.views", "in_features": "the features"},
    }
    for section, names in derived.items():
        written = found.values.get(section) or {}
        for name, source in names.items():
            if isinstance(written, dict) and name in written:
                path = f"{section}.{name}"
                raise ConfigError(f"{found.where(path)}: {path}: follows from {source}; leave it out")


def _label_set(found: Fields) -> str:
    data = found.values.get("data")
    if not isinstance(data, dict) or "set" not in data:
        raise ConfigError(f"{found.source}: data.set is missing; expected one of {', '.join((*LABELS, 'records'))}")
    if data["set"] != "records":
        return LABELS.get(str(data["set"]), "emotic26")  # an unknown set is refused by its section

    first = next(iter(read_jsonl(Path(str(data.get("root", ""))))), None)
    if first is None:
        raise ConfigError(f"{found.where('data.root')}: data.root: {data.get('root')}: holds no records")
    return first.label_set


def contradictions(recipe: MultiViewRecipe) -> Iterator[tuple[str, str]]:
    """Path of a field and why it cannot hold beside the others."""
    for check in (_of_places, _of_data, _of_texts, _of_model):
        yield from check(recipe)


def _holding(*rules: tuple[object, str, str]) -> Iterator[tuple[str, str]]:
    """Path and reason of the rules (wrong, path, reason) that a recipe breaks."""
    return ((path, why) for wrong, path, why in rules if wrong)


def _of_places(recipe: MultiViewRecipe) -> Iterator[tuple[str, str]]:
    needed = {"data.root": recipe.data.root, "run.base": recipe.run.base, "run.out": recipe.run.out}
    engine = recipe.export.tensorrt
    return _holding(
        *((not value, path, f"is not given; write it, or --set {path}=DIR") for path, value in needed.items()),
        (engine and not recipe.export.write, "export.tensorrt", "is true, but export.write is false"),
        (engine and recipe.run.device == "cpu", "export.tensorrt", "needs a GPU, but run.device is cpu"),
    )


def _of_data(recipe: MultiViewRecipe) -> Iterator[tuple[str, str]]:
    data, views = recipe.data, recipe.encoder.views
    lacking = () if recipe.boxes.find else {"emotic": ("face",), "caer_s": ("body",)}.get(data.set, ())
    return _holding(
        (
            data.split != "official" and data.set != "caer_s",
            "data.split",
            f"{data.split} is a split of caer_s, data.set is {data.set}",
        ),
        *(
            (view in views, "boxes.find", f"is false, but {data.set} has no {view} boxes and encoder.views has {view}")
            for view in lacking
        ),
        (
            tuple(view for view in VIEWS if view in views) != views,
            "encoder.views",
            f"expected the order {', '.join(VIEWS)}, got {', '.join(views)}",
        ),
    )


def _of_texts(recipe: MultiViewRecipe) -> Iterator[tuple[str, str]]:
    texts, corpus = recipe.texts, recipe.corpus
    if not recipe.encoder.tuned_on_corpus:
        if texts.tasks:
            yield "texts.tasks", f"are for Stage 1 on a corpus, but encoder.kind is {recipe.encoder.kind}"
        return
    for path, given, known in (("texts.tasks", texts.tasks, TEXTS), ("corpus.tasks", corpus.tasks, TASKS)):
        for task in given:
            if task not in known:
                yield path, f"unknown task {task!r}; expected some of {', '.join(known)}"
    if "classification" not in corpus.tasks and not set(corpus.tasks) & {"pose", "situation", "rationale"}:
        yield "corpus.tasks", "asks no question: expected classification, pose, situation or rationale among them"
    for task in corpus.tasks:
        if recipe.data.set != "records" and task in TEXTS and task not in texts.tasks:
            yield "corpus.tasks", f"{task} needs texts, but texts.tasks has no {task} and {recipe.data.set} has none"
    remote = texts.tasks and texts.provider == "http"
    yield from _holding(
        (texts.tasks and not texts.model, "texts.model", "is not given, but texts.tasks are to be written"),
        (not 0 < texts.least <= 1, "texts.least", f"expected a share over 0 and up to 1, got {texts.least:g}"),
        (
            texts.budget > 0 and texts.price_in + texts.price_out <= 0,
            "texts.budget",
            "is never spent without texts.price_in and texts.price_out (money a million tokens)",
        ),
        (remote and not texts.endpoint, "texts.endpoint", "is not given, but texts.provider is http"),
    )


def _of_model(recipe: MultiViewRecipe) -> Iterator[tuple[str, str]]:
    head, stage2, encoder, data = recipe.head, recipe.stage2, recipe.encoder, recipe.data.set
    multi = label_set(head.label_set).multi
    no_vad = head.vad and data in ("caer_s", "heco")
    single, several = not multi and stage2.loss in ("asymmetric", "bce"), multi and stage2.loss == "cross_entropy"
    return _holding(
        *(
            (
                not encoder.tuned_on_corpus and getattr(encoder, name) != getattr(EncoderConfig(), name),
                f"encoder.{name}",
                f"is InstructBLIP's, but encoder.kind is {encoder.kind}",
            )
            for name in ("qformer_sharing", "train")
        ),
        (no_vad, "head.vad", f"is true, but {data} has no valence, arousal and dominance"),
        (single, "stage2.loss", f"{stage2.loss} is for several labels, a person of {data} has one"),
        (several, "stage2.loss", f"cross_entropy is for one label, a person of {data} has several"),
        (head.vad and stage2.vad_weight <= 0, "stage2.vad_weight", f"is {stage2.vad_weight:g}, but head.vad is true"),
    )
