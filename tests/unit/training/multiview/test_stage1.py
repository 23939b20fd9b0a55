"""Stage 1: what is learned, what stays frozen, and a killed run that goes on bit for bit."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from emo_face.core.errors import ConfigError, ModelError, UserError
from emo_face.core.labels import label_set
from emo_face.core.types import Box
from emo_face.datasets.qa import corpus, templates
from emo_face.datasets.records import Record
from emo_face.perception.multiview.checkpoint import own_state
from emo_face.perception.multiview.vlm import IGNORED, MultiViewBatch
from emo_face.training.common import checkpoints
from emo_face.training.common.order import Order
from emo_face.training.common.schedule import learning_rate_at
from emo_face.training.multiview import frozen
from emo_face.training.multiview.config import Stage1Config
from emo_face.training.multiview.stage1 import Stage1

QUICK = Stage1Config(
    epochs=2,
    batch_size=4,
    gradient_accumulation=2,
    learning_rate=3e-3,
    warmup=2,
    validate_every=3,
    save_every=2,
    validation_rows=6,
)


def stage1(world, out, config=QUICK, vlm=None):
    return Stage1(vlm or world.vlm(), world.collator(), world.split("train"), world.split("val"), config, out)


def test_one_view_alone_is_the_original_instructblip(world):
    """With only the scene view, loss and logits are those of the library's own model."""
    config = dataclasses.replace(world.config, views=("scene",))
    vlm = world.vlm(config=config).eval()
    batch = world.collator(config)(world.rows[:3])
    with torch.no_grad():
        ours, every = vlm(batch), vlm(dataclasses.replace(batch, labels=None))
        places = torch.full((3, 4), vlm.base.config.image_token_index)
        theirs = vlm.base(
            pixel_values=batch.images["scene"],
            qformer_input_ids=batch.question_ids,
            qformer_attention_mask=batch.question_mask,
            input_ids=torch.cat([places, batch.input_ids], 1),
            attention_mask=torch.cat([torch.ones_like(places), batch.attention_mask], 1),
            labels=torch.cat([torch.full_like(places, IGNORED), batch.labels], 1),
        )
    torch.testing.assert_close(every.logits, theirs.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.loss, theirs.loss)
    assert len(ours.logits) == (batch.labels != IGNORED).sum()  # scores of the answers alone


def test_only_answers_are_learned(world):
    rows = world.rows[:4]
    batch = world.collator()(rows)
    for row, labels, ids in zip(rows, batch.labels, batch.input_ids, strict=True):
        learned = labels[labels != IGNORED].tolist()
        expected = world.tokenizer(row.answer, add_special_tokens=False)["input_ids"] + [world.tokenizer.eos_token_id]
        assert learned == expected
        assert ids[labels != IGNORED].tolist() == expected
    vlm = world.vlm().eval()
    with torch.no_grad():
        logits, loss = vlm(dataclasses.replace(batch, labels=None)).logits, vlm(batch).loss
    tokens = 12
    flat = torch.nn.functional.cross_entropy(
        logits[:, tokens - 1 : -1].flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED
    )
    torch.testing.assert_close(loss, flat)


def test_a_missing_view_is_masked_not_zero(world):
    vlm = world.vlm().eval()
    batch = world.collator()(world.rows[:1])
    without = MultiViewBatch(
        {**batch.images, "face": batch.images["face"][:0]},
        torch.tensor([[0, 0, -1]]),
        batch.question_ids,
        batch.question_mask,
        batch.input_ids,
        batch.attention_mask,
        batch.labels,
    )
    _, mask = vlm.image_tokens(without)
    assert mask[0].tolist() == [1] * 8 + [0] * 4
    with torch.no_grad():
        before = vlm(without).loss
        vlm.encoder.queries["face"].add_(torch.randn_like(vlm.encoder.queries["face"]))
        torch.testing.assert_close(vlm(without).loss, before)


