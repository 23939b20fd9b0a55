"""Random InstructBLIP models: an export without weights, tests and benchmarks."""

from typing import Any


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
