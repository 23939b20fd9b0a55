"""Token, adapter, head, and the folder they are saved in."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from tinyworld import PICTURE, tiny

from emo_face.core.errors import ConfigError, ModelError, UserError
from emo_face.expression.contextface import checkpoint
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.head import FaceHead
from emo_face.expression.contextface.model import build_model, merged
from emo_face.expression.contextface.onepass import OnePass
from fixtures import tiny_contextface as source
from fixtures.tiny_contextface import FAMILIES


def answer_of(world, model=None):
    one = OnePass(model or world.model.eval(), world.builder, world.eyes)
    return one.answer(quote="I can't believe it", picture=world.eyes.fitted(PICTURE))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [False, True])
def test_only_adapter_token_rows_and_head_are_trained(family, tied):
    model = tiny(family, tied=tied).model
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    rows = [n for n in names if "trainable_tokens_delta" in n]
    lora = [n for n in names if ".lora_" in n]
    head = [n for n in names if n.startswith("head.")]
    assert set(names) == {*rows, *lora, *head}
    assert len(rows) == (1 if tied else 2)  # tied rows are one
    assert sum(p.numel() for n, p in model.named_parameters() if n in rows) == len(rows) * 32
    assert all(".language_model." in n or ".text_model." in n for n in lora)  # the vision encoder has q_proj too
    assert len(lora) == 2 * 2 * 2
    assert len(head) == 4


def test_gradients_reach_adapter_rows_and_head():
    world = tiny()
    one_row = world.builder.prompt((), ())
    ids = torch.tensor([[*one_row, world.model.face_id]])
    states = world.model.hidden(ids, {}).last_hidden_state
    (world.model.logits(states).logsumexp(-1).sum() + world.model.head(states[:, -1]).sum()).backward()
    for name, value in world.model.named_parameters():
        if value.requires_grad:
            assert value.grad is not None, name
            assert value.grad.abs().sum() > 0, name


def test_the_face_token_starts_at_the_mean_and_is_one_id():
    tokenizer = source.tiny_tokenizer("llava")
    base = source.tiny_base("llava", tokenizer)
    before = base.get_input_embeddings().weight.detach().clone()
    model = build_model(base, tokenizer, ContextFaceConfig())
    assert tokenizer("<FACE>", add_special_tokens=False)["input_ids"] == [model.face_id]
    assert model.base.get_input_embeddings().weight.shape[0] == len(before) + 1
    np.testing.assert_allclose(
        model.base.get_input_embeddings().weight[model.face_id].detach(), before.mean(0), atol=1e-6
    )


def test_a_tokenizer_of_more_words_than_rows_gives_no_random_rows():
    """As out of a GGUF, whose tokenizer gets tokens that its model has no rows for."""
    rows = []
    for seed in (1, 2):
        tokenizer = source.tiny_tokenizer("llama")
        base = source.tiny_base("llama", tokenizer, tied=True)
        tokenizer.add_tokens(["<unk>", "<more>"], special_tokens=True)
        torch.manual_seed(seed)
        rows.append(build_model(base, tokenizer, ContextFaceConfig()).base.get_input_embeddings().weight.detach())
    assert torch.equal(*rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_reloaded_is_bit_equal(tmp_path, family):
    world = tiny(family)
    checkpoint.save_model(tmp_path / "m", world.model)
    tokenizer = source.tiny_tokenizer(family)
    again = checkpoint.load_model(tmp_path / "m", source.tiny_base(family, tokenizer), tokenizer)
    one, two = answer_of(world), answer_of(world, again)
    np.testing.assert_array_equal(one.log_probs, two.log_probs)
    np.testing.assert_array_equal(one.faces, two.faces)
    total = sum(f.stat().st_size for f in (tmp_path / "m").iterdir())
    assert total < 200_000  # the backbone is not in it


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_and_unmerged_agree(family):
    world = tiny(family)
    before = answer_of(world)
    model = merged(world.model)
    assert not any(".lora_" in n for n, _ in model.named_parameters())
    after = answer_of(world, model)
    np.testing.assert_allclose(after.log_probs, before.log_probs, atol=2e-4)
    np.testing.assert_allclose(after.faces, before.faces, atol=2e-4)
    with pytest.raises(ModelError, match="merged model has no adapter"):
        checkpoint.save_model("unused", model)


def test_the_folder_says_what_it_is(tmp_path):
    checkpoint.save_model(tmp_path, tiny(config=ContextFaceConfig(face_basis="flame2023")).model, "llava-1.5-7b")
    card = json.loads((tmp_path / checkpoint.CARD).read_text())
    assert card["face_basis"] == "flame2023"
    assert card["backbone"] == "llava-1.5-7b"
    assert card["labels"]["Angry"] == "Anger"
    assert card["shape"]["hidden_size"] == 32
    assert "Choose from" in (tmp_path / checkpoint.PROMPTS).read_text(encoding="utf-8")


class TestRefusals:
    """Nothing that does not fit loads in silence."""

    @pytest.fixture
    def saved(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("saved")
        checkpoint.save_model(folder, tiny().model)
        return folder

    def load(self, folder, **base):
        tokenizer = source.tiny_tokenizer("llava")
        return checkpoint.load_model(folder, source.tiny_base("llava", tokenizer, **base), tokenizer)

    def changed(self, saved, tmp_path, edit):
        from safetensors.torch import load_file, save_file

        folder = tmp_path / "changed"
        shutil.copytree(saved, folder)
        state = load_file(str(folder / checkpoint.ADAPTER))
        edit(state)
        save_file(state, str(folder / checkpoint.ADAPTER))
        card = json.loads((folder / checkpoint.CARD).read_text())
        card["sha256"][checkpoint.ADAPTER] = checkpoint.sha256_of(folder / checkpoint.ADAPTER)
        (folder / checkpoint.CARD).write_text(json.dumps(card))
        return folder

    def test_missing_weight(self, saved, tmp_path):
        folder = self.changed(saved, tmp_path, lambda s: s.pop(sorted(s)[0]))
        with pytest.raises(ModelError, match=r"missing base_model.*unexpected none"):
            self.load(folder)

    def test_weight_of_another_shape(self, saved, tmp_path):
        def edit(state):
            name = next(n for n in state if "lora_A" in n)
            state[name] = state[name][:1].clone()

        with pytest.raises(ModelError, match=r"another shape base_model.*lora_A"):
            self.load(self.changed(saved, tmp_path, edit))

    def test_nan(self, saved, tmp_path):
        folder = self.changed(saved, tmp_path, lambda s: s[sorted(s)[0]].view(-1)[0].fill_(float("nan")))
        with pytest.raises(ModelError, match="not finite"):
            self.load(folder)

    def test_another_backbone(self, saved):
        with pytest.raises(ModelError, match=r"backbone with hidden_size 32, this one has 64"):
            self.load(saved, width=64)

    def test_changed_file(self, saved, tmp_path):
        shutil.copytree(saved, tmp_path / "c")
        (tmp_path / "c" / checkpoint.HEAD).write_bytes(b"x")
        with pytest.raises(ModelError, match=r"head.safetensors: sha256 expected"):
            self.load(tmp_path / "c")

    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"sha256": None}, "field 'sha256': expected dict, got NoneType"),
            ({"sha256": {}}, r"adapter\.safetensors: sha256 expected none in its card"),
            ({"face_token_id": "7"}, "field 'face_token_id': expected int, got str"),
            ({"config": {"lora_rank": "8"}}, "lora_rank: expected int, got '8'"),
            ({"config": {"temperatures": {"quote": "1"}}}, "temperatures: quote: expected float"),
            ({"config": {"lora_targets": "q_proj"}}, "lora_targets: expected a list"),
        ],
    )
    def test_a_card_of_other_types(self, saved, tmp_path, changes, complaint):
        folder = shutil.copytree(saved, tmp_path / "c")
        card = json.loads((folder / checkpoint.CARD).read_text())
        (folder / checkpoint.CARD).write_text(json.dumps({**card, **changes}))
        with pytest.raises(UserError, match=rf"c/.*{complaint}"):
            self.load(folder)

    def test_no_folder(self, tmp_path):
        with pytest.raises(ModelError, match=r"contextface\.json: cannot be read"):
            self.load(tmp_path)


class TestBackbone:
    """A checkpoint in a folder of true format, made here."""

    def written(self, folder, family="llava", **options):
        tokenizer = source.tiny_tokenizer(family)
        base = source.tiny_base(family, tokenizer, **options)
        base.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if (processor := source.tiny_image_processor(family)) is not None:
            processor.save_pretrained(folder)
        return base

    @pytest.mark.parametrize("family", FAMILIES)
    def test_loads_from_a_folder(self, tmp_path, family):
        base = self.written(tmp_path, family)
        loaded = checkpoint.load_backbone(tmp_path)
        tokenizer, processor = checkpoint.load_tools(tmp_path)
        assert tokenizer.chat_template
        for (name, a), (_, b) in zip(base.state_dict().items(), loaded.state_dict().items(), strict=True):
            assert torch.equal(a, b), name
        assert processor(images=[PICTURE], return_tensors="pt")["pixel_values"].numel()

    def test_a_missing_projector_is_named_not_made_up(self, tmp_path):
        from safetensors.torch import load_file, save_file

        self.written(tmp_path)
        path = tmp_path / "model.safetensors"
        state = load_file(str(path))
        gone = [n for n in state if "multi_modal_projector.linear_2" in n]
        assert gone
        save_file({n: v for n, v in state.items() if n not in gone}, str(path), metadata={"format": "pt"})
        with pytest.raises(ModelError, match=r"2 weights are missing .*multi_modal_projector.linear_2"):
            checkpoint.load_backbone(tmp_path)

    def test_a_projector_of_another_shape_is_refused(self, tmp_path):
        from safetensors.torch import load_file, save_file

        self.written(tmp_path)
        path = tmp_path / "model.safetensors"
        state = load_file(str(path))
        name = next(n for n in state if n.endswith("multi_modal_projector.linear_1.weight"))
        state[name] = state[name][:, :16].clone()
        save_file(state, str(path), metadata={"format": "pt"})
        with pytest.raises(ModelError, match=r"multi_modal_projector.linear_1"):
            checkpoint.load_backbone(tmp_path)

    def changed(self, folder, file, **fields):
        """``folder`` with other fields in one of its JSON files."""
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    def test_a_checkpoints_own_code_is_never_run_not_even_if_stdin_says_yes(self, tmp_path, monkeypatch):
        """transformers' custom models: ``auto_map`` names classes of Python files beside the weights."""
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
        self.written(tmp_path, "llama")
        (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass A: pass\n")
        self.changed(tmp_path, "config.json", auto_map={"AutoConfig": "own.A"}, model_type="own")
        with pytest.raises(ModelError, match="code of its own, which never happens here"):
            checkpoint.load_backbone(tmp_path)
        self.changed(tmp_path, "config.json", model_type="llama")
        assert checkpoint.load_backbone(tmp_path).config.model_type == "llama", "what transformers knows needs none"
        self.changed(
            tmp_path, "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.A", None]}, tokenizer_class="A"
        )
        with pytest.raises(ModelError, match="code of its own, which never happens here"):
            checkpoint.load_tools(tmp_path)
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        ("fields", "complaint"),
        [
            ({"hidden_size": "32"}, "hidden_size.*expected int"),
            ({"num_attention_heads": 5}, "not a multiple of the number of attention heads"),
            ({"hidden_act": "none such"}, "KeyError: 'none such'"),
            ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "optimum"),
        ],
    )
    def test_a_config_that_does_not_fit_is_one_line(self, tmp_path, fields, complaint):
        self.written(tmp_path, "llama")
        self.changed(tmp_path, "config.json", **fields)
        with pytest.raises(ModelError, match=f"does not load as AutoModelForCausalLM: .*{complaint}"):
            checkpoint.load_backbone(tmp_path)

    def test_pickles_are_not_read(self, tmp_path):
        self.written(tmp_path, "llama")
        (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
        with pytest.raises(ModelError, match=r"no model\.safetensors \(pickles, \*\.bin, are not read\)"):
            checkpoint.load_backbone(tmp_path)

    def test_no_checkpoint(self, tmp_path):
        with pytest.raises(ModelError, match=r"no config.json.*huggingface-cli download"):
            checkpoint.load_backbone(tmp_path / "nothing")

    def test_quantisation_says_what_it_needs(self, tmp_path, monkeypatch):
        self.written(tmp_path)
        with pytest.raises(ModelError, match="quantisation"):
            checkpoint.load_backbone(tmp_path, quantisation="3bit")


class TestHead:
    """Statistics and groups."""

    def test_output_is_in_true_units(self):
        head = FaceHead(8, 105)
        targets = torch.randn(50, 105) * torch.linspace(0.1, 5, 105) + 3
        head.set_statistics(targets, torch.ones_like(targets, dtype=torch.bool))
        states = torch.randn(4, 8)
        torch.testing.assert_close(
            head(states), head.normalised(states) * targets.std(0, correction=0) + targets.mean(0)
        )

    def test_missing_targets_do_not_count_and_a_missing_group_is_named(self):
        head = FaceHead(8, 103)
        targets, present = torch.full((4, 103), 2.0), torch.ones(4, 103, dtype=torch.bool)
        present[1:, 100:], targets[1:, 100:] = False, 99.0
        head.set_statistics(targets, present)
        assert head.mean[100:].tolist() == [2.0, 2.0, 2.0]
        assert head.std.tolist() == [1.0] * 103
        present[:, 100:] = False
        with pytest.raises(UserError, match="3 of 103 outputs have no target"):
            head.set_statistics(targets, present)

    def test_groups_and_offsets_are_checked(self):
        assert ContextFaceConfig(groups=("expression", "jaw", "eyelids")).outputs == 105
        with pytest.raises(ConfigError, match="groups"):
            ContextFaceConfig(groups=("jaw",))
        with pytest.raises(ConfigError, match="hidden_offset: expected 0"):
            ContextFaceConfig(hidden_offset=-2)
