"""``emo-face train multiview``: the multi-view emotion model in three steps, stage1, cache and stage2.

  emo-face data convert --set emotic --root EMOTIC --to emotic.jsonl
  emo-face data qa --records emotic.jsonl --to qa.jsonl
  accelerate launch -m emo_face.cli.main train multiview stage1 --base BLIP --images EMOTIC --corpus qa.jsonl \\
      --out out/stage1 --precision bf16 --checkpointing
  emo-face train multiview cache --base BLIP --images EMOTIC --records emotic.jsonl --encoder out/stage1/best \\
      --out out/features
  emo-face train multiview stage2 --records emotic.jsonl --cache out/features --encoder out/stage1/best --vad \\
      --out out/multiview
  emo-face export multiview --base BLIP --model out/multiview --out out/export --fp16

BLIP is a folder with the files of Salesforce/instructblip-vicuna-7b. Every step can be killed and started again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.datasets.shares import need_views
from emo_face.perception.multiview.config import EncoderConfig, FusionConfig
from emo_face.runtime.files import is_full
from emo_face.training.common.arguments import add_fields, config_of
from emo_face.training.common.processes import process_group
from emo_face.training.multiview.config import Stage1Config, Stage2Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The three steps; config fields are flags with their defaults."""
    steps = parser.add_subparsers(dest="step", metavar="stage1|cache|stage2", required=True)
    stage1 = steps.add_parser("stage1", help="instruction tuning of the encoder")
    _add_base(stage1)
    stage1.add_argument("--corpus", type=Path, required=True, help="from: emo-face data qa")
    stage1.add_argument("--qformer-sharing", choices=("all", "body_face", "none"), default="all")
    stage1.add_argument("--train", nargs="+", default=["qformer", "queries", "projection"])
    stage1.add_argument("--scene-box", choices=("none", "target", "all"), default="all")
    stage1.add_argument("--resize", choices=("stretch", "letterbox"), default="stretch")
    stage1.add_argument("--views", nargs="+", default=["scene", "body", "face"])
    add_fields(stage1, Stage1Config)
    cache = steps.add_parser("cache", help="frozen features of all people, once")
    _add_base(cache)
    cache.add_argument("--records", type=Path, required=True, help="from: emo-face data convert")
    cache.add_argument("--encoder", type=Path, required=True, help="folder of Stage 1 (best/)")
    cache.add_argument("--batch-size", type=int, default=16)
    stage2 = steps.add_parser("stage2", help="the fusion head on cached features")
    stage2.add_argument("--records", type=Path, required=True)
    stage2.add_argument("--cache", type=Path, required=True)
    stage2.add_argument("--encoder", type=Path, help="copied beside the head, so that one folder is the whole model")
    stage2.add_argument("--out", type=Path, required=True)
    stage2.add_argument("--vad", action="store_true", help="add valence, arousal, dominance (EMOTIC)")
    stage2.add_argument("--no-attention", action="store_true", help="ablation: concatenate only")
    stage2.add_argument("--width", type=int, default=256)
    stage2.add_argument("--activation", choices=("none", "gelu"), default="none")
    add_fields(stage2, Stage2Config)


def _add_base(step: argparse.ArgumentParser) -> None:
    step.add_argument("--base", type=Path, required=True, help="InstructBLIP checkpoint (7B: 32 GB on disk)")
    step.add_argument("--images", type=Path, required=True, help="folder the picture paths are relative to")
    step.add_argument("--out", type=Path, required=True)
    step.add_argument("--device", default="", help="cpu or cuda (default: cuda if there is one)")
    step.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="", help="of the frozen weights")


def run(args: argparse.Namespace) -> int:
    """Run one step. Raises UserError for a user's mistake or a full disk."""
    try:
        with process_group():
            {"stage1": _stage1, "cache": _cache, "stage2": _stage2}[args.step](args)
    except Exception as error:
        if not is_full(error):
            raise
        raise UserError(f"{args.out}: the disk is full ({error}); free space and rerun") from None
    return 0


def _device(args: argparse.Namespace) -> tuple[str, str]:
    import torch

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {device}: torch sees no GPU here; use --device cpu")
    return device, args.dtype or ("bfloat16" if device.startswith("cuda") else "float32")


def _tokenizers(base: Path) -> tuple[Any, Any]:
    from emo_face.perception.multiview.ask import load_tokenizers

    return load_tokenizers(base)


