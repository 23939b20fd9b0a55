"""``emo-face train contextface`` over files of the true formats, then what it wrote answers and exports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

import cv2

from emo_face.datasets.contexts import face_targets
from emo_face.datasets.contexts import records as context
from fixtures import contexts as synthetic_contexts
from fixtures import tiny_contextface as source


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small CAER-S-C with pictures, targets, VQA and a backbone, all in files."""
    root = tmp_path_factory.mktemp("data")
    samples = synthetic_contexts.make(14, 1)
    rng = np.random.default_rng(0)
    rows = []
    for s in samples:
        cv2.imwrite(str(root / f"{s.id}.png"), rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
        row = {"image": f"{s.id}.png", "emotion": s.word, "situation": s.situation, "quote": s.quote}
        rows.append({**row, "bbox": [5, 5, 20, 30]})
    (root / "contexts.json").write_text(json.dumps(rows))
    records = context.read(root / "contexts.json", "contexts", "train").records
    faces = {Path(r.image).stem: r.id for r in records}
    ids = tuple(faces[s.id] for s in samples)
    empty = {"jaw": np.full((14, 3), np.nan, np.float32), "eyelids": np.full((14, 2), np.nan, np.float32)}
    targets = face_targets.FaceTargets(
        "flame2020", "test", ids, expression=np.stack([s.face for s in samples]).astype(np.float32), **empty
    )
    face_targets.write(root / "targets.npz", targets)
    talk = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "Some cups."}]
    vqa = [{"id": str(i), "image": rows[i]["image"], "conversations": talk} for i in range(4)]
    (root / "vqa.json").write_text(json.dumps(vqa))
    tokenizer = source.tiny_tokenizer("llava", synthetic_contexts.texts())
    source.tiny_base("llava", tokenizer).save_pretrained(root / "backbone")
    tokenizer.save_pretrained(root / "backbone")
    source.tiny_image_processor("llava").save_pretrained(root / "backbone")
    return root


def train(files, out, *more):
    from emo_face.cli.main import main

    words = [
        "--backbone",
        files / "backbone",
        "--contexts",
        files / "contexts.json",
        "--images",
        files,
        "--targets",
        files / "targets.npz",
        "--vqa",
        files / "vqa.json",
        "--vqa-images",
        files,
        "--out",
        out,
        "--epochs",
        1,
        "--gradient-accumulation",
        3,
        "--validation-share",
        0.2,
        "--device",
        "cpu",
        *more,
    ]
    return main(["train", "contextface", *map(str, words)])


