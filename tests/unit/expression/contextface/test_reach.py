"""Language models whose layers have windows, memory or convolutions: one pass still equals separate passes."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers")
pytest.importorskip("peft")

from tinyworld import PICTURE, Tiny, separately, stirred

from emo_face.core.errors import ModelError
from emo_face.expression.contextface import onepass
from emo_face.expression.contextface.checkpoint import load_backbone
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.model import build_model, tree_reach
from emo_face.expression.contextface.prompts import expression_question
from emo_face.expression.contextface.talk import stream
from emo_face.expression.contextface.tokens import TokenBuilder
from emo_face.expression.contextface.vision import Eyes, NoEyes
from emo_face.training.contextface.export import Prefill
from fixtures import tiny_contextface as source

WINDOW = 24
"""Tokens; less than a prompt has."""
LINEAR = {"head_dim": 8, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
LINEAR |= {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
GRIFFIN = {"lru_width": 32, "block_types": ["recurrent", "attention"]}
ATTENTION = ("q_proj", "v_proj")
# name -> (transformers' config, what it needs beside the sizes, adapted layers, tokens that a tree mask reaches)
ARCHITECTURES = {
    "llama": ("LlamaConfig", {}, ATTENTION, math.inf),
    "mistral": ("MistralConfig", {"sliding_window": WINDOW}, ATTENTION, WINDOW),
    "mistral, no window": ("MistralConfig", {"sliding_window": None}, ATTENTION, math.inf),
    "gemma2": ("Gemma2Config", {"sliding_window": WINDOW, "head_dim": 8}, ATTENTION, WINDOW),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": WINDOW, "head_dim": 8}, ATTENTION, WINDOW),
    "gemma3, wide": ("Gemma3TextConfig", {"sliding_window": 512, "head_dim": 8}, ATTENTION, 512),
    "qwen3_5": (
        "Qwen3_5TextConfig",
        {**LINEAR, "layer_types": ["linear_attention", "full_attention"]},
        ("up_proj",),
        0,
    ),
    "mamba2": ("Mamba2Config", {"state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1}, ("in_proj",), 0),
    "recurrent_gemma": ("RecurrentGemmaConfig", {**GRIFFIN, "attention_window_size": WINDOW}, ("up_proj",), 0),
    "lfm2": ("Lfm2Config", {"layer_types": ["conv", "full_attention"]}, ATTENTION, 0),
    "rwkv": ("RwkvConfig", {}, ("receptance",), 0),
    "bloom": ("BloomConfig", {"n_head": 4, "n_layer": 2}, ("query_key_value",), 0),
}


def bare(name):
    """A tiny random model of a true architecture and a tokenizer."""
    torch.set_num_threads(1)
    kind, own, _, _ = ARCHITECTURES[name]
    tokenizer = source.tiny_tokenizer("llama")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    config = getattr(hf, kind)(vocab_size=len(tokenizer), **sizes, **own)
    return hf.AutoModelForCausalLM.from_config(config).eval(), tokenizer


def made(name, **config):
    """It as a ContextFace, moved away from its neutral start."""
    base, tokenizer = bare(name)
    model = stirred(build_model(base, tokenizer, ContextFaceConfig(lora_targets=ARCHITECTURES[name][2], **config), 0))
    return Tiny(name, model, tokenizer, NoEyes(), TokenBuilder(tokenizer, name, -1, 0, "chatml"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_one_pass_equals_separate_passes(name):
    world, reach = made(name), ARCHITECTURES[name][-1]
    assert tree_reach(world.model.base) == reach
    one = world.onepass()
    for quote in ("Oh no.", "We won the whole long match yesterday, and nobody believed in it!"):
        answer = one.answer(quote)
        log_probs, faces = separately(world, quote)
        np.testing.assert_allclose(answer.log_probs, log_probs, atol=2e-5, rtol=1e-6)
        np.testing.assert_allclose(answer.faces, faces, atol=2e-5)
        assert np.ptp(answer.faces, axis=0).max() > 1e-3
    assert (answer.reused > 0) == (reach > 100), "a prompt is kept where it is one"


@pytest.mark.parametrize("name", ["llama", "gemma2", "mamba2", "rwkv", "bloom"])
def test_a_folder_of_it_loads(name, tmp_path):
    """All but the first have no fast attention."""
    base, _ = bare(name)
    base.save_pretrained(tmp_path)
    assert type(load_backbone(tmp_path)) is type(base)


def test_several_questions_beyond_the_reach_are_asked_one_by_one():
    one = made("mistral").onepass()
    asked = [one.asked(quote, "") for quote in ("Oh no.", "We won!")]
    for question, found in zip(asked, one.several(asked), strict=True):
        np.testing.assert_array_equal(found.log_probs, one.run(question).log_probs)


def test_a_tree_mask_beyond_its_reach_would_be_wrong(monkeypatch):
    """What the choice is there for: the same models by a tree mask give other numbers."""
    monkeypatch.setattr(onepass, "tree_reach", lambda *args: math.inf)
    for name in ("mistral", "gemma2"):
        world = made(name)
        answer = world.onepass().answer("We won the whole long match yesterday!")
        assert np.abs(answer.log_probs - separately(world, "We won the whole long match yesterday!")[0]).max() > 1e-3


def test_a_graph_of_one_pass_is_refused_where_a_tree_mask_does_not_reach():
    world = made("mistral")
    _, branches = world.onepass().endings(expression_question("oh"), "quote")
    with pytest.raises(ModelError, match="'mistral': its layers do not see the branches side by side"):
        Prefill(world.model, branches, 64)


@pytest.mark.parametrize("name", ["gemma3", "qwen3_5", "mamba2", "lfm2"])
def test_free_answers_are_those_of_the_whole_text(name):
    """Token by token with the model's own cache."""
    world = made(name)
    question = expression_question("oh dear")
    prompt = list(world.builder.prompt(question))
    said = "".join(stream(world.model.eval(), world.builder, world.eyes, question, max_new_tokens=6))
    ids = prompt.copy()
    with torch.inference_mode():
        for _ in range(6):
            states = world.model.hidden(torch.tensor([ids]), {}).last_hidden_state
            ids.append(int(world.model.logits(states[0, -1]).argmax()))
    whole = world.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=False)
    assert said.rstrip("\ufffd") == whole.rstrip("\ufffd"), "but for a last character that is not complete"


GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{% for c in m.content %}{{ '<start_of_image>' if c.type == 'image' else c.text | trim }}{% endfor %}"
    "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""As Gemma 3's: a picture is written by another token than the one it is made of."""


@pytest.fixture(scope="module")
def gemma():
    """A tiny Gemma 3 that sees, with its own processor: windows, and picture tokens that see each other."""
    torch.set_num_threads(1)
    tokenizer = source.tiny_tokenizer("llama")
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer.add_special_tokens({"additional_special_tokens": [*names.values(), "<start_of_turn>", "<end_of_turn>"]})
    for name, token in names.items():
        setattr(tokenizer, name, token)
        setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
    tokenizer.chat_template = GEMMA
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": WINDOW,
        "pad_token_id": 0,
    }
    eye = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    eye |= {"image_size": 56, "patch_size": 14, "vision_use_head": False}
    marks = {"image_token_index": tokenizer.image_token_id, "boi_token_index": tokenizer.boi_token_id}
    torch.manual_seed(0)
    base = hf.AutoModelForImageTextToText.from_config(
        hf.Gemma3Config(text_config=text, vision_config=eye, mm_tokens_per_image=4, **marks)
    ).eval()
    torch.nn.init.normal_(base.model.multi_modal_projector.mm_input_projection_weight)  # it starts at 0: blind
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessor(size={"height": 56, "width": 56}), tokenizer, image_seq_length=4
    )
    eyes = Eyes(base, processor.image_processor)
    model = stirred(build_model(base, tokenizer, ContextFaceConfig(), 0))
    return Tiny(
        "gemma3", model, tokenizer, eyes, TokenBuilder(tokenizer, "gemma3", model.image_id, eyes.tokens)
    ), processor


@pytest.mark.parametrize("seen", [True, False])
def test_gemma_3_reads_its_pictures_in_one_pass_as_in_separate_ones(gemma, seen):
    world, _ = gemma
    picture = world.eyes.fitted(PICTURE) if seen else None
    answer = world.onepass().answer("We won!", picture=picture)
    log_probs, faces = separately(world, "We won!", picture=picture)
    np.testing.assert_allclose(answer.log_probs, log_probs, atol=2e-5, rtol=1e-6)
    np.testing.assert_allclose(answer.faces, faces, atol=2e-5)
    if seen:
        other = world.onepass().answer("We won!", picture=world.eyes.fitted(255 - PICTURE))
        assert np.abs(other.log_probs - answer.log_probs).max() > 1e-4, "the picture is in the prompt"


def test_gemma_3s_ids_are_those_of_its_own_processor(gemma):
    world, processor = gemma
    question = expression_question("We won!", image=True)
    content = [{"type": "image"}, {"type": "text", "text": "".join(p.text for p in question)}]
    text = world.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    wanted = processor(images=[world.eyes.fitted(PICTURE)], text=[text], add_special_tokens=False)["input_ids"][0]
    assert list(world.builder.prompt(question)) == list(wanted)
