"""LLaVA's own checkpoints become transformers' LLaVA: what it computes stays, with a projector of one layer or two."""

import json

import pytest

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers")

from safetensors.torch import save_file

from emo_face.cli.main import main
from emo_face.expression.contextface.checkpoint import load_backbone, load_tools
from fixtures import tiny_contextface as source

WIDTH = 32


def checkpoint(root, projector):
    """As liuhaotian/llava-llama-2-13b-chat-lightning-preview: Llama's names, the projector among them, no CLIP."""
    torch.manual_seed(0)
    tokenizer = source.tiny_tokenizer("llama")
    sizes = {"vocab_size": len(tokenizer), "hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2}
    llama = hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, num_attention_heads=4)).eval()
    eye = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    clip = hf.CLIPVisionModel(hf.CLIPVisionConfig(**eye, image_size=56, patch_size=14)).eval()
    clip.save_pretrained(root / "clip")
    source.tiny_image_processor("llava").save_pretrained(root / "clip")
    state = {**llama.state_dict(), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    state |= {f"model.mm_projector.{name}": value for name, value in projector.state_dict().items()}
    (root / "llava").mkdir()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(root / "llava")
    config = {**llama.config.to_dict(), "model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"]}
    config |= {"mm_hidden_size": 24, "mm_vision_select_layer": -2, "mm_use_im_start_end": False, "use_mm_proj": True}
    if isinstance(projector, torch.nn.Sequential):
        config["mm_projector_type"] = "mlp2x_gelu"
        save_file({k: v.clone() for k, v in state.items()}, root / "llava" / "model.safetensors")
    else:  # the preview's files are pickles
        torch.save(state, root / "llava" / "pytorch_model-00001-of-00001.bin")
    (root / "llava" / "config.json").write_text(json.dumps(config))
    return llama, clip, tokenizer


@pytest.mark.parametrize("layers", [1, 2])
def test_what_it_computes_stays(tmp_path, layers, capsys):
    first = torch.nn.Linear(24, WIDTH)
    projector = first if layers == 1 else torch.nn.Sequential(first, torch.nn.GELU(), torch.nn.Linear(WIDTH, WIDTH))
    llama, clip, tokenizer = checkpoint(tmp_path, projector)
    parts = ["--llava", tmp_path / "llava", "--clip", tmp_path / "clip", "--to", tmp_path / "out"]
    assert main(["models", "backbone", *map(str, parts)]) == 0
    base, (tools, pictures) = load_backbone(tmp_path / "out"), load_tools(tmp_path / "out")
    words, pixels = tokenizer("We won!", return_tensors="pt")["input_ids"], torch.randn(1, 3, 56, 56)
    ids = torch.cat([words, torch.full((1, 16), base.config.image_token_id), words], 1)
    assert tools.convert_ids_to_tokens(base.config.image_token_id) == "<image>"
    with torch.inference_mode():
        # llava/model/llava_arch.py: the features of the last layer but one, without the class token, between the words
        seen = projector(clip(pixels, output_hidden_states=True).hidden_states[-2][:, 1:])
        embedded = llama.get_input_embeddings()(words)
        wanted = llama(inputs_embeds=torch.cat([embedded, seen, embedded], 1)).logits
        got = base(input_ids=ids, pixel_values=pixels).logits[..., : wanted.shape[-1]]
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
    assert type(pictures).__name__.startswith("CLIPImageProcessor")
    assert str(tmp_path / "out") in capsys.readouterr().out


def test_what_does_not_fit_is_named(tmp_path, capsys):
    checkpoint(tmp_path, torch.nn.Linear(24, WIDTH + 1))
    parts = ["--llava", tmp_path / "llava", "--clip", tmp_path / "clip", "--to", tmp_path / "out"]
    assert main(["models", "backbone", *map(str, parts)]) != 0
    assert "multi_modal_projector.linear_1" in capsys.readouterr().err
    assert not (tmp_path / "out" / "config.json").exists()
    assert main(["models", "backbone", "--llava", str(tmp_path / "llava"), "--to", str(tmp_path / "out")]) != 0
    assert "--clip DIR" in capsys.readouterr().err
