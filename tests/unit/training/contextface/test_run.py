"""The recipe: joint loss, whole data, exact resume, whole validation, the best model kept; and that it learns."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

from safetensors.torch import load_file
from tinyworld import PICTURE, context_tasks, tiny

from emo_face.core.errors import ConfigError, UserError
from emo_face.datasets.contexts.mixture import Mixture
from emo_face.expression.contextface import checkpoint
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.prompts import (
    Example,
    FaceTarget,
    Turn,
    expression_answer,
    expression_question,
    vqa_answer,
    vqa_question,
    words,
)
from emo_face.training.contextface.config import ContextFaceTraining
from emo_face.training.contextface.data import ContextFaceCollator, all_targets
from emo_face.training.contextface.loss import face_loss
from emo_face.training.contextface.run import ContextFaceRun
from fixtures import contexts as synthetic_contexts
from fixtures import tiny_contextface as source

CONFIG = ContextFaceConfig(lora_dropout=0.1)
SHORT = ContextFaceTraining(
    epochs=1, gradient_accumulation=2, learning_rate=2e-3, warmup=2, validate_every=3, save_every=2
)


def parts(count=21, seed=0, config=CONFIG):
    world = tiny(config=config, stir=False, seed=seed, texts=synthetic_contexts.texts())
    samples = synthetic_contexts.make(count, 1)
    mixture = Mixture(context_tasks(samples), batch=4, seed=0)
    validation = context_tasks(synthetic_contexts.make(7, 2))
    return world, mixture, validation["expression"] + validation["situation"]


def a_run(folder, settings=SHORT, **options):
    world, mixture, validation = parts(**options)
    collate = ContextFaceCollator(world.builder, world.eyes, world.model.config)
    return ContextFaceRun(world.model, collate, mixture, validation, settings, folder, "tiny"), world


def weights(run):
    return {n: p.detach().clone() for n, p in run.bare.named_parameters() if p.requires_grad}


class TestRun:
    def test_a_killed_run_goes_on_bit_for_bit(self, tmp_path):
        whole, _ = a_run(tmp_path / "whole")
        whole.run()
        first, _ = a_run(tmp_path / "killed")
        first.run(stop_after=5)  # saved at 4: one step is done again
        second, _ = a_run(tmp_path / "killed")
        second.run()
        assert second.progress == whole.progress
        for name, value in weights(whole).items():
            assert torch.equal(value, weights(second)[name]), name
        assert torch.equal(whole.bare.head.centre, second.bare.head.centre)
        steps = sorted(folder.name for folder in (tmp_path / "whole").glob("step-*"))
        assert len(steps) <= 2  # old ones go, and none holds the backbone
        saved = set(load_file(str(tmp_path / "whole" / steps[-1] / "weights.safetensors")))
        assert all(".lora_" in n or "trainable_tokens" in n or n.startswith("head.") for n in saved)

    def test_another_setting_is_not_resumed(self, tmp_path):
        a_run(tmp_path)[0].run(stop_after=2)
        with pytest.raises(UserError, match=r"made with learning_rate=0.002, now 0.1"):
            a_run(tmp_path, replace(SHORT, learning_rate=0.1))[0].run()
        with pytest.raises(UserError, match=r"made with model.lora_alpha=16, now 4"):
            a_run(tmp_path, config=replace(CONFIG, lora_alpha=4))[0].run()
        changed, _ = a_run(tmp_path)
        changed.mixture.tasks["expression"][3] = replace(changed.mixture.tasks["expression"][3], label="Sad")
        with pytest.raises(UserError, match=r"made with data.examples='\w+', now '\w+'; .*or choose another --out"):
            changed.run()

    def test_the_best_model_is_kept_and_loads(self, tmp_path):
        run, _ = a_run(tmp_path, replace(SHORT, epochs=2))
        before = run.validate()["loss"]
        progress = run.run()
        card = json.loads((tmp_path / "best" / checkpoint.CARD).read_text())
        assert card["step"] == progress.best_step
        assert progress.best == card["validation"]["loss"] < before
        tokenizer = source.tiny_tokenizer("llava", synthetic_contexts.texts())
        loaded = checkpoint.load_model(tmp_path / "best", source.tiny_base("llava", tokenizer), tokenizer)
        assert torch.equal(loaded.head.mean, run.bare.head.mean)
        assert loaded.head.std.min() > 0

    def test_the_head_reads_states_around_their_mean_and_is_saved_without_it(self, tmp_path):
        run, world = a_run(tmp_path, replace(SHORT, gradient_accumulation=5, centring=0.25, validate_every=1))
        states = run.collate([e for e in run.validation if e.task == "expression"])
        run.run(stop_after=1)
        first = run.bare.head.centre.clone()
        assert first.abs().max() > 0.1, "the mean of the first step"
        assert not run.states
        run.run(stop_after=2)
        assert 0 < (run.bare.head.centre - first).abs().max() < 0.5
        with torch.no_grad():
            trained = run.bare.eval()(states).faces
            checkpoint.put_back(tmp_path / "best", world.model)
            assert world.model.head.centre is None
            torch.testing.assert_close(world.model(states).faces, trained, atol=1e-5, rtol=1e-4)
        plain, _ = a_run(tmp_path / "paper", replace(SHORT, centring=0.0))
        plain.run(stop_after=1)
        assert plain.bare.head.centre is None

    def test_faces_differ_between_emotions_though_the_states_are_alike(self, tmp_path):
        """Done beforehand here, by itself in a long training: <FACE>'s own part of its states drowns the rest."""
        directions = np.random.default_rng(0).normal(size=(7, 100))
        examples = [
            Example(word, "expression", (turn,), label=word, target=FaceTarget(0.4 * directions[place]))
            for place, word in enumerate(words())
            for turn in [Turn(expression_question(quote=f"a {word} thing"), expression_answer("quote", word))]
        ]
        truth = np.stack([example.target.expression for example in examples])

        def error(centring):
            world = tiny("llama", ContextFaceConfig(lora_dropout=0.0, chat="chatml"), stir=False, layers=1)
            row = next(p for name, p in world.model.named_parameters() if "embed_tokens" in name and p.requires_grad)
            with torch.no_grad():
                row.add_(0.2 * torch.randn(row.shape, generator=torch.Generator().manual_seed(5)))
            settings = replace(SHORT, epochs=40, gradient_accumulation=1, learning_rate=0.03, validate_every=100)
            settings = replace(settings, save_every=100, batch_size=7, centring=centring, packed=True)
            collate = ContextFaceCollator(world.builder, world.eyes, world.model.config, packed=True)
            mixture = Mixture({"expression": examples}, {"expression": 1.0}, batch=7)
            run = ContextFaceRun(world.model, collate, mixture, examples[:1], settings, tmp_path / str(centring))
            run.run()
            with torch.no_grad():
                return float(((run.bare.eval()(collate(examples)).faces.numpy() - truth) ** 2).mean())

        one_face = float(((truth.mean(0) - truth) ** 2).mean())
        assert error(0.25) < 0.8 * one_face, "it knows more than the mean face"  # .69
        assert error(0.0) > 0.95 * one_face, "without centring it gives that one for all"  # .99

    def test_every_sample_is_seen_and_a_step_mixes_tasks(self, tmp_path, monkeypatch):
        run, _ = a_run(tmp_path, replace(SHORT, gradient_accumulation=10))
        seen = []
        real = run._micro_step
        monkeypatch.setattr(
            run, "_micro_step", lambda rows, batch: seen.append([(e.task, e.id) for e in rows]) or real(rows, batch)
        )
        run.run()
        for task, examples in run.mixture.tasks.items():
            assert {e.id for e in examples} == {i for batch in seen for t, i in batch if t == task}
        assert len({batch[0][0] for batch in seen[:10]}) == 3

    def test_validation_is_the_whole_set_in_eval_mode_and_does_not_depend_on_the_batch(self, tmp_path):
        run, _ = a_run(tmp_path)
        one = run.validate()
        assert not run.model.training
        run.config = replace(run.config, validation_batch=3)
        two = run.validate()
        for name in one:
            assert one[name] == pytest.approx(two[name], rel=1e-5)
        assert one == run.validate() or one["loss"] == pytest.approx(run.validate()["loss"])

    def test_an_exploding_loss_names_the_examples(self, tmp_path):
        run, world = a_run(tmp_path)
        with torch.no_grad():
            world.model.head.outer.bias.fill_(float("nan"))
            world.model.head.mean.fill_(float("nan"))
        with pytest.raises(UserError, match=r"loss is nan at step \d .*w1-"):
            run.run()

    def test_bf16_and_checkpointing_run(self, tmp_path):
        run, _ = a_run(tmp_path, replace(SHORT, precision="bf16", checkpointing=True))
        progress = run.run(stop_after=3)
        assert np.isfinite(progress.best)
        assert all(p.dtype == torch.float32 for p in weights(run).values())

    @pytest.mark.parametrize(
        ("field", "value", "says"),
        [
            ("gradient_accumulation", 0, "gradient_accumulation"),
            ("face_loss", "l3", "mse, sum, l1, huber"),
            ("precision", "fp8", "bf16"),
            ("centring", 1.5, "centring: expected 0 to 1"),
        ],
    )
    def test_settings_are_checked(self, field, value, says):
        with pytest.raises(ConfigError, match=says):
            replace(SHORT, **{field: value})

    def test_no_validation_no_run(self, tmp_path):
        world, mixture, _ = parts()
        with pytest.raises(UserError, match="no validation examples"):
            ContextFaceRun(world.model, None, mixture, [], SHORT, tmp_path)


