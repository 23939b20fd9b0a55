"""ContextFace as the expression node's backend: context in, one target out; free-form answers; a full GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from tinyworld import PICTURE, tiny

from emo_face.core.errors import ConfigError, ModelError, UserError
from emo_face.core.labels import basic7, label_set
from emo_face.core.types import Box, Emotion, Person, Speech
from emo_face.expression.contextface.backend import ContextFaceExpression, ContextFaceSettings
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.engine import Engine
from emo_face.expression.model import Context, Scene, SeenPerson
from emo_face.runtime.engines.select import Engines

ONE_HOT = np.eye(7)


@pytest.fixture
def engine(of_family):
    world = of_family("llava")
    return Engine(world.model.eval(), world.builder, world.eyes, {"contextface/head.safetensors": "ab"})


def seen(number=1, label="Happy"):
    p = ONE_HOT[basic7().index(label)] * 0.9 + 0.1 / 7
    return SeenPerson(
        Person(f"p{number:05d}", 0.9, Box(10, 10, 40, 60)), Emotion("basic7", p, p > 0.5, 0.5, 0.5, {}, 0.9)
    )


def context(text="", stamp=10.0, image=None, person=None):
    person = person or seen()
    speech = Speech(text, stamp) if text else None
    return Context(stamp, Scene(stamp, 120, 90, (person,), image), person, speech)


class TestExpress:
    def test_words_give_a_target_with_everything_filled(self, engine):
        backend = ContextFaceExpression(engine, ContextFaceSettings(perspective="mirror"))
        target = backend.express(context("We won the match!"), 10.0)
        assert (target.source, target.basis, target.stamp, target.person_id) == (
            "contextface",
            "flame2020",
            10.0,
            "p00001",
        )
        assert target.feels.label_set == "caers7"
        assert target.feels.probabilities.sum() == pytest.approx(1.0)
        assert target.shown.name == label_set("caers7").labels[int(np.argmax(target.feels.probabilities))]
        assert target.confidence == pytest.approx(target.feels.probabilities.max())
        assert target.keyframes[0].coefficients.shape == (100,)
        assert np.abs(target.keyframes[0].coefficients).max() > 0
        assert target.text.startswith("Considering the quote, the person expresses ")
        assert np.linalg.norm(target.keyframes[0].jaw_pose) <= 0.6 + 1e-9
        assert ((target.keyframes[0].eyelids >= 0) & (target.keyframes[0].eyelids <= 1)).all()
        assert backend.hashes == {"contextface/head.safetensors": "ab"}

    def test_intensity_scales_the_face(self, engine):
        weak, strong = (
            ContextFaceExpression(engine, ContextFaceSettings(intensity=i)).express(context("oh"), 10.0)
            for i in (0.4, 0.8)
        )
        np.testing.assert_allclose(strong.keyframes[0].coefficients, 2 * weak.keyframes[0].coefficients, rtol=1e-6)
        assert weak.shown.intensity <= 0.4

    def test_map_and_mean_differ_as_the_answer_says(self, engine):
        answer = engine.answer(quote="oh")
        for decision in ("map", "mean"):
            settings = ContextFaceSettings(decision=decision, intensity=1.0, perspective="mirror")
            target = ContextFaceExpression(engine, settings).express(context("oh"), 10.0)
            np.testing.assert_allclose(target.keyframes[0].coefficients, answer.face(decision)[:100], atol=1e-6)

    def test_mirror_asks_for_the_speaker_and_listener_for_the_other(self, engine):
        mirror, listener = (
            ContextFaceExpression(engine, ContextFaceSettings(perspective=p)).express(context("oh"), 10.0)
            for p in ("mirror", "listener")
        )
        assert np.abs(mirror.keyframes[0].coefficients - listener.keyframes[0].coefficients).max() > 1e-6
        assert (mirror.perspective, listener.perspective) == ("mirror", "listener")

    def test_silence_without_a_picture_is_answered_by_the_prototypes(self, engine):
        target = ContextFaceExpression(engine).express(context(), 10.0)
        assert (target.source, target.basis) == ("prototypes", "open-ict-1")
        assert ContextFaceExpression(engine).express(Context(3.0), 3.0).shown.name == "Neutral"

    def test_the_same_situation_is_not_computed_twice(self, engine, monkeypatch):
        calls = []
        real = engine.answer
        monkeypatch.setattr(engine, "answer", lambda *a: calls.append(a) or real(*a))
        backend = ContextFaceExpression(engine, ContextFaceSettings(image_period=2.0))
        first = backend.express(context("oh", 10.0, PICTURE), 10.0)
        second = backend.express(context("oh", 10.1, 255 - PICTURE), 10.1)
        assert len(calls) == 1  # the picture is young: kept
        assert (first.stamp, second.stamp) == (10.0, 10.1)
        backend.express(context("oh", 12.5, 255 - PICTURE), 12.5)
        assert len(calls) == 2  # too old: the new one is taken
        backend.express(context("no", 12.6, PICTURE), 12.6)
        assert len(calls) == 3
        assert engine.onepass is not None
        other = context("no", 12.7, PICTURE, seen(2))
        backend.express(other, 12.7)
        assert len(calls) == 4  # another person: another box

    def test_the_persons_box_is_scaled_to_the_picture(self, engine, monkeypatch):
        boxes = []
        real = engine.answer
        monkeypatch.setattr(engine, "answer", lambda *a: boxes.append(a[3]) or real(*a))
        half = PICTURE[::2, ::2].copy()
        ContextFaceExpression(engine).express(context("oh", image=half), 10.0)
        assert boxes == [Box(5, 5, 20, 30)]

    def test_a_forced_emotion_takes_that_branch(self, engine):
        backend = ContextFaceExpression(engine, ContextFaceSettings(intensity=1.0))
        answer = engine.answer(quote="oh")
        target = backend.target(answer, Context(1.0), "quote", emotion="Fear", intensity=0.5)
        np.testing.assert_allclose(
            target.keyframes[0].coefficients, 0.5 * answer.faces[answer.words.index("Fear"), :100]
        )
        assert target.shown.name == "Fear"

    def test_without_jaw_outputs_the_prototypes_open_the_mouth(self):
        world = tiny(config=ContextFaceConfig())
        backend = ContextFaceExpression(Engine(world.model.eval(), world.builder, world.eyes))
        answer = replace(backend.ask("oh"), probabilities=np.array([0, 0, 1.0, 0, 0, 0, 0]))
        assert backend.target(answer, Context(1.0), "quote").keyframes[0].jaw_pose[0] > 0.02  # Surprise

    @pytest.mark.parametrize("basis", ["open-ict-1", "arkit-52"])
    def test_a_head_of_an_open_basis_is_shown_without_flame(self, basis):
        """Through the message's own types to the driver's player: what the head gives is what the face shows."""
        from emo_face.face.motion.motion import FaceMotion
        from emo_face.face.motion.player import Bases, FacePlayer

        world = tiny(config=ContextFaceConfig(face_basis=basis))
        with torch.no_grad():
            world.model.head.mean.fill_(0.5)
            world.model.head.std.fill_(0.01)
        backend = ContextFaceExpression(
            Engine(world.model.eval(), world.builder, world.eyes), ContextFaceSettings(intensity=1.0)
        )
        target = backend.express(context("We won!"), 10.0)
        assert (target.basis, target.source) == (basis, "contextface")
        assert target.keyframes[0].coefficients.shape == ((52,) if basis == "arkit-52" else (100,))
        player = FacePlayer(FaceMotion(0.02, layers=()), Bases())
        assert player.show(target, 0.0, 1.0) == ""
        assert not player.stand_in
        for step in range(40):
            face = player.tick(1.0 + 0.02 * step)
        assert face.max() > 0.3
        if basis == "arkit-52":
            assert np.median(face) == pytest.approx(0.5, abs=0.1)

    def test_a_timed_face_comes_stays_and_goes_on_when_it_is_published_again(self, engine):
        settings = ContextFaceSettings(timed=True, intensity=1.0)
        backend, still = (
            ContextFaceExpression(engine, settings),
            ContextFaceExpression(engine, replace(settings, timed=False)),
        )
        first, again = backend.express(context("oh", 10.0), 10.2), backend.express(context("oh", 10.5), 10.6)
        apex = still.express(context("oh", 10.0), 10.2).keyframes[0]
        frames = first.keyframes
        assert [frame.offset for frame in frames] == sorted(frame.offset for frame in frames)
        assert np.abs(frames[0].coefficients).max() == 0
        np.testing.assert_array_equal(frames[1].coefficients, apex.coefficients)
        assert 0 < np.linalg.norm(frames[-1].jaw_pose) < np.linalg.norm(apex.jaw_pose)
        other = replace(context("oh", 11.0), speech=Speech("oh", 11.0))
        assert (first.start, again.start) == (10.2, 10.6), "the second was said half a second later"
        same = backend.express(replace(context("oh", 10.9), speech=Speech("oh", 10.5)), 10.9)
        assert same.start == 10.6
        assert same.stamp + same.valid_for >= same.start + frames[-1].offset
        assert backend.express(other, 11.0).start == 11.0
        assert backend.express(context("", 12.0), 12.0).keyframes[0].offset == 0

    def test_nan_is_not_published(self):
        world = tiny()
        backend = ContextFaceExpression(Engine(world.model.eval(), world.builder, world.eyes))
        with torch.no_grad():
            world.model.head.outer.bias[3] = float("inf")
        with pytest.raises(ModelError, match="not finite"):
            backend.express(context("oh"), 10.0)

    def test_settings_are_checked(self):
        with pytest.raises(ConfigError, match=r"contextface.decision: 'best', expected one of map, mean"):
            ContextFaceSettings(decision="best")

    def test_no_model_folder_is_said(self):
        from emo_face.nodes.backends import contextface_model

        with pytest.raises(ConfigError, match=r"contextface.model: is empty"):
            contextface_model({"contextface.model": ""}, Engines("cpu"))


class TestFullGpu:
    """What an out-of-memory error leads to; raised here by hand, as there is no GPU to fill."""

    def full(self, engine, monkeypatch, times, only_with_picture=False):
        real, calls = engine.onepass.answer, []

        def answer(quote, situation, picture, perspective):
            calls.append(picture is not None)
            if len(calls) <= times and (picture is not None or not only_with_picture):
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(quote, situation, picture, perspective)

        monkeypatch.setattr(engine.onepass, "answer", answer)
        return calls

    def test_first_the_cache_goes(self, engine, monkeypatch):
        calls = self.full(engine, monkeypatch, 1)
        engine.answer("oh", image=PICTURE)
        assert calls == [True, True]
        assert "without the prefix cache" in engine.degraded

    def test_then_the_picture_and_the_backend_warns(self, engine, monkeypatch, caplog):
        calls = self.full(engine, monkeypatch, 9, only_with_picture=True)
        backend = ContextFaceExpression(engine)
        target = backend.express(context("oh", image=PICTURE), 10.0)
        assert calls == [True, True, False]
        assert np.isfinite(target.keyframes[0].coefficients).all()
        assert "without the picture" in backend.warning
        assert "4bit" in caplog.text
        backend.express(context("fine again"), 11.0)
        assert backend.warning == ""

    def test_in_the_end_it_says_so(self, engine, monkeypatch):
        self.full(engine, monkeypatch, 9)
        with pytest.raises(UserError, match="GPU memory is full even for the words"):
            engine.answer("oh", image=PICTURE)


class TestTalk:
    """Free-form answers."""

    @pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
    def test_streams_what_generate_makes(self, of_family, family):
        world = of_family(family)
        engine = Engine(world.model.eval(), world.builder, world.eyes)
        pieces = list(engine.ask("What is it?", "oh", PICTURE, max_new_tokens=12))
        from emo_face.expression.contextface.prompts import chat_question

        ids = torch.tensor([world.builder.prompt(chat_question("What is it?", "oh", boxed=False))])
        vision = world.eyes.tensors([world.eyes.fitted(PICTURE)])
        if family.startswith("qwen"):
            vision["mm_token_type_ids"] = (ids == world.model.image_id).int()
        made = world.model.base.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), **vision, max_new_tokens=12, do_sample=False
        )
        text = world.tokenizer.decode(made[0, ids.shape[1] :]).split(world.tokenizer.eos_token)[0]
        assert "".join(pieces) == text.rstrip("\ufffd")

    def test_stops_when_told(self, engine):
        left = iter([False, False, False, True])
        assert len(list(engine.ask("What?", stop=lambda: next(left)))) <= 3

    def test_needs_something_to_go_by(self, engine):
        with pytest.raises(UserError, match="question: a question or a quote is needed"):
            list(engine.ask())

    def test_an_expression_does_not_wait_for_a_long_answer(self, engine):
        import threading
        import time

        done = []
        talk = engine.ask("What?", max_new_tokens=400)
        thread = threading.Thread(target=lambda: done.extend(talk))
        thread.start()
        start = time.perf_counter()
        engine.answer("now!")
        first = time.perf_counter() - start
        alive = thread.is_alive()
        thread.join()
        assert alive, "the answer was over before the expression came; make it longer"
        assert first < time.perf_counter() - start - first
