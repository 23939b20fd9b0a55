"""A recipe: one file to everything; wrong fields are named with their line; kills lose nothing and repeat nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from fake_endpoint import FakeEndpoint

from emo_face.cli import main as cli
from emo_face.core.errors import UserError
from emo_face.core.paths import data_file
from emo_face.training.common.arguments import words_of
from emo_face.training.multiview import estimate, pipeline, recipe
from emo_face.training.multiview.recipe import PACKAGED, CorpusPart, MultiViewRecipe

TINY = """\
version: 1
data: {{set: records, root: {root}/records.jsonl}}
boxes: {{find: false}}
corpus: {{tasks: [classification, pose], balance: false}}
stage1: {{epochs: 1, batch_size: 4, learning_rate: 1.0e-3, save_every: 2, validate_every: 4}}
head: {{width: 16, vad: false}}
stage2: {{epochs: 2, batch_size: 8}}
report: {{rounds: 5, ablations: false}}
export: {{write: false}}
run: {{base: {base}, out: {out}, device: cpu, shards: 3}}
"""
RESULTS = ("records.jsonl", "corpus.jsonl", "stage1/best/encoder.safetensors", "model/head.safetensors")
PRELOADED = ("torch", "transformers.models.instructblip.modeling_instructblip", "accelerate", "emo_face.cli.main")


@pytest.fixture(scope="module")
def base(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    world.vlm().base.save_pretrained(folder)
    world.tokenizer.save_pretrained(folder)
    return folder


def written(world, base, folder, text=TINY):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(text.format(root=world.root, base=base, out=folder / "out"))
    return path


def run(path, *more):
    return cli.main(["train", "multiview", "--recipe", str(path), *more])


def results(out: Path) -> dict[str, bytes]:
    """The bytes of everything that a run makes, shards by name too."""
    shards = [str(path.relative_to(out)) for path in sorted((out / "features").glob("*.safetensors"))]
    return {name: (out / name).read_bytes() for name in (*RESULTS, *shards)}


@pytest.fixture(scope="module")
def whole(world, base, tmp_path_factory):
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(written(world, base, folder)) == 0
    return folder / "out"


def test_one_command_makes_a_model_and_its_report(whole, world, base, capsys):
    report = json.loads((whole / "report" / "report.json").read_text())
    assert report["result"]["n"] == 8
    from emo_face.perception.multiview import model

    assert model.load(whole / "model", base).card.fusion.width == 16
    capsys.readouterr()
    assert run(whole.parent / "tiny.yaml") == 0
    said = capsys.readouterr()
    assert said.err.count("done before") == 5  # all but the records, whose source may have changed
    assert "estimate" in said.err
    assert f"emo-face look PICTURE --tier full --model {whole / 'model'} --base {base}" in said.out
    assert f'feeling this way?" --base {base} --stage1 {whole / "stage1" / "best"}' in said.out


def test_a_changed_field_runs_what_depends_on_it(whole, world, base, tmp_path, capsys):
    import shutil

    out = shutil.copytree(whole, tmp_path / "out", copy_function=shutil.copy2)
    path = written(world, base, tmp_path)
    for step in (out / "steps").glob("*.json"):
        step.write_text(step.read_text().replace(str(whole), str(out)))
    # paths are part of a command, so a moved folder is made anew but for what the steps themselves keep
    assert run(path, "--set", "stage2.epochs=1") == 0
    said = capsys.readouterr()
    assert "epochs" in said.err
    assert results(out)["stage1/best/encoder.safetensors"] == results(whole)["stage1/best/encoder.safetensors"]
    assert results(out)["model/head.safetensors"] != results(whole)["model/head.safetensors"]
    assert run(path, "--set", "stage1.epochs=3") == 2
    assert "made with epochs=1, now 3" in capsys.readouterr().err


FULL = (
    TINY.replace("find: false", "find: true")
    .replace("corpus:", "texts: {{tasks: [pose], provider: http, model: m, endpoint: ENDPOINT}}\ncorpus:")
    .replace("head:", "encoder: {{views: [scene, face]}}\nhead:")
)
"""All steps but the export: boxes found, texts written by a model behind an address."""
POSE = "A woman stands upright with her arms at her sides. Her head is turned to the left."


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    """Twelve pictures of one person, of whom nobody knows where they are."""
    import cv2

    from emo_face.datasets.records import Record, write_jsonl
    from emo_face.runtime.samples import portrait

    folder = tmp_path_factory.mktemp("portraits")
    picture, records = cv2.imread(str(portrait())), []
    for i in range(12):
        cv2.imwrite(str(folder / f"{i}.jpg"), cv2.resize(picture[: 512 - 4 * i], (256, 256)))
        split = "train" if i < 8 else "val" if i < 10 else "test"
        labels = ("Happiness", "Confidence") if i % 2 else ("Peace",)
        records.append(Record(str(i), f"{i}.jpg", "emotic26", labels, split))
    write_jsonl(folder / "records.jsonl", records)
    return folder


def _killable(path: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    raise SystemExit(run(Path(path)))


def killed(portraits, base, folder, kills):
    """Start the recipe again and again and kill it after each new step, a while later; then let it end.

    Returns what it left, and how often each question was asked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, out, rng = folder / "full.yaml", folder / "out", random.Random(0)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    with FakeEndpoint(lambda body, number: POSE) as endpoint:
        text = FULL.replace("ENDPOINT", endpoint.url)
        path.write_text(text.format(root=portraits, base=base, out=out))
        for turn in range(kills + 1):
            process = context.Process(target=_killable, args=(str(path),))
            process.start()
            seen, deadline = progress(out), time.monotonic() + 240
            while turn < kills and process.is_alive() and progress(out) == seen and time.monotonic() < deadline:
                time.sleep(0.002)
            if turn < kills:
                time.sleep(rng.random() * 0.3)
                with contextlib.suppress(ProcessLookupError):  # done before its turn: the later starts find it so
                    os.kill(process.pid, signal.SIGKILL)
            process.join(600)
            assert process.exitcode in (0, -signal.SIGKILL)
        assert process.exitcode == 0
        assert set(endpoint.charged.values()) == {1}
        return {**results(out), **{name: (out / name).read_bytes() for name in MORE}}, endpoint.calls


