"""Tiny random models of the true architectures: for tests, benchmarks and a first try without weights."""

from typing import Any

from emo_face.expression.contextface.prompts import plain, situation_question, table, words

FAMILIES = ("llava", "qwen2_5_vl", "qwen3_vl", "smolvlm")
"""Families that see; ``llama`` reads text alone."""
_MARKS = {
    "llava": ["<image>"],
    "qwen2_5_vl": [
        "<|image_pad|>",
        "<|video_pad|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|im_start|>",
        "<|im_end|>",
    ],
    "smolvlm": ["<image>", "<fake_token_around_image>", "<global-img>", "<|im_start|>", "<end_of_utterance>"],
}
_MARKS["qwen3_vl"] = _MARKS["qwen2_5_vl"]
_MARKS["llama"] = ["<|im_start|>", "<|im_end|>"]
_EACH = "{% for m in messages %}"
_PARTS = "{% for c in m.content %}"
_ASK = "{% if add_generation_prompt %}"
_TEMPLATES = {
    "llava": _EACH + "{{ m.role | upper }}{{ ': ' }}" + _PARTS + "{{ '<image>\n' if c.type == 'image' else c.text }}"
    "{% endfor %}{{ ' ' }}{% endfor %}" + _ASK + "{{ 'ASSISTANT:' }}{% endif %}",
    "qwen2_5_vl": _EACH
    + "{{ '<|im_start|>' + m.role + '\n' }}"
    + _PARTS
    + "{{ '<|vision_start|><|image_pad|><|vision_end|>' if c.type == 'image' else c.text }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}" + _ASK + "{{ '<|im_start|>assistant\n' }}{% endif %}",
    "smolvlm": "<|im_start|>"
    + _EACH
    + "{{ m.role | capitalize }}{{ ':' if m.content[0].type == 'image' else ': ' }}"
    + _PARTS
    + "{{ '<image>' if c.type == 'image' else c.text }}{% endfor %}{{ '<end_of_utterance>\n' }}{% endfor %}"
    + _ASK
    + "{{ 'Assistant:' }}{% endif %}",
}
_TEMPLATES["qwen3_vl"] = _TEMPLATES["qwen2_5_vl"]
# as SmolLM2's: content is text, and a system prompt of its own comes where none is given
_TEMPLATES["llama"] = (
    _EACH
    + "{% if loop.first and m.role != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    + _ASK
    + "{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_tokenizer(family: str = "llava", texts: tuple[str, ...] = (), vocabulary: int = 700) -> Any:
    """A byte-level BPE over the templates (and ``texts``), with the family's special tokens and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    end = {"llava": "</s>", "smolvlm": "<end_of_utterance>"}.get(family, "<|im_end|>")
    special = ["<pad>", "<s>", *dict.fromkeys([end, *_MARKS[family]])]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    corpus = [plain(situation_question(" ".join(words()))), *table()["expression"].values(), *texts]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(corpus, trainer)
    if family == "llava":
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token=end)
    tokenizer.chat_template = _TEMPLATES[family]
    return tokenizer


def tiny_base(
    family: str, tokenizer: Any, width: int = 32, layers: int = 2, seed: int = 0, tied: bool = False, heads: int = 4
) -> Any:
    """A random model of ``family`` for ``tokenizer``, in eval mode."""
    import torch
    import transformers as hf

    torch.manual_seed(seed)
    kind = hf.AutoModelForCausalLM if family == "llama" else hf.AutoModelForImageTextToText
    return kind.from_config(tiny_config(family, tokenizer, width, layers, tied, heads)).eval()


def tiny_config(family: str, tokenizer: Any, width: int, layers: int, tied: bool = False, heads: int = 4) -> Any:
    """The config of a tiny model: every part of the true one, small. Raises ValueError for an unknown family."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": 4096,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": tied,
    }
    makers = {"llama": _llama, "llava": _llava, "smolvlm": _smolvlm, "qwen2_5_vl": _qwen, "qwen3_vl": _qwen}
    if family not in makers:
        raise ValueError(f"family {family!r}: expected one of {', '.join(makers)}")
    return makers[family](text, tokenizer, family)


_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}


def _llama(text: dict[str, Any], tokenizer: Any, family: str) -> Any:
    import transformers as hf

    return hf.LlamaConfig(**text)


def _llava(text: dict[str, Any], tokenizer: Any, family: str) -> Any:
    import transformers as hf

    return hf.LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **_VISION},
        text_config={"model_type": "llama", **text},
        image_token_index=_token(tokenizer, "<image>"),
        tie_word_embeddings=text["tie_word_embeddings"],
    )


def _smolvlm(text: dict[str, Any], tokenizer: Any, family: str) -> Any:
    import transformers as hf

    return hf.SmolVLMConfig(
        vision_config=dict(_VISION),
        text_config={"model_type": "llama", **text},
        scale_factor=2,
        image_token_id=_token(tokenizer, "<image>"),
        pad_token_id=0,
        tie_word_embeddings=text["tie_word_embeddings"],
    )


def _qwen(text: dict[str, Any], tokenizer: Any, family: str) -> Any:
    import transformers as hf

    names = {"image_token_id": "image_pad", "video_token_id": "video_pad"}
    names |= {"vision_start_token_id": "vision_start", "vision_end_token_id": "vision_end"}
    ids: dict[str, Any] = {key: _token(tokenizer, f"<|{name}|>") for key, name in names.items()}
    ids["tie_word_embeddings"] = text["tie_word_embeddings"]
    width, heads = text["hidden_size"], text["num_attention_heads"]
    part = width // heads // 2
    sections = [part - 2 * (part // 3), part // 3, part // 3]
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections}
    eye: dict[str, Any] = {name: _VISION[name] for name in ("hidden_size", "intermediate_size", "patch_size")}
    eye |= {"depth": 2, "num_heads": 4, "spatial_merge_size": 2, "out_hidden_size": width}
    if family == "qwen2_5_vl":
        eye |= {"fullatt_block_indexes": [1], "window_size": 56}
        return hf.Qwen2_5_VLConfig(vision_config=eye, text_config=text, **ids)
    text["head_dim"] = width // heads
    eye |= {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 16}
    return hf.Qwen3VLConfig(vision_config=eye, text_config=text, **ids)


def _token(tokenizer: Any, text: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(text))


def tiny_llava_processor(tokenizer: Any) -> Any:
    """LLaVA's whole processor, as a checkpoint's folder holds it."""
    import transformers as hf

    return hf.LlavaProcessor(
        tiny_image_processor("llava"),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )


def tiny_image_processor(family: str) -> Any:
    """The family's image processor at the tiny size; None for a family that reads text alone."""
    import transformers as hf

    if family == "llama":
        return None

    if family == "llava":
        return hf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    if family == "smolvlm":
        size = {"longest_edge": 56}
        return hf.SmolVLMImageProcessor(size=size, max_image_size=size, do_image_splitting=False)
    return hf.Qwen2VLImageProcessor(patch_size=14, merge_size=2, min_pixels=56 * 56, max_pixels=56 * 56)