class TestLoss:
    """The four losses on the same error."""

    config = ContextFaceConfig(groups=("expression", "jaw"))

    def value(self, kind, faces, targets, present=None, std=None, weights=None):
        present = torch.ones_like(targets, dtype=torch.bool) if present is None else present
        std = torch.ones(103) if std is None else std
        return float(face_loss(faces, targets, present, std, self.config, kind, weights or {"jaw": 0.0}))

    def test_sum_is_a_hundred_times_mse(self):
        faces, targets = torch.randn(5, 103), torch.randn(5, 103)
        mse = self.value("mse", faces, targets)
        assert mse == pytest.approx(float(((faces - targets)[:, :100] ** 2).mean()), rel=1e-5)
        assert self.value("sum", faces, targets) == pytest.approx(100 * mse, rel=1e-5)  # equation 4 as printed

    def test_l1_and_huber(self):
        faces, targets = torch.zeros(1, 103), torch.zeros(1, 103)
        targets[0, :100] = 3.0
        assert self.value("l1", faces, targets) == pytest.approx(3.0)
        assert self.value("huber", faces, targets) == pytest.approx(2.5)

    def test_jaw_counts_in_standard_deviations_and_missing_jaws_do_not(self):
        faces, targets = torch.zeros(2, 103), torch.zeros(2, 103)
        targets[:, 100:], std = 0.2, torch.full((103,), 0.1)
        present = torch.ones(2, 103, dtype=torch.bool)
        assert self.value("mse", faces, targets, present, std, {"jaw": 0.5}) == pytest.approx(0.5 * 4.0, rel=1e-5)
        present[1, 100:] = False
        targets[1, 100:] = float("nan")
        assert self.value("mse", faces, targets, present, std, {"jaw": 0.5}) == pytest.approx(0.5 * 4.0, rel=1e-5)

    def test_without_faces_it_is_zero_and_has_a_gradient(self):
        faces = torch.zeros(0, 103, requires_grad=True)
        loss = face_loss(
            faces, torch.zeros(0, 103), torch.zeros(0, 103, dtype=torch.bool), torch.ones(103), self.config, "mse", {}
        )
        assert float(loss.detach()) == 0.0
        loss.backward()


