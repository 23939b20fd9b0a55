"""``emo-face train contextface``: ContextFace on CAER-S-C (or any annotated set) and LLaVA-Instruct.

  emo-face annotate context --help        situations and quotes for pictures that have none
  emo-face data targets --help            face targets from outputs of INFERNO, EMOCA or SMIRK
  accelerate launch -m emo_face.cli.main train contextface --backbone llava-1.5-13b-hf --contexts caer_s_c \\
      --images CAER-S --targets targets.npz --vqa llava_instruct_150k.json --vqa-images train2017 \\
      --precision bf16 --checkpointing --out out/contextface
  emo-face train contextface --backbone llava-1.5-7b-hf --quantisation 4bit ...       QLoRA on one GPU
  emo-face say "We won!" --tier full --model out/contextface/best

A run that was killed goes on when it is started again with the same arguments.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.arguments import Option, arguments, group, option
from emo_face.core.errors import UserError
from emo_face.datasets.contexts import face_targets, llava_instruct
from emo_face.datasets.contexts import records as context
from emo_face.datasets.contexts import tasks as context_tasks
from emo_face.datasets.contexts.mixture import Mixture
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.prompts import TASKS
from emo_face.expression.contextface.tokens import TokenBuilder
from emo_face.runtime.progress import track
from emo_face.runtime.weights import model_folder
from emo_face.training.common.arguments import add_fields, config_of, documented, flag_of, help_of
from emo_face.training.common.processes import process_group
from emo_face.training.common.ranks import check_launch, rank_device
from emo_face.training.common.recipes import read_recipe
from emo_face.training.contextface.config import ContextFaceTraining
from emo_face.training.contextface.recipe import TaskRecipe

MODEL_FLAGS = (
    "hidden_offset",
    "face_basis",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "lora_from",
    "chat",
    "system",
    "style",
    "image_size",
    "max_tokens",
)
"""Settings of the model that are flags of the same name."""
NOT_FLAGS = ("betas", "group_weights", "validation_batch")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _of_model(name: str) -> Option:
    value = getattr(ContextFaceConfig, name)
    return option(
        flag_of(name), type=type(value), default=value, help=help_of(documented(ContextFaceConfig)[name], value)
    )


add_arguments = arguments(
    group(
        "data",
        option("--backbone", type=Path, required=True, metavar="DIR", help="image-text or text-only checkpoint"),
        option("--contexts", type=Path, required=True, nargs="+", help="CAER-S-C: files, or folders of splits"),
        option("--images", type=Path, default=Path(), metavar="DIR", help="folder the picture paths are relative to"),
        option("--targets", type=Path, nargs="+", help="file from emo-face data targets (default: no expression task)"),
        option("--vqa", type=Path, metavar="JSON", help="LLaVA-Instruct file (default: no VQA task)"),
        option("--vqa-images", type=Path, metavar="DIR", help="COCO train2017"),
        option("--vqa-limit", type=int, default=0, help="use a random part of this size (default: all)"),
        option(
            "--validation-share",
            type=float,
            default=0.05,
            help="share of pictures for validation if there is no val split (default: 0.05)",
        ),
        option("--validation-limit", type=int, default=0, help="use a random part of this size (default: all)"),
        option("--out", type=Path, required=True, metavar="DIR", help="folder for checkpoints and best model"),
    ),
    group(
        "run",
        option("--recipe", type=Path, metavar="FILE", help="your own data/recipes/contextface.yaml"),
        option("--perspectives", type=_list, help="whose faces (default: the recipe's, speaker,listener)"),
        option("--words", type=_list, help="from what (default: the recipe's, quote,situation,both,none)"),
        option("--pictures", type=_list, help="with or without pictures (default: the recipe's, text,picture)"),
        option("--ratios", help="situation,expression,vqa (default: the recipe's, 0.3,0.4,0.3)"),
        option("--start", type=Path, metavar="DIR", help="start from a trained model (default: from the backbone)"),
        option("--device", default="", help="cpu or cuda (default: cuda if there is one)"),
        option(
            "--quantisation",
            choices=("none", "4bit", "8bit"),
            default="none",
            help="quantisation of the frozen weights; 4bit is QLoRA",
        ),
        partial(add_fields, kind=ContextFaceTraining, without=NOT_FLAGS),
    ),
    group(
        "model",
        option(
            "--groups",
            default="expression",
            help="outputs of the face head: expression, or expression,jaw, or expression,jaw,eyelids",
        ),
        *map(_of_model, MODEL_FLAGS),
        option("--lora-targets", default="q_proj,v_proj", help="adapted layers (default: q_proj,v_proj)"),
    ),
)


def run(args: argparse.Namespace) -> int:
    """Train. Raises UserError for a user's mistake."""
    with process_group():
        _train(args)
    return 0