def test_train_express_export(files, tmp_path, capsys):
    from emo_face.cli.main import main

    assert train(files, tmp_path / "run") == 0
    said = capsys.readouterr()
    assert "joint validation loss" in said.out
    assert "validation answers are too few to calibrate" in said.err
    assert "micro-batches: about 0.0 GB (weights" in said.err
    card = json.loads((tmp_path / "run" / "best" / "contextface.json").read_text())
    assert "image+situation+quote" in card["config"]["conditions"]
    assert not [name for name in card["config"]["conditions"] if name.startswith("listener")], "no reactions in it"
    assert main(["say", "--tier", "full", "--model", str(tmp_path / "run" / "best"), "We won!", "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert sum(got["probabilities"].values()) == pytest.approx(1.0)
    words = ["--model", tmp_path / "run" / "best", "--out", tmp_path / "onnx", "--json"]
    assert main(["export", "contextface", *map(str, words)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [Path(row["file"]).name for row in rows] == ["head.onnx", "arkit.onnx"]


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_qlora_trains_and_answers(files, tmp_path, capsys, bits):
    pytest.importorskip("bitsandbytes", reason="QLoRA needs bitsandbytes")
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForImageTextToText

    from emo_face.cli.main import main

    tokenizer = source.tiny_tokenizer("llava", synthetic_contexts.texts())
    config = source.tiny_config("llava", tokenizer, 128, 2)
    config.vision_config.hidden_size, config.vision_config.intermediate_size = 128, 256  # 4-bit blocks are 64 wide
    torch.manual_seed(0)
    backbone = tmp_path / "backbone"
    AutoModelForImageTextToText.from_config(config).save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    source.tiny_image_processor("llava").save_pretrained(backbone)
    out = tmp_path / "run"
    assert train(files, out, "--backbone", backbone, "--quantisation", bits, "--checkpointing") == 0
    capsys.readouterr()
    words = ["say", "--tier", "full", "--model", str(out / "best"), "We won!", "--json"]
    answers = []
    for more in (["--quantisation", bits], []):
        assert main([*words, *more]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1.0)
    assert answers[0]["face"] != answers[1]["face"]  # quantised weights were used
    adapter = load_file(str(out / "best" / "adapter.safetensors"))
    assert max(float(value.abs().max()) for name, value in adapter.items() if "lora_B" in name) > 0  # it learned


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--ratios", "1,2"], "--ratios: expected situation,expression,vqa"),
        (["--perspectives", "me"], "perspectives: 'me', expected some of speaker, listener"),
        (["--face-basis", "flame2023"], "targets are flame2020"),
        (["--face-basis", "arkit-52", "--groups", "expression,jaw"], "arkit-52 holds jaw and eyelids already"),
        (["--validation-share", "0"], "validation: name a val split"),
        (["--groups", "jaw"], "groups: expected expression"),
        (["--groups", "expression,jaw"], "3 of 103 outputs have no target"),
        (["--backbone", "/nowhere"], "no config.json"),
    ],
)
def test_mistakes_are_one_line(files, tmp_path, capsys, more, says):
    assert train(files, tmp_path, *more) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_the_recipe_says_what_is_asked(files, tmp_path):
    import argparse

    from emo_face.core.errors import ConfigError
    from emo_face.training.contextface.main import recipe_of

    def recipe(**given):
        names = ("recipe", "perspectives", "words", "pictures", "ratios")
        return recipe_of(argparse.Namespace(**{**dict.fromkeys(names), **given}))

    every = recipe()
    assert len(every.conditions) == 14
    assert recipe(perspectives=("speaker",), words=("quote",)).conditions == ("quote", "image+quote")
    shares = every.shares({"expression/quote": [], "expression/listener/image+quote": [], "vqa": []})
    assert shares == pytest.approx({"expression/quote": 0.1, "expression/listener/image+quote": 0.3, "vqa": 0.3})
    own = tmp_path / "own.yaml"
    own.write_text("version: 1\nwords: [quote]\nratios: {expression: 1}\n")
    assert recipe(recipe=own).shares({"expression/quote": [], "vqa": []}) == {"expression/quote": 1.0, "vqa": 0.0}
    for text, says in (("weights: {quote: 1}", "weights: 'quote', expected one of"), ("ratios: {vqa: -1}", "got -1")):
        own.write_text(f"version: 1\n{text}\n")
        with pytest.raises(ConfigError, match=says):
            recipe(recipe=own)


def test_frames_of_a_group_stay_together():
    from emo_face.datasets.records import Record
    from emo_face.training.contextface.main import hold_out

    records = [Record(str(i), f"{i}.png", "caers7", ("Sad",), group_id=f"g{i // 4}") for i in range(40)]
    train_, held = hold_out(records, 0.3, 0)
    assert len(held) == 12
    assert not {r.group_id for r in train_} & {r.group_id for r in held}
    named = [*records[:4], *(Record("v", "v.png", "caers7", ("Sad",), split="val"),)]
    assert [r.id for r in hold_out(named, 0.3, 0)[1]] == ["v"]


def test_only_tasks_that_are_learned_are_validated(tmp_path, files):
    """A task with the ratio 0 says nothing about the model; its loss would decide which one is best."""
    import argparse

    from emo_face.training.contextface.main import load_tasks, recipe_of

    flags = {"contexts": [files / "contexts.json"], "images": files, "targets": [files / "targets.npz"], "vqa": None}
    flags |= {"face_basis": "flame2020", "validation_share": 0.2, "seed": 0, "style": "paper", "validation_limit": 0}
    flags |= {"recipe": None, "perspectives": ("speaker",), "words": ("quote",), "pictures": ("text",)}
    for ratios, tasks in (("0,1,0", {"expression"}), ("1,1,0", {"expression", "situation"})):
        args = argparse.Namespace(**flags, ratios=ratios)
        _, validation = load_tasks(args, recipe_of(args))
        assert {example.task for example in validation} == tasks
    args.validation_limit = 2
    assert len(load_tasks(args, recipe_of(args))[1]) == 2


def test_dialogues_alone_are_validated_on_a_part_of_them(files, tmp_path, capsys):
    """The first row of the paper's table 3."""
    assert train(files, tmp_path / "run", "--ratios", "0,0,1") == 0
    assert "joint validation loss" in capsys.readouterr().out
    card = json.loads((tmp_path / "run" / "best" / "contextface.json").read_text())
    assert card["validation"]["text"] > 0
    assert card["validation"]["face"] == 0
