"""llama.cpp's files, as its own package ``gguf`` writes them: the same logits and ids, and nothing made up."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
gguf = pytest.importorskip("gguf")

from emo_face.cli.main import main
from emo_face.expression.contextface.checkpoint import load_backbone, load_tools
from fixtures import tiny_contextface as source

HEADS, LAYERS, WIDTH = 4, 2, 64
# llama.cpp, convert_hf_to_gguf.py and gguf-py/gguf/tensor_mapping.py, architecture "llama"
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
INNER = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
INNER |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
INNER |= {"mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
NAMES = OUTER | {f"model.layers.{n}.{a}": f"blk.{n}.{b}" for n in range(LAYERS) for a, b in INNER.items()}


def written(path, kind="F32", without=()):
    """A tiny Llama with its tokenizer in llama.cpp's format; both as they were."""
    tokenizer = source.tiny_tokenizer("llama")
    base = source.tiny_base("llama", tokenizer, WIDTH, LAYERS)
    out = gguf.GGUFWriter(str(path), "llama")
    for add, value in {
        out.add_context_length: 4096,
        out.add_embedding_length: WIDTH,
        out.add_block_count: LAYERS,
        out.add_feed_forward_length: 2 * WIDTH,
        out.add_head_count: HEADS,
        out.add_head_count_kv: HEADS,
        out.add_layer_norm_rms_eps: float(base.config.rms_norm_eps),
        out.add_vocab_size: len(tokenizer),
        out.add_rope_dimension_count: WIDTH // HEADS,
        out.add_tokenizer_model: "gpt2",
        out.add_token_list: tokenizer.convert_ids_to_tokens(range(len(tokenizer))),
        out.add_token_merges: merges(tokenizer),
        out.add_token_types: [3 if n in tokenizer.added_tokens_decoder else 1 for n in range(len(tokenizer))],
        out.add_bos_token_id: 1,
        out.add_eos_token_id: tokenizer.eos_token_id,
        out.add_chat_template: tokenizer.chat_template,
    }.items():
        add(value)
    quantised = gguf.GGMLQuantizationType[kind]
    for name, value in base.state_dict().items():
        array, (part, _, last) = value.numpy(), name.rpartition(".")
        if part.endswith((".q_proj", ".k_proj")):  # llama.cpp rotates neighbours, transformers halves
            array = array.reshape(HEADS, 2, -1, WIDTH).swapaxes(1, 2).reshape(array.shape)
        if f"{NAMES[part]}.{last}" not in without:
            numbers = gguf.quants.quantize(np.ascontiguousarray(array), quantised if array.ndim == 2 else 0)
            out.add_tensor(f"{NAMES[part]}.{last}", numbers, raw_dtype=quantised if array.ndim == 2 else None)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return base, tokenizer


def merges(tokenizer):
    return [" ".join(pair) for pair in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]


def backbone(tmp_path, to="to"):
    return main(["models", "backbone", "--gguf", str(tmp_path / "x.gguf"), "--to", str(tmp_path / to)])


@pytest.mark.parametrize(("kind", "rounding"), [("F32", 0), ("Q8_0", 0.02)])
def test_logits_ids_and_template_are_those_of_the_file(tmp_path, kind, rounding, capsys):
    base, tokenizer = written(tmp_path / "x.gguf", kind)
    assert backbone(tmp_path) == 0
    made, (words, _) = load_backbone(tmp_path / "to"), load_tools(tmp_path / "to")
    ids = torch.tensor([tokenizer("Considering the quote “We won!” — Happy<|im_end|>")["input_ids"]])
    assert words(tokenizer.decode(ids[0]))["input_ids"] == ids[0].tolist()
    assert (words.chat_template, words.eos_token_id) == (tokenizer.chat_template, tokenizer.eos_token_id)
    with torch.inference_mode():
        torch.testing.assert_close(made(ids).logits, base(ids).logits, atol=rounding, rtol=0)
    assert backbone(tmp_path) == 2
    assert "holds files already" in capsys.readouterr().err, "another model's files would be taken for this one's"


def test_a_file_that_is_not_whole_is_refused_and_leaves_nothing(tmp_path, capsys):
    """transformers makes a tensor that is missing up at random, with a warning."""
    assert backbone(tmp_path) == 2
    assert "no such file; expected a GGUF" in capsys.readouterr().err
    written(tmp_path / "x.gguf", without=("blk.1.ffn_up.weight",))
    assert backbone(tmp_path) == 2
    assert "x.gguf: 1 weights are missing (model.layers.1.mlp.up_proj.weight)" in capsys.readouterr().err
    written(tmp_path / "x.gguf")
    whole = (tmp_path / "x.gguf").read_bytes()
    for size in (10, 2000, len(whole) // 2, len(whole) - 10):
        (tmp_path / "x.gguf").write_bytes(whole[:size])
        assert backbone(tmp_path) == 2
        assert "x.gguf: does not load as a causal language model" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x.gguf"]
