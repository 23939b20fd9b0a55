"""Tiny random models of the true architectures: for tests, benchmarks and a first try without weights."""

from __future__ import annotations

from typing import Any

from emo_face.expression.contextface.prompts import plain, situation_question, table, words

FAMILIES = ("llava", "qwen2_5_vl", "qwen3_vl", "smolvlm")
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
    """A random image-text model of ``family`` for ``tokenizer``, in eval mode."""
    import torch
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(seed)
    return AutoModelForImageTextToText.from_config(tiny_config(family, tokenizer, width, layers, tied, heads)).eval()


def tiny_config(family: str, tokenizer: Any, width: int, layers: int, tied: bool = False, heads: int = 4) -> Any:
    """The config of a tiny model: every part of the true one, small."""
    import transformers as hf

    def token(text: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(text))

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
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 56,
        "patch_size": 14,
    }
    if family == "llava":
        return hf.LlavaConfig(
            vision_config={"model_type": "clip_vision_model", **vision},
            text_config={"model_type": "llama", **text},
            image_token_index=token("<image>"),
            tie_word_embeddings=tied,
        )
    if family == "smolvlm":
        return hf.SmolVLMConfig(
            vision_config=vision,
            text_config={"model_type": "llama", **text},
            scale_factor=2,
            image_token_id=token("<image>"),
            pad_token_id=0,
            tie_word_embeddings=tied,
        )
    ids: dict[str, Any] = {
        "image_token_id": token("<|image_pad|>"),
        "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
    }
    part = width // heads // 2
    rope = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [part - 2 * (part // 3), part // 3, part // 3],
    }
    eye: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "depth": 2,
        "num_heads": 4,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "out_hidden_size": width,
    }
    text["rope_parameters"] = rope
    if family == "qwen2_5_vl":
        eye |= {"fullatt_block_indexes": [1], "window_size": 56}
        return hf.Qwen2_5_VLConfig(vision_config=eye, text_config=text, tie_word_embeddings=tied, **ids)
    if family == "qwen3_vl":
        text["head_dim"] = width // heads
        eye |= {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 16}
        return hf.Qwen3VLConfig(vision_config=eye, text_config=text, tie_word_embeddings=tied, **ids)
    raise ValueError(f"family {family!r}: expected one of {', '.join(FAMILIES)}")


def tiny_image_processor(family: str) -> Any:
    """The family's image processor at the tiny size."""
    import transformers as hf

    if family == "llava":
        return hf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    if family == "smolvlm":
        size = {"longest_edge": 56}
        return hf.SmolVLMImageProcessor(size=size, max_image_size=size, do_image_splitting=False)
    return hf.Qwen2VLImageProcessor(patch_size=14, merge_size=2, min_pixels=56 * 56, max_pixels=56 * 56)
