"""How long a recipe will take and what it needs, before it starts: from shapes, counts and this machine's speed.

Estimates, not promises: arithmetic at half the rate of a large matrix product, plus what was measured for the rest
(commands in docs/multiview.md). Texts are not estimated: their time is the annotating model's.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emo_face.core.errors import ModelError
from emo_face.datasets.records import Record
from emo_face.perception.multiview.encoders import family_of
from emo_face.perception.multiview.encoders.cost import picture_flops
from emo_face.runtime.weights import LOCAL, quiet
from emo_face.training.multiview import memory
from emo_face.training.multiview.recipe import MultiViewRecipe

EFFICIENCY = 0.5  # of a large matrix product's rate
TEXT = 160  # tokens of a usual question and answer
BOXES = 0.15  # s a picture, one core: YOLO11n at 640 and YuNet
HEAD = 1.5e-4  # s a person and epoch, one core, 3 views x 768 -> 256
EXPORT = 5.4e-7  # s a parameter
BOOTSTRAP = 2e-6  # s a person, label and round
ABLATIONS = 7  # heads of tables 6, 11 and 12
START = {"boxes": 3.0, "stage1": 4.0, "adapt": 3.0, "cache": 3.0, "stage2": 2.0, "report": 5.0, "export": 20.0}
"""s of a step with next to nothing to do: imports, reading, tracing."""


@dataclass(frozen=True)
class Need:
    """Of one step: seconds, bytes of memory (GPU or not) and bytes that it leaves on the disk."""

    seconds: float = 0.0
    memory: float = 0.0
    disk: float = 0.0


@dataclass(frozen=True)
class Shapes:
    """Of the model that a checkpoint's configuration describes; no weights are read.

    Attributes:
        vision, qformer: FLOPs a picture. encoder, language, trained: parameters. size: of one view's feature.
        stage1: bytes of Stage 1.
    """

    vision: float
    qformer: float
    encoder: int
    language: int
    trained: int
    size: int
    queries: int
    stage1: float


def shapes(recipe: MultiViewRecipe, base: Path) -> Shapes:
    """Read the configuration of ``base``. Raises ModelError if it is of another family than ``encoder.kind``."""
    import torch
    from transformers import AutoConfig

    family = family_of(base)
    if family.kind != recipe.encoder.kind:
        raise ModelError(
            f"{base}: is a checkpoint of {family.kind}; the recipe's encoder.kind is {recipe.encoder.kind}"
        )
    with quiet():
        config = AutoConfig.from_pretrained(base, **LOCAL)
    half = recipe.run.device != "cpu" and torch.cuda.is_available()
    with torch.device("meta"):
        made = _instructblip if recipe.encoder.tuned_on_corpus else _tower
        return made(recipe, config, torch.bfloat16 if half else torch.float32)


def _instructblip(recipe: MultiViewRecipe, config: Any, dtype: Any) -> Shapes:
    from transformers import InstructBlipForConditionalGeneration

    from emo_face.perception.multiview.vlm import MultiViewVLM

    model = InstructBlipForConditionalGeneration(config)
    vlm = MultiViewVLM(model, replace(recipe.encoder, image_size=int(config.vision_config.image_size))).to(dtype)
    vlm.set_trainable()
    need = memory.estimate(vlm, recipe.stage1)
    vision, qformer = picture_flops(config)
    language = sum(p.numel() for p in model.language_model.parameters())
    return _shapes(vlm.encoder, vision, qformer, language, need.total(recipe.stage1.batch_size))


def _tower(recipe: MultiViewRecipe, config: Any, dtype: Any) -> Shapes:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    from emo_face.perception.multiview.encoders.siglip2 import build

    own = getattr(config, "vision_config", config).to_dict()  # SmolVLM's is a SigLIP without the pooling head
    vision = SiglipVisionConfig.from_dict({**own, "vision_use_head": recipe.encoder.kind == "siglip2"})
    encoder = build(SiglipVisionModel(vision), replace(recipe.encoder, image_size=int(vision.image_size))).to(dtype)
    encoder.set_trainable()
    seen = picture_flops(config)[0]
    tokens = (vision.image_size // vision.patch_size) ** 2
    size = 2 if recipe.stage1.precision == "bf16" else 4
    kept = 2 if recipe.stage1.checkpointing else 17  # values per token and width, as in memory.estimate
    views = len(recipe.encoder.views) * recipe.stage1.batch_size
    held = kept * size * views * tokens * vision.hidden_size * vision.num_hidden_layers
    weights = sum(p.numel() * p.element_size() for p in encoder.parameters())
    return _shapes(encoder, seen, 0.0, 0, weights + held)


def _shapes(encoder: Any, vision: float, qformer: float, language: int, stage1: float) -> Shapes:
    trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    count = sum(p.numel() for p in encoder.parameters())
    size, queries = encoder.feature_size, encoder.tokens_per_view
    return Shapes(vision, qformer, count, language, trained, size, queries, stage1)


def estimate(
    recipe: MultiViewRecipe, records: Sequence[Record], shape: Shapes, rate: float, labels: int
) -> dict[str, Need]:
    """Step -> what it needs.

    Args:
        rate: FLOP/s of a large matrix product on one device. labels: of the label set.
    """
    run, views = recipe.run, len(recipe.encoder.views)
    pictures, people = len({record.image for record in records}), len(records)
    fast = EFFICIENCY * rate
    seen = pictures + people * (views - 1)
    cache = seen * (shape.vision + shape.qformer) / fast / run.workers
    trained_people = sum(record.split in ("train", "") for record in records)
    head = recipe.stage2.epochs * trained_people * HEAD * views * shape.size * recipe.head.width / (3 * 768 * 256)
    judged = sum(record.split == recipe.report.split for record in records)
    report = 2 * recipe.report.rounds * judged * labels * BOOTSTRAP + ABLATIONS * head * recipe.report.ablations
    features = 2.0 * people * views * shape.size
    weights, written = 4.0 * shape.encoder, 1.0 if recipe.export.precision == "fp32" else 0.5
    found = {
        "boxes": Need(pictures * BOXES / run.workers, 1e9),
        "stage1": Need(*_stage1(recipe, trained_people, shape, fast)),
        "adapt": Need(*_adapt(recipe, trained_people, shape, fast)),
        "cache": Need(cache, weights + recipe.cache.batch_size * 5e7, features),
        "stage2": Need(head, 3 * features),
        "report": Need(report, 3 * features),
        "export": Need(EXPORT * shape.encoder, 2.1 * weights, weights * written),
    }
    return {name: replace(need, seconds=need.seconds + START[name]) for name, need in found.items()}


def _stage1(recipe: MultiViewRecipe, people: int, shape: Shapes, fast: float) -> tuple[float, float, float]:
    """Seconds, memory and disk. The image encoder only forwards; the language model hands gradients through."""
    views, settings, corpus = len(recipe.encoder.views), recipe.stage1, recipe.corpus
    described = len({"pose", "situation", "rationale"} & set(corpus.tasks))
    classified = "classification" in corpus.tasks
    other = min(described, corpus.other_share) if classified else described
    rows = people * (classified + other)
    tokens = views * shape.queries + TEXT
    passes = 3 if settings.checkpointing else 2
    work = views * (shape.vision + 3 * shape.qformer) + passes * 2.0 * shape.language * tokens
    seconds = settings.epochs * rows * work / fast / recipe.run.processes
    return seconds, shape.stage1, 4.0 * shape.trained * (2 * 3 + 1)


def _adapt(recipe: MultiViewRecipe, people: int, shape: Shapes, fast: float) -> tuple[float, float, float]:
    """Seconds, memory and disk; nothing but reading the checkpoint without LoRA."""
    if not recipe.encoder.lora_rank:
        return 0.0, 4.0 * shape.encoder, 0.0
    passes = 4 if recipe.stage1.checkpointing else 3
    work = passes * len(recipe.encoder.views) * shape.vision
    return recipe.stage1.epochs * people * work / fast / recipe.run.processes, shape.stage1, 28.0 * shape.trained


def matrix_rate(device: str, seconds: float = 0.3) -> float:
    """FLOP/s of a large matrix product on ``device``, measured for about so long."""

    import torch

    n, half = (4096, torch.bfloat16) if device.startswith("cuda") else (1024, torch.float32)
    a = torch.randn(n, n, device=device, dtype=half)
    (a @ a).sum().item()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        (a @ a).sum().item()
        count += 1
    return count * 2.0 * n**3 / (time.perf_counter() - start)