def test_frozen_stays_frozen_and_the_rest_learns(world, tmp_path):
    vlm = world.vlm()
    before = {name: value.clone() for name, value in vlm.state_dict().items()}
    run = stage1(world, tmp_path, dataclasses.replace(QUICK, epochs=3), vlm)
    start = run.validate()["loss"]
    progress = run.run()
    moved = {name for name, value in vlm.state_dict().items() if not torch.equal(value, before[name])}
    assert not [n for n in moved if "language_model" in n or "vision" in n]
    assert {n.split(".")[1] for n in moved if n.startswith("encoder.")} == {"qformers", "queries", "projections"}
    assert progress.best < start
    card = json.loads((tmp_path / "best" / "encoder.json").read_text())
    assert card["validation_loss"] == progress.best
    assert card["step"] == progress.best_step


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_killed_run_goes_on_bit_for_bit(world, tmp_path, precision):
    config = dataclasses.replace(QUICK, precision=precision, checkpointing=precision == "bf16")
    whole = stage1(world, tmp_path / "whole", config)
    layers = [m for m in whole.model.modules() if hasattr(m, "gradient_checkpointing")]
    assert any(m.gradient_checkpointing for m in layers) == config.checkpointing
    whole.run()
    killed = stage1(world, tmp_path / "killed", config)
    killed.run(stop_after=5)  # saved at 4, so one step is lost and done again
    torch.rand(7)  # another random state, as a new process has
    other = world.vlm()  # the same frozen model; what is trained must come from the checkpoint
    with torch.no_grad():
        for parameter in (*other.encoder.qformers.parameters(), *other.encoder.queries.parameters()):
            parameter.normal_()
    again = stage1(world, tmp_path / "killed", config, other)
    progress = again.run()
    assert progress.step == whole.progress.step == 14
    assert progress.best == whole.progress.best
    for name, value in own_state(whole.encoder).items():
        assert torch.equal(value, own_state(again.encoder)[name]), name
    assert len(list((tmp_path / "killed").glob("step-*"))) <= checkpoints.KEEP


def test_resume_with_other_settings_is_refused(world, tmp_path):
    stage1(world, tmp_path).run(stop_after=2)
    with pytest.raises(UserError, match=r"learning_rate=0\.003, now 0\.1"):
        stage1(world, tmp_path, dataclasses.replace(QUICK, learning_rate=0.1)).run()


def test_accumulation_is_a_larger_batch(world, tmp_path):
    """Without dropout, two micro-batches of equal answer length move the weights as one of both."""
    rows = [row for row in world.split("train") if row.task == "pose"][:4]
    states = []
    for batch, accumulate in ((4, 1), (2, 2)):
        vlm = still(world.vlm())
        config = dataclasses.replace(QUICK, epochs=1, batch_size=batch, gradient_accumulation=accumulate)
        run = Stage1(vlm, world.collator(), rows, rows, config, tmp_path / f"{batch}")
        step, found = run.optimizer.step, {}

        def record(step=step, found=found, run=run):
            found.update({n: p.grad.clone() for n, p in run.encoder.named_parameters() if p.grad is not None})
            step()

        run.optimizer.step = record
        run.run()
        states.append(found)
    assert len(states[0]) > 20
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("kind", "bits"), [("8bit", 8), ("4bit", 4)])
def test_a_frozen_language_model_in_few_bits(world, tmp_path, kind, bits):
    """Run where bitsandbytes is (extra ``qlora``): its CPU kernels here, those of a GPU by the same calls."""
    pytest.importorskip("bitsandbytes")
    whole, vlm = world.vlm().eval(), world.vlm()
    before = frozen.layers(vlm.base.language_model)
    frozen.quantise(vlm.base.language_model, kind, "cpu")
    after = dict(vlm.base.language_model.get_decoder().named_modules())
    assert len(before) == 2 * 7
    assert all(
        8 * after[n].weight.numel() * after[n].weight.element_size() == bits * m.weight.numel()
        for n, m in before.items()
    )
    batch, losses, gradients = world.collator()(world.rows[:4]), [], []
    for model in (whole, vlm.eval()):
        model.set_trainable()
        loss = model(batch).loss
        loss.backward()
        losses.append(loss.item())
        gradients.append(model.encoder.queries["face"].grad.flatten())
    assert losses[1] == pytest.approx(losses[0], rel=0.01 if kind == "8bit" else 0.1)
    assert losses[1] != losses[0]
    alike = torch.nn.functional.cosine_similarity(*gradients, dim=0)
    assert alike > (0.99 if kind == "8bit" else 0.7)
    run = stage1(world, tmp_path, dataclasses.replace(QUICK, quantisation=kind), vlm)
    first = run.validate()["loss"]
    assert run.run().best < first


