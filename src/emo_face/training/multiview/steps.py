"""What each step of the multi-view training does with its parsed flags."""

import argparse
import dataclasses
import json
import os
import shutil
from typing import Any

from emo_face.core.errors import UserError
from emo_face.datasets.qa import templates
from emo_face.datasets.qa.corpus import read_corpus
from emo_face.datasets.records import of_split, read_jsonl
from emo_face.datasets.shares import need_views
from emo_face.perception.multiview import checkpoint, fingerprint, head_file
from emo_face.perception.multiview.ask import load_tokenizers
from emo_face.perception.multiview.checkpoint import load_base, save_encoder
from emo_face.perception.multiview.config import EncoderConfig, FusionConfig
from emo_face.perception.multiview.encoders import FAMILIES, family_of
from emo_face.runtime.progress import bar
from emo_face.runtime.runners import arguments
from emo_face.training.common.arguments import config_of
from emo_face.training.multiview.config import Stage1Config, Stage2Config


def _device(args: argparse.Namespace) -> tuple[str, str]:
    import torch

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {device}: torch sees no GPU here; use --device cpu")
    return device, args.dtype or ("bfloat16" if device.startswith("cuda") else "float32")


def _rank() -> int:
    """Of this process on its machine: each takes a GPU of its own."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def stage1(args: argparse.Namespace) -> None:
    """Tune the encoder on a corpus; the best one is in ``OUT/best``."""
    from emo_face.datasets.views import MultiViewCollator, Pictures
    from emo_face.perception.multiview.vlm import MultiViewVLM
    from emo_face.training.multiview.frozen import quantise
    from emo_face.training.multiview.stage1 import Stage1

    rows = read_corpus(args.corpus)
    shares = need_views([row.record for row in rows], args.views, args.corpus)
    device, dtype = _device(args)
    if device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"  # accelerate chooses a GPU by itself if there is one
    tokenizer, qformer_tokenizer = load_tokenizers(args.base)
    base = load_base(args.base, dtype)
    config = _encoder_config(args, base, qformer_tokenizer, rows[0].record.label_set)
    vlm, settings = MultiViewVLM(base, config), config_of(Stage1Config, args)
    if device.startswith("cuda"):
        _check_memory(vlm, settings)
    quantise(base.language_model, settings.quantisation, f"cuda:{_rank()}" if device == "cuda" else device)
    pictures = Pictures.of(args.images, config, [row.record for row in rows])
    parts = {name: [row for row in rows if row.record.split == name] for name in ("train", "val")}
    collate = MultiViewCollator(pictures, tokenizer, qformer_tokenizer, settings.max_question, settings.max_answer)
    run_ = Stage1(vlm, collate, parts["train"], parts["val"], settings, args.out, str(args.base))
    progress = run_.run()
    if run_.accelerator.is_main_process:
        best = {"best_step": progress.best_step, "validation_loss": progress.best}
        print(json.dumps({"steps": progress.step, **best, "views": shares}))


def _encoder_config(args: argparse.Namespace, base: Any, qformer_tokenizer: Any, label_set: str) -> EncoderConfig:
    told = args.instruction or templates.instruction(label_set)
    ids = tuple(qformer_tokenizer(told, truncation=True, max_length=args.max_question)["input_ids"])
    size = int(base.config.vision_config.image_size)
    made: EncoderConfig = config_of(EncoderConfig, args, image_size=size, instruction=told, instruction_ids=ids)
    return made


def _check_memory(vlm: Any, settings: Stage1Config) -> None:
    import torch

    from emo_face.training.multiview import memory

    vlm.set_trainable()
    memory.check(torch.cuda.mem_get_info(_rank())[0], vlm, settings)


def adapt(args: argparse.Namespace) -> None:
    """Make the encoder of a checkpoint without a language model; with ``--lora-rank`` it learns from labels."""
    from emo_face.datasets.views import Pictures
    from emo_face.perception.multiview.encoders.siglip2 import preprocessing
    from emo_face.training.multiview.adapt import Adapt

    family = family_of(args.base)
    if family is FAMILIES["instructblip"]:
        raise UserError(f"{args.base}: is a checkpoint of {family.kind}, which stage1 tunes; adapt takes the others")
    records = list(read_jsonl(args.records))
    shares = need_views(records, args.views, args.records)
    device, dtype = _device(args)
    eyes = family.load(args.base, dtype)
    size = int(eyes.config.image_size)
    made = config_of(EncoderConfig, args, kind=family.kind, image_size=size, instruction="", **preprocessing(args.base))
    encoder, settings = family.build(eyes, made), config_of(Stage1Config, args)
    done: dict[str, Any] = {"steps": 0}
    if not made.lora_rank:
        save_encoder(args.out / "best", encoder, str(args.base))
    else:
        if device == "cpu":
            os.environ["ACCELERATE_USE_CPU"] = "true"
        pictures = Pictures.of(args.images, made, records)
        progress = Adapt(encoder, pictures, records, settings, args.out, str(args.base)).run()
        done = {"steps": progress.step, "best_step": progress.best_step, "validation_loss": progress.best}
    print(json.dumps({"encoder": str(args.out / "best"), "terms": family.terms, **done, "views": shares}))


def cache(args: argparse.Namespace) -> None:
    """Encode everybody once."""
    from emo_face.datasets.encode import OnDisk
    from emo_face.datasets.features import FeatureCache
    from emo_face.datasets.views import Pictures

    records = list(read_jsonl(args.records))
    device, dtype = _device(args)
    files = fingerprint.fingerprint(args.encoder, args.base)
    source = OnDisk(args.encoder, args.base, dtype, device, files)
    shares = need_views(records, source.config.views, args.records)
    pictures = Pictures.of(args.images, source.config, records)
    with bar("features", len({record.image for record in records})) as tick:
        kept = FeatureCache(args.out, source, files)
        who = arguments.chosen(args, args.out)
        found = kept.build(records, pictures, args.batch_size, args.shards, who, tick)
    print(json.dumps({"people": len(found.ids), "shape": list(found.features.shape), "views": shares}))


def stage2(args: argparse.Namespace) -> None:
    """Train the head on cached features; thresholds and calibration are those of the validation split."""

    from emo_face.datasets.features import FeatureCache
    from emo_face.datasets.labelled import labelled
    from emo_face.training.multiview import stage2 as heads

    records = list(read_jsonl(args.records))
    cached = FeatureCache.reading(args.cache)
    features, meta = cached.load(), cached.meta()
    train, validation = of_split(records, "train"), of_split(records, "val")
    shares = need_views([*train, *validation], meta["views"], args.records)
    name = train[0].label_set
    trained_on = meta.get("files", {})
    if args.encoder is not None:
        own = {fingerprint.ADAPTER: fingerprint.adapter_key(args.encoder)}
        fingerprint.check(trained_on, own, args.encoder, "the features come from")
    views, size = tuple(meta["views"]), int(meta["size"])
    fusion = config_of(FusionConfig, args, label_set=name, views=views, in_features=size)
    data = [labelled(features, part, name) for part in (train, validation)]
    settings = config_of(Stage2Config, args)
    with bar("stage 2", settings.epochs) as tick:
        trained = heads.train(data[0], data[1], fusion, settings, tick)
    card = dataclasses.replace(trained.card, encoder=trained_on, metrics=trained.card.metrics | {"views": shares})
    head_file.save(args.out, trained.head, card)
    if args.encoder is not None and args.encoder.resolve() != args.out.resolve():
        for file in (checkpoint.WEIGHTS, checkpoint.CARD):
            shutil.copyfile(args.encoder / file, args.out / file)
    result = {key: card.metrics["val"].get(key) for key in ("mAP", "f1", "hamming", "accuracy")}
    print(json.dumps({"validation": result, "epochs": trained.history, "views": shares}))