MORE = ("boxed.jsonl", "told.jsonl")
ASKED_AT_ONCE = 4


def progress(out: Path) -> tuple[str, ...]:
    """Everything that a step leaves while it works."""
    names = ("steps/*.json", "*.shards/*.jsonl", "told.cache/*", "stage1/step-*", "features/*.safetensors", "model/*")
    found = [path for name in (*names, "*.jsonl") for path in out.glob(name)]
    replies = out / "told.cache" / "replies.jsonl"
    size = replies.stat().st_size if replies.is_file() else 0
    return (*sorted(map(str, found)), str(size))


@pytest.fixture(scope="module")
def undisturbed(portraits, base, tmp_path_factory):
    left, calls = killed(portraits, base, tmp_path_factory.mktemp("undisturbed"), 0)
    assert len(calls) == 12
    assert set(calls.values()) == {1}
    assert left["told.jsonl"].count(POSE.encode()) == left["boxed.jsonl"].count(b"bbox_face") == 12
    return left


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_kills_lose_nothing_and_repeat_nothing(portraits, base, undisturbed, tmp_path, kills):
    left, calls = killed(portraits, base, tmp_path, kills)
    assert left == undisturbed
    assert len(calls) == 12
    assert sum(calls.values()) - 12 <= kills * ASKED_AT_ONCE  # only what was under way at a kill is asked again


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("epochs: 1, batch_size: 4", "epochs: 2, batch: 4", r"tiny.yaml:5: stage1: unknown field 'batch'"),
        ("epochs: 1, batch_size: 4", "epochs: two", r"tiny.yaml:5: stage1: epochs: expected int, got 'two'"),
        ("epochs: 1, batch_size: 4", "epochs: 0", r"tiny.yaml:5: stage1: epochs: expected at least 1, got 0"),
        ("boxes:", "box:", r"tiny.yaml:3: unknown section 'box'"),
        ("width: 16", "width: 18", r"tiny.yaml:6: head: width: expected a multiple of heads \(4\), got 18"),
        ("width: 16", "views: [scene]", r"tiny.yaml:6: head.views: follows from encoder.views; leave it out"),
        ("boxes:", "export: {{write: true}}\nboxes:", r"tiny.yaml:10: export: is written twice, first in line 3"),
        ("set: records", "set: raf", r"tiny.yaml:2: data: set: expected one of emotic, caer_s, heco, records"),
        ("version: 1", "version: 7", r"field version: expected 1, got 7"),
        ("[classification, pose]", "[caption]", r"tiny.yaml:4: corpus.tasks: asks no question"),
        ("[classification, pose]", "[classification, poses]", r"tiny.yaml:4: corpus.tasks: unknown task 'poses'"),
        (
            "epochs: 2, batch_size: 8",
            "loss: cross_entropy",
            r"tiny.yaml:7: stage2.loss: cross_entropy is for one",
        ),
        ("write: false", "write: false, tensorrt: true", r"tiny.yaml:9: export.tensorrt: is true, but export.write is"),
        (", device: cpu", ", workers: 0", r"tiny.yaml:10: run: workers: expected at least 1, got 0"),
        ("find: false", "find: perhaps", r"tiny.yaml:3: boxes: find: expected bool, got 'perhaps'"),
        ("{{find: false}}", "yes", r"tiny.yaml:3: boxes: expected fields, got 'yes'"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(world, base, tmp_path, capsys, old, new, text):
    import re

    assert old in TINY
    assert run(written(world, base, tmp_path, TINY.replace(old, new))) == 2
    said = capsys.readouterr().err
    assert re.search(text, said), said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        (
            "emotic",
            {"data.split": "clip_grouped"},
            "--set data.split=clip_grouped: data.split: clip_grouped is a split",
        ),
        (
            "emotic",
            {"boxes.find": "false"},
            "boxes.find: is false, but emotic has no face boxes and",
        ),
        ("caer_s", {"head.vad": "true"}, "head.vad: is true, but caer_s has no valence"),
        ("heco", {"stage2.loss": "asymmetric"}, "stage2.loss: asymmetric is for several labels"),
        ("emotic", {"corpus.tasks": "[classification, rationale]"}, "corpus.tasks: rationale needs texts"),
        ("emotic", {"texts.tasks": "[pose]"}, "texts.model: is not given"),
        (
            "emotic",
            {"texts.tasks": "[pose]", "texts.model": "m", "texts.provider": "http"},
            "texts.endpoint: is not",
        ),
        ("emotic", {"texts.budget": "5"}, "texts.budget: is never spent without texts.price_in"),
        ("emotic", {"encoder.views": "[face, scene]"}, "encoder.views: expected the order scene, body, face"),
        ("emotic", {"export.tensorrt": "true", "run.device": "cpu"}, "export.tensorrt: needs a GPU"),
        ("emotic", {"run.out": ""}, "run.out: is not given"),
        ("emotic", {"epochs": "3"}, "expected SECTION.FIELD=VALUE"),
        ("raf", {}, "packaged recipes: emotic.yaml, caer_s.yaml, heco.yaml"),
    ],
)
def test_contradictions_are_named(name, changes, text):
    given = {"data.root": "D", "run.base": "B", "run.out": "O", **changes}
    with pytest.raises(UserError) as error:
        recipe.read(f"{name}.yaml", given)
    assert text in str(error.value)


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_recipes_are_whole_and_every_choice_reaches_its_command(name):
    given = {"data.root": "D", "run.base": "B", "run.out": "O"}
    found = recipe.read(f"{name}.yaml", given)
    steps = {step.name: step for step in pipeline.plan(found)}
    assert list(steps) == ["records", "boxes", "corpus", "stage1", "cache", "stage2", "report", "export"]
    for step in steps.values():
        from emo_face.cli.main import build_parser

        args = build_parser([step.command[0]]).parse_args(step.command)  # a command that exists, with these flags
        assert args.verb == step.command[0]
    text = data_file(f"recipes/{name}.yaml").read_text()
    for section in dataclasses.fields(MultiViewRecipe):
        assert f"\n{section.name}:" in text
    args = build_parser(["train"]).parse_args(steps["stage2"].command)
    assert args.threshold_rule == found.stage2.threshold_rule
    assert args.loss == found.stage2.loss