class TestBatches:
    @pytest.fixture
    def world(self):
        world = tiny(config=ContextFaceConfig(groups=("expression", "jaw")))
        world.model.eval()
        return world

    def example(self, **changes):
        turn = Turn(expression_question(quote="oh"), expression_answer("quote", "Happy"))
        target = FaceTarget(np.full(100, 0.5), np.array([0.1, 0, 0]))
        return replace(Example("e1", "expression", (turn,), target=target), **changes)

    def test_text_alone_encodes_no_picture(self, world, monkeypatch):
        batch = ContextFaceCollator(world.builder, world.eyes, world.model.config)(
            [self.example(), self.example(id="e2")]
        )
        assert batch.vision == {}
        monkeypatch.setattr(world.model.base.model, "get_image_features", lambda *a, **k: pytest.fail("encoded"))
        assert world.model(batch).faces.shape == (2, 103)

    def test_faces_vary_in_number_and_mixed_batches_work(self, world, tmp_path):
        import cv2

        file = tmp_path / "p.png"
        cv2.imwrite(str(file), cv2.cvtColor(PICTURE[:, :, 0], cv2.COLOR_GRAY2BGR)[:, :, 0])  # a grey file is read too
        vqa = Example("v", "vqa", (Turn(vqa_question("What?"), vqa_answer("A cup.")),), image=file)
        batch = ContextFaceCollator(world.builder, world.eyes, world.model.config)(
            [vqa, self.example(), vqa, self.example()]
        )
        assert batch.targets.shape == (2, 103)
        assert batch.vision["pixel_values"].shape[0] == 2
        output = world.model(batch)
        assert output.faces.shape == (2, 103)
        alone = world.model(ContextFaceCollator(world.builder, world.eyes, world.model.config)([self.example()]))
        torch.testing.assert_close(output.faces[1], alone.faces[0], atol=2e-5, rtol=1e-4)

    def test_examples_are_not_changed(self, world):
        example = self.example()
        before = repr(example)
        ContextFaceCollator(world.builder, world.eyes, world.model.config)([example, example])
        assert repr(example) == before

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"target": FaceTarget(np.zeros(50))}, r"e1: field 'expression': expected 100 finite numbers, got \(50,\)"),
            ({"target": FaceTarget(np.full(100, np.nan))}, "expected 100 finite"),
            ({"target": FaceTarget(np.zeros(100), basis="flame2023")}, "face target is in flame2023"),
            ({"turns": (Turn(vqa_question("a", False), vqa_answer("b")),)}, "0 <FACE> in its answers, expected 1"),
            ({"turns": (Turn(vqa_question("a"), expression_answer("quote", "Sad")),)}, "none is given"),
        ],
    )
    def test_bad_examples_are_named(self, world, changes, says):
        with pytest.raises(UserError, match=says):
            ContextFaceCollator(world.builder, world.eyes, world.model.config)([self.example(**changes)])

    def test_a_face_cut_off_takes_its_target_along(self, world):
        short = replace(world.model.config, max_tokens=30)
        batch = ContextFaceCollator(world.builder, world.eyes, short)([self.example()])
        assert batch.input_ids.shape[1] == 30
        assert batch.targets.shape[0] == 0
        assert world.model(batch).faces.shape[0] == 0

    def test_statistics_come_from_the_training_targets(self):
        examples = [self.example(id=str(i), target=FaceTarget(np.full(100, float(i)), np.zeros(3))) for i in range(4)]
        targets, present = all_targets(
            [*examples, self.example(target=None)], ContextFaceConfig(groups=("expression", "jaw"))
        )
        assert targets.shape == (4, 103)
        assert present.all()
        with pytest.raises(UserError, match="no example has a face target"):
            all_targets([self.example(target=None)], CONFIG)