def test_few_bits_without_bitsandbytes_say_what_to_install(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UserError, match="--quantisation 4bit: bitsandbytes is not installed; pip install bitsandbytes"):
        frozen.quantise(world.vlm().base.language_model, "4bit", "cpu")


def test_order_covers_all_rows_and_resumes():
    seen = []
    for rank in range(3):
        order = Order(n=23, batch=2, seed=1, rank=rank, world=3)
        assert order.steps == 4
        batches = list(order.epoch(0))
        assert list(order.epoch(0, start=2)) == batches[2:]
        assert batches != list(order.epoch(1))
        seen += [i for batch in batches for i in batch]
    assert set(seen) == set(range(23))
    assert len(seen) == 24


@pytest.mark.parametrize(("batch", "world", "parts"), [(4, 1, 2), (2, 1, 4), (1, 4, 2), (8, 1, 1), (2, 4, 1)])
def test_another_number_of_processes_takes_the_same_rows(batch, world, parts):
    """Optimiser steps of 2 processes x batch 2 x 2 micro-batches, and of groupings with the same product."""
    n = 21

    def steps(batch, world, parts):
        ranks = [list(Order(n, batch, 3, rank, world).epoch(1)) for rank in range(world)]
        count = len(ranks[0])
        return [{i for part in ranks for rows in part[k : k + parts] for i in rows} for k in range(0, count, parts)]

    wanted, found = steps(2, 2, 2), steps(batch, world, parts)
    assert found[:-1] == wanted[:-1]
    assert len(found) == len(wanted) == 3
    assert set.union(*found) == set(range(n))  # the last step is filled up from the start of the order


def test_a_run_goes_on_in_another_grouping(world, tmp_path):
    """Without dropout the same steps, to rounding; another product is refused with what to keep."""
    config = dataclasses.replace(QUICK, save_every=2)
    whole = stage1(world, tmp_path / "whole", config, still(world.vlm()))
    whole.run()
    stage1(world, tmp_path / "moved", config, still(world.vlm())).run(stop_after=2)
    other = dataclasses.replace(config, batch_size=2, gradient_accumulation=4)
    with pytest.raises(UserError, match=r"keep batch_size x gradient_accumulation x processes at 8"):
        stage1(world, tmp_path / "moved", dataclasses.replace(other, batch_size=4), still(world.vlm())).run()
    moved = stage1(world, tmp_path / "moved", other, still(world.vlm()))
    progress = moved.run()
    assert progress.step == whole.progress.step
    assert progress.best == pytest.approx(whole.progress.best, rel=0.02)  # answers differ in length: means of means


def still(vlm):
    """Without dropout."""
    for module in vlm.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)
    return vlm