def _train(args: argparse.Namespace) -> None:
    import torch

    from emo_face.expression.contextface.checkpoint import load_backbone, load_tools
    from emo_face.expression.contextface.model import NO_PICTURES, build_model, tree_reach
    from emo_face.expression.contextface.vision import eyes_of
    from emo_face.training.contextface.data import ContextFaceCollator
    from emo_face.training.contextface.run import ContextFaceRun, prepare_quantised

    check_launch(os.environ)
    recipe = recipe_of(args)
    _model_config(args, {})  # a wrong flag is named before the data are read
    tasks, validation = load_tasks(args, recipe)
    config = _model_config(args, tasks)
    device = rank_device(args.device, torch.cuda.device_count(), os.environ)
    if device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"  # accelerate chooses a GPU by itself if there is one
    dtype = "bfloat16" if device.startswith("cuda") else "float32"
    base = load_backbone(args.backbone, dtype, args.quantisation, device)
    tokenizer, processor = load_tools(args.backbone)
    if args.quantisation != "none":
        base = prepare_quantised(base)
    model = build_model(base, tokenizer, config, args.seed)
    eyes = eyes_of(model.base, processor, config.image_size)
    kind = str(base.config.model_type)
    builder = TokenBuilder(tokenizer, kind, model.image_id, eyes.tokens, config.chat, config.system)
    settings = config_of(ContextFaceTraining, args)
    mixture = Mixture(tasks, recipe.shares(tasks), args.batch_size, args.seed)
    if settings.packed and (model.image_id != NO_PICTURES or tree_reach(model.base) < config.max_tokens):
        raise UserError(
            "--packed: needs a language model of text alone whose layers all see the whole of a dialogue; leave it out"
        )
    collate = ContextFaceCollator(builder, eyes, config, settings.packed)
    start = model_folder(args.start) if args.start else None
    runner = ContextFaceRun(model, collate, mixture, validation, settings, args.out, str(args.backbone), start)
    tell_estimate(runner)
    progress = runner.run()
    if runner.accelerator.is_main_process:
        print(f"{args.out / 'best'}: joint validation loss {progress.best:.4f} at step {progress.best_step}")
        calibrate(runner.bare, builder, eyes, validation, args.out / "best")


def tell_estimate(runner: Any) -> None:
    """Say what the run will take. Raises UserError if its GPU is too small."""
    import torch

    from emo_face.training.contextface.estimate import GB, check, estimate

    model, batch = runner.bare, runner.collate(runner.mixture[0])
    found = estimate(model, batch, runner.length, runner.config.checkpointing)
    if model.device.type == "cuda":
        check(found, torch.cuda.mem_get_info(model.device)[0] / GB)
    if runner.accelerator.is_main_process:
        print(f"{runner.total} steps of {runner.config.gradient_accumulation} micro-batches: {found}", file=sys.stderr)


def calibrate(model: Any, builder: Any, eyes: Any, validation: Sequence[Any], folder: Path) -> None:
    """Calibrate the best model on its validation examples, and write what was found into it."""
    from emo_face.expression.contextface.checkpoint import put_back, set_config
    from emo_face.expression.contextface.onepass import OnePass
    from emo_face.training.contextface.calibration import fitted, listen

    put_back(folder, model)
    onepass = OnePass(model.eval(), builder, eyes, cache=False)
    config, found = fitted(model.config, listen(onepass, validation, partial(track, text="calibration")))
    set_config(folder, config, {"calibration": found})
    for name, values in found.items():
        if values["fitted"]:
            before, after = values["ece_before"], values["ece_after"]
            print(f"{name}: temperature {values['temperature']:.2f}, ECE {before:.3f} -> {after:.3f} (n {values['n']})")
        else:
            print(f"{name}: {values['n']} validation answers are too few to calibrate", file=sys.stderr)