def _stage1(args: argparse.Namespace) -> None:
    import torch

    from emo_face.datasets.qa import templates
    from emo_face.datasets.qa.corpus import read_corpus
    from emo_face.datasets.views import MultiViewCollator, Pictures
    from emo_face.perception.multiview.checkpoint import load_base
    from emo_face.perception.multiview.vlm import MultiViewVLM
    from emo_face.training.multiview import memory
    from emo_face.training.multiview.stage1 import Stage1

    rows = read_corpus(args.corpus)
    shares = need_views([row.record for row in rows], args.views, args.corpus)
    device, dtype = _device(args)
    if device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"  # accelerate chooses a GPU by itself where there is one
    tokenizer, qformer_tokenizer = _tokenizers(args.base)
    base = load_base(args.base, dtype)
    question = templates.instruction(rows[0].record.label_set)
    config = EncoderConfig(
        views=tuple(args.views),
        qformer_sharing=args.qformer_sharing,
        train=tuple(args.train),
        scene_box=args.scene_box,
        resize=args.resize,
        image_size=int(base.config.vision_config.image_size),
        instruction=question,
        instruction_ids=tuple(qformer_tokenizer(question, truncation=True, max_length=256)["input_ids"]),
    )
    vlm = MultiViewVLM(base, config)
    settings = config_of(Stage1Config, args)
    if device.startswith("cuda"):
        vlm.set_trainable()
        free = torch.cuda.mem_get_info(int(os.environ.get("LOCAL_RANK", "0")))[0]
        memory.check(free, vlm, settings.batch_size, settings.checkpointing, settings.precision)
    pictures = Pictures.of(args.images, config, [row.record for row in rows])
    parts = {name: [row for row in rows if row.record.split == name] for name in ("train", "val")}
    collate = MultiViewCollator(pictures, tokenizer, qformer_tokenizer)
    run_ = Stage1(vlm, collate, parts["train"], parts["val"], settings, args.out, str(args.base))
    progress = run_.run()
    if run_.accelerator.is_main_process:
        best = {"best_step": progress.best_step, "validation_loss": progress.best}
        print(json.dumps({"steps": progress.step, **best, "views": shares}))


def _cache(args: argparse.Namespace) -> None:
    from emo_face.datasets.features import FeatureCache
    from emo_face.datasets.records import read_jsonl
    from emo_face.datasets.views import Pictures
    from emo_face.perception.multiview.checkpoint import load_base, load_encoder
    from emo_face.perception.multiview.fingerprint import fingerprint
    from emo_face.perception.multiview.place import place
    from emo_face.runtime.progress import bar

    records = list(read_jsonl(args.records))
    device, dtype = _device(args)
    base = load_base(args.base, dtype)
    base.language_model = None  # features need no language model
    encoder = place(load_encoder(args.encoder, base), device, "the encoder")
    shares = need_views(records, encoder.config.views, args.records)
    pictures = Pictures.of(args.images, encoder.config, records)
    done = 0
    with bar("features", len(records)) as tick:

        def count(people: int) -> None:
            nonlocal done
            done += people
            tick(done, 0.0)

        cache = FeatureCache(args.out, encoder, files=fingerprint(args.encoder, args.base))
        found = cache.build(records, pictures, args.batch_size, device, count)
    shape = list(found.features.shape)
    print(json.dumps({"people": len(found.ids), "encoded_now": done, "shape": shape, "views": shares}))


def _stage2(args: argparse.Namespace) -> None:
    import shutil

    from emo_face.datasets.features import FeatureCache
    from emo_face.datasets.labelled import labelled
    from emo_face.datasets.records import of_split, read_jsonl
    from emo_face.perception.multiview import checkpoint, fingerprint, head_file
    from emo_face.runtime.progress import bar
    from emo_face.training.multiview import stage2

    records = list(read_jsonl(args.records))
    cache = FeatureCache.reading(args.cache)
    features = cache.load()
    train, validation = of_split(records, "train"), of_split(records, "val")
    shares = need_views([*train, *validation], cache.meta()["views"], args.records)
    name = train[0].label_set
    meta = cache.meta()
    trained_on = meta.get("files", {})
    if args.encoder is not None:
        own = {fingerprint.ADAPTER: fingerprint.adapter_key(args.encoder)}
        fingerprint.check(trained_on, own, args.encoder, "the features come from")
    fusion = FusionConfig(
        name,
        views=tuple(meta["views"]),
        in_features=int(meta["size"]),
        width=args.width,
        attention=not args.no_attention,
        activation=args.activation,
        vad=args.vad,
    )
    data = [labelled(features, part, name) for part in (train, validation)]
    settings = config_of(Stage2Config, args)
    with bar("stage 2", settings.epochs) as tick:
        trained = stage2.train(data[0], data[1], fusion, settings, tick)
    card = dataclasses.replace(trained.card, encoder=trained_on, metrics=trained.card.metrics | {"views": shares})
    head_file.save(args.out, trained.head, card)
    if args.encoder is not None and args.encoder.resolve() != args.out.resolve():
        for file in (checkpoint.WEIGHTS, checkpoint.CARD):
            shutil.copyfile(args.encoder / file, args.out / file)
    result = {key: card.metrics["val"].get(key) for key in ("mAP", "f1", "hamming", "accuracy")}
    print(json.dumps({"validation": result, "epochs": trained.history, "views": shares}))