def test_no_is_a_word_and_1e_5_a_number(tmp_path):
    """YAML 1.1, which PyYAML reads, has it the other way round: false and a text."""
    path = tmp_path / "own.yaml"
    path.write_text(
        "version: 1\ndata: {set: emotic, root: D}\nrun: {base: B, out: O}\ncorpus: {tasks: [classification]}\n"
        "stage1: {precision: no, learning_rate: 1e-5, weight_decay: 5.E-2, epochs: 3, checkpointing: true}\n"
    )
    given = {
        "data.root": "D",
        "run.base": "B",
        "run.out": "O",
        "stage1.precision": "no",
        "stage1.learning_rate": "1e-5",
    }
    for found in (recipe.read(str(path), {}).stage1, recipe.read("emotic.yaml", given).stage1):
        assert (found.precision, found.learning_rate, found.weight_decay, found.epochs) == ("no", 1e-5, 0.05, 3)
        assert found.checkpointing is True


def test_texts_are_a_step_where_a_model_writes_them():
    given = {"data.root": "D", "run.base": "B", "run.out": "O", "texts.tasks": "[pose, caption]", "texts.model": "VLM"}
    steps = pipeline.plan(recipe.read("emotic.yaml", given))
    told = next(step for step in steps if step.name == "texts")
    assert told.command[told.command.index("--tasks") :][:2] == ["--tasks", "pose,caption"]
    assert next(step for step in steps if step.name == "corpus").inputs == told.outputs


