"""Tiny random models of the true architectures: for tests, benchmarks and a first try without weights."""

import json
from pathlib import Path
from typing import Any

SMOLVLM_CHAT = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == "
    "'image' %}{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}"
    "{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""The checkpoint's chat_template.json."""


def tiny_config(vocabulary: int = 64, image_size: int = 28, patch: int = 14, width: int = 32, queries: int = 4) -> Any:
    """A config of all of InstructBLIP's parts, small. The last token id is the image placeholder."""
    from transformers import InstructBlipConfig, LlamaConfig

    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    vision = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": image_size,
        "patch_size": patch,
        "initializer_range": 0.02,
    }
    qformer = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 128,
        "hidden_dropout_prob": 0.1,
    }
    return InstructBlipConfig(
        vision_config=vision,
        qformer_config=qformer,
        text_config=text,
        num_query_tokens=queries,
        image_token_index=vocabulary - 1,
    )


def tiny_base(seed: int = 0, **options: Any) -> Any:
    """A random model of :func:`tiny_config`, in eval mode; its queries are random too (the library's start at zero)."""
    import torch
    from transformers import InstructBlipForConditionalGeneration

    torch.manual_seed(seed)
    model = InstructBlipForConditionalGeneration(tiny_config(**options))
    with torch.no_grad():
        model.query_tokens.normal_(0, 0.5)
    return model.eval()


def tiny_siglip(seed: int = 0, image_size: int = 28, patch: int = 14, width: int = 32) -> Any:
    """A random SigLIP of both towers, as its publisher saves it, small and in eval mode."""
    import torch
    from transformers import SiglipConfig, SiglipModel

    shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = {**shape, "image_size": image_size, "patch_size": patch}
    torch.manual_seed(seed)
    return SiglipModel(
        SiglipConfig(
            text_config={**shape, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2}, vision_config=vision
        )
    ).eval()


def save_tiny_smolvlm(folder: Path, seed: int = 0, image_size: int = 28, patch: int = 14) -> Any:
    """Write a random SmolVLM with its processor as HuggingFaceTB/SmolVLM-256M-Instruct lies at its publisher, small."""
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    words = word_tokenizer(["User", "Assistant", ":", "The", "scene", "person", "face", "Why", "?", "happy", "sad"])
    own = ["<|im_start|>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    words.add_special_tokens({"additional_special_tokens": own})
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    text = {"model_type": "llama", **shape, "num_key_value_heads": 2, "vocab_size": len(words), **ends}
    vision = {**shape, "image_size": image_size, "patch_size": patch}
    place = words.convert_tokens_to_ids("<image>")
    torch.manual_seed(seed)
    config = Idefics3Config(vision_config=vision, text_config=text, scale_factor=2, image_token_id=place)
    model = Idefics3ForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    shown = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 1, "do_image_splitting": True}
    sizes = {"size": {"longest_edge": 4 * image_size}, "max_image_size": {"longest_edge": image_size}}
    kinds = {"image_processor_type": "Idefics3ImageProcessor", "processor_class": "Idefics3Processor"}
    (folder / "preprocessor_config.json").write_text(json.dumps({**shown, **sizes, **kinds}))
    tokens = (image_size // patch // 2) ** 2
    (folder / "processor_config.json").write_text(json.dumps({"image_seq_len": tokens, **kinds}))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": SMOLVLM_CHAT}))
    return model


def full_base(seed: int = 0, device: str = "cpu", dtype: str = "float32") -> Any:
    """Random weights at the true size of ViT-g/14 and the Q-Former, in eval mode; the language model stays tiny.

    The library starts ViT weights at 1e-10, which would make every number denormal: matrices are drawn anew.
    """
    import torch
    from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration

    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(getattr(torch, dtype))
        with torch.device(device):
            config = InstructBlipConfig(text_config=tiny_config().text_config, image_token_index=63)
            model = InstructBlipForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.02)
    return model.eval()


def word_tokenizer(words: list[str]) -> Any:
    """A word-level tokenizer that puts BOS first, as Vicuna's does: ids 0 pad, 1 BOS, 2 EOS, 3 unknown, then words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    table = {word: i for i, word in enumerate([*special, *dict.fromkeys(words)])}
    core = Tokenizer(models.WordLevel(table, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