def load_tasks(args: argparse.Namespace, recipe: Any) -> tuple[dict[str, Sequence[Any]], list[Any]]:
    """Training examples by task and the validation examples; what was left out is said on stderr.

    Pictures of one clip stay in one split: without a named ``val`` split a share of the groups is held out.

    Raises:
        UserError: a file is missing or wrong, or nothing is left.
    """
    sets = [context.read(path, "contexts", "train") for path in args.contexts]
    records, dropped = [r for found in sets for r in found.records], Counter[str]()
    for found in sets:
        dropped += Counter(found.dropped)
    if "picture" in recipe.pictures:
        records = context_tasks.there(records, args.images, dropped)
    targets = face_targets.joined([face_targets.read(p, args.face_basis) for p in args.targets or ()])
    train, held = hold_out(records, args.validation_share, args.seed)
    made, kept = (
        context_tasks.build(part, args.images, targets, recipe.conditions, args.style) for part in (train, held)
    )
    dropped += made.dropped + kept.dropped
    tasks = dict(made.by_name)
    if args.vqa:
        drawn = (args.vqa_limit, args.seed)
        tasks["vqa"], bad = llava_instruct.read(args.vqa, args.vqa_images or args.images, *drawn, check_files=True)
        dropped += Counter({f"vqa: {reason}": count for reason, count in bad.items()})
    for reason, count in dropped.items():
        print(f"left out: {count} {reason}", file=sys.stderr)
    asked = {name for name, share in recipe.shares(kept.by_name).items() if share > 0}
    kept.by_name = {name: made for name, made in kept.by_name.items() if name in asked}  # no other task is learned
    validation = kept.spread()
    if not validation and "vqa" in tasks:  # table 3's first row: nothing but dialogues is learned
        tasks["vqa"], validation = _part_of(tasks["vqa"], args.validation_share, args.seed)
    if 0 < args.validation_limit < len(validation):
        order = np.random.default_rng(args.seed).permutation(len(validation))[: args.validation_limit]
        validation = [validation[place] for place in sorted(order)]
    return tasks, validation


def _part_of(examples: Sequence[Any], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """(the others, ``share`` of them and at least one, drawn by ``seed``)."""
    held = _drawn(len(examples), share, seed)
    others = [example for number, example in enumerate(examples) if number not in held]
    return others, [examples[number] for number in sorted(held)]


def _drawn(count: int, share: float, seed: int) -> set[int]:
    """``share`` of ``count`` numbers, at least one."""
    return set(np.random.default_rng(seed).permutation(count)[: max(1, round(share * count))].tolist())


def hold_out(records: Any, share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """(train, validation) records by their split, else ``share`` of the groups, drawn by ``seed``. No test records."""
    usable = [r for r in records if r.split != "test"]
    named = [r for r in usable if r.split == "val"]
    if named:
        return [r for r in usable if r.split != "val"], named
    groups = sorted({r.group_id or r.image for r in usable})
    if len(groups) < 2 or not 0 < share < 1:
        raise UserError(
            "validation: name a val split, or give at least two pictures and a --validation-share in (0, 1)"
        )
    chosen = {groups[i] for i in _drawn(len(groups), share, seed)}
    return (
        [r for r in usable if (r.group_id or r.image) not in chosen],
        [r for r in usable if (r.group_id or r.image) in chosen],
    )


def recipe_of(args: argparse.Namespace) -> Any:
    """The recipe with what the flags change. Raises UserError or ConfigError naming the field."""
    changes = {name: getattr(args, name) for name in ("perspectives", "words", "pictures")}
    ratios = _ratios(args.ratios) if args.ratios else None
    return read_recipe(TaskRecipe, "contextface", args.recipe, ratios=ratios, **changes)


def _ratios(text: str) -> dict[str, float]:
    try:
        return dict(zip(TASKS, map(float, text.split(",")), strict=True))
    except ValueError:
        raise UserError(f"--ratios: expected {','.join(TASKS)}, for example 0.3,0.4,0.3, got {text!r}") from None


def _model_config(args: argparse.Namespace, tasks: Mapping[str, Any]) -> Any:
    conditions = tuple(name.partition("/")[2] for name in tasks if name.startswith("expression/"))
    flags = {name: getattr(args, name) for name in MODEL_FLAGS}
    groups, layers = tuple(args.groups.split(",")), tuple(args.lora_targets.split(","))
    return ContextFaceConfig(groups=groups, lora_targets=layers, conditions=conditions, **flags)