def test_flags_read_back_what_they_were_made_from():
    import argparse

    from emo_face.training.common.arguments import add_fields, config_of

    parser = argparse.ArgumentParser()
    add_fields(parser, CorpusPart)
    changed = CorpusPart(("pose",), "keep", False, 0.25, 3)
    for given in (CorpusPart(), changed):
        assert config_of(CorpusPart, parser.parse_args(words_of(given))) == given


def test_dry_run_prints_the_commands_and_makes_nothing(world, base, tmp_path, capsys):
    assert run(written(world, base, tmp_path), "--dry-run") == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in said][2] == ["emo-face", "train", "multiview"]
    assert not (tmp_path / "out").exists()


def test_two_runs_of_one_folder_do_not_meet(world, base, tmp_path, capsys):
    import fcntl

    path = written(world, base, tmp_path)
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run(path) == 2
    assert "another run works in this folder" in capsys.readouterr().err


def test_a_recipe_without_a_checkpoint_says_so_before_it_works(world, tmp_path, capsys):
    assert run(written(world, tmp_path / "none", tmp_path)) == 2
    assert "fetch a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "out" / "stage1").exists()


def test_the_estimate_at_the_true_size_is_plausible(tmp_path):
    """EMOTIC on an A100 (312 TFLOP/s bf16 peak): hours, not minutes or weeks; memory as docs/multiview.md has it."""
    from transformers import InstructBlipConfig, LlamaConfig

    text = LlamaConfig(vocab_size=32003)
    InstructBlipConfig(text_config=text, image_token_index=32001).save_pretrained(tmp_path)
    given = {"data.root": "D", "run.base": str(tmp_path), "run.out": "O", "run.device": "cpu"}
    found = recipe.read("emotic.yaml", given)
    shape = estimate.shapes(found, tmp_path)
    assert shape.encoder == pytest.approx(1.17e9, rel=0.02)
    assert shape.language == pytest.approx(6.7e9, rel=0.02)
    from emo_face.datasets.records import Record

    people = [Record(str(i), f"{i * 2 // 3}", "emotic26", (), ("train", "test")[i % 3 == 2]) for i in range(33783)]
    needs = estimate.estimate(found, people, shape, 300e12, 26)
    assert 1 < needs["stage1"].seconds / 3600 < 24
    assert 60 < needs["cache"].seconds < 3600
    assert needs["cache"].disk == 2 * 33783 * 3 * 768