def test_rate_schedule():
    config = Stage1Config(warmup=10, learning_rate=1.0, learning_rate_end=0.1)
    rates = [learning_rate_at(step, 100, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[9] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_generation_and_stream_agree(world):
    vlm = world.vlm().eval()
    batch = world.collator()(world.rows[:1])
    prompt = MultiViewBatch(
        batch.images, batch.rows, batch.question_ids, batch.question_mask, batch.question_ids, batch.question_mask
    )
    whole = vlm.generate(prompt, world.tokenizer, max_new_tokens=6, do_sample=False)
    pieces = list(vlm.stream(prompt, world.tokenizer, max_new_tokens=6, do_sample=False))
    assert "".join(pieces).split() == world.tokenizer.decode(whole[0], skip_special_tokens=True).split()


def test_the_first_word_generated_is_the_one_the_loss_sees(world):
    """Generation builds its own inputs; they must put each person's pictures where training does."""
    vlm = world.vlm().eval()
    people = [row.record for row in world.rows[:6]]
    prompt = world.collator().prompts(people, world.rows[0].question)
    with torch.no_grad():
        logits = vlm(prompt).logits[:, -1]
    words = vlm.generate(prompt, world.tokenizer, max_new_tokens=1, do_sample=False)[:, 0]
    assert words.tolist() == logits.argmax(-1).tolist()
    assert len(torch.unique(logits, dim=0)) == len({record.image for record in people})  # one question, their pictures


@pytest.mark.parametrize("hidden", [(), ("scene",), ("body",), ("face",), ("body", "face")])
def test_text_stands_where_training_put_it_whatever_views_are_missing(world, hidden):
    """Every word of an answer is chosen from the logits that the loss sees, to 1e-5, in a batch with whole people."""
    vlm = world.vlm().eval()
    people = [row.record for row in world.rows[:3]]
    prompt = world.collator().prompts(people, world.rows[0].question)
    views = vlm.config.views
    rows = prompt.rows.clone()
    for view in hidden:
        rows[0, views.index(view)] = -1
    images = {}
    for v, view in enumerate(views):  # a picture that nobody shows is not encoded
        seen = rows[:, v] >= 0
        images[view] = prompt.images[view][prompt.rows[seen, v]]
        rows[seen, v] = torch.arange(int(seen.sum()))
    prompt = dataclasses.replace(prompt, images=images, rows=rows)
    options = {"max_new_tokens": 5, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    made = vlm.generate(prompt, Ids(world.tokenizer.pad_token_id, eos_token_id=world.vocabulary + 9), **options)
    answer = made.sequences
    taught = dataclasses.replace(
        prompt,
        input_ids=torch.cat([prompt.input_ids, answer], 1),
        attention_mask=torch.cat([prompt.attention_mask, torch.ones_like(answer)], 1),
    )
    with torch.no_grad():
        logits = vlm(taught).logits[:, -answer.shape[1] - 1 : -1]
    torch.testing.assert_close(torch.stack(made.logits, 1), logits, atol=1e-5, rtol=0)


@dataclasses.dataclass(frozen=True)
class Ids:
    """Two ids of a tokenizer; an end outside the vocabulary is never said and keeps the generation going."""

    pad_token_id: int | None
    eos_token_id: int | None = None


def test_an_answer_ends_with_the_tokenizer_s_end(world):
    """Vicuna v1.1: the tokenizer's </s> is 2, the checkpoint's generation_config says eos_token_id 1."""
    vlm = world.vlm().eval()
    language = vlm.base.language_model
    language.generation_config.eos_token_id = 1
    language.lm_head.weight.data.zero_()
    language.lm_head.register_forward_hook(lambda module, inputs, out: out.index_fill(2, torch.tensor([2]), 9.0))
    prompt = world.collator().prompts([world.rows[0].record], "Why?")
    assert world.tokenizer.eos_token_id == 2
    said = vlm.generate(prompt, world.tokenizer, max_new_tokens=40, do_sample=False)
    assert said.tolist() == [[2]]
    with pytest.raises(ModelError, match="eos_token"):
        vlm.generate(prompt, Ids(0), max_new_tokens=1)


def test_an_answer_that_was_cut_has_no_end_to_learn(world):
    row = dataclasses.replace(world.rows[0], answer=" ".join(["happy"] * 9))
    long, short = world.collator(), world.collator()
    short.max_answer = 4
    whole, cut = long([row]).labels[0], short([row]).labels[0]
    assert whole[-1] == world.tokenizer.eos_token_id
    assert (whole != IGNORED).sum() == 10
    assert (cut != IGNORED).sum() == 4
    assert cut[-1] != world.tokenizer.eos_token_id


@pytest.mark.parametrize("name", ["emotic26", "caers7", "heco8"])
def test_features_are_taken_with_the_instruction_that_was_trained(name):
    labels = label_set(name).labels[:1]
    records = [Record("a", "a.png", name, labels, split="train", bbox_body=Box(0, 0, 9, 9))]
    asked = corpus.build(records, tasks=("classification",), balance=False).rows[0].question
    assert templates.instruction(name) == asked


def test_stream_passes_errors_on(world):
    vlm = world.vlm().eval()
    batch = world.collator()(world.rows[:1])
    with pytest.raises(ValueError, match="max_new_tokens"):
        list(vlm.stream(batch, world.tokenizer, max_new_tokens=-1))


def test_bad_settings(world, tmp_path):
    with pytest.raises(UserError, match="0 validation rows"):
        Stage1(world.vlm(), world.collator(), world.split("train"), [], QUICK, tmp_path)
    with pytest.raises(ConfigError, match="bf16"):
        Stage1Config(precision="fp8")
