"""The frozen language model in 8 or 4 bits while Stage 1 trains what is before it; gradients pass through.

By bitsandbytes (MIT; GPUs and CPUs): LLM.int8() of Dettmers et al., 2022 (arXiv 2208.07339), NF4 with scales that are
quantised too as in QLoRA, 2023 (arXiv 2305.14314). Output embeddings stay as they are, as in transformers.
"""

from typing import Any, Literal

from torch import nn

from emo_face.core.errors import UserError

Quantisation = Literal["none", "8bit", "4bit"]
BYTES: dict[Quantisation, float] = {"8bit": 1.0, "4bit": 0.5 + 1 / 64 + 4 / (64 * 256)}
"""Of a weight: NF4 has an 8-bit scale per 64 weights, and a 32-bit one per 256 of those."""


def layers(language: Any) -> dict[str, nn.Linear]:
    """The matrices that are quantised, by their name within the decoder."""
    return {name: part for name, part in language.get_decoder().named_modules() if isinstance(part, nn.Linear)}


def quantise(language: Any, kind: Quantisation, device: str) -> None:
    """Put a frozen language model's matrices on ``device`` as int8 or NF4, one after the other, in place.

    Raises:
        UserError: bitsandbytes is missing; says how to install it.
    """
    if kind == "none":
        return
    try:
        from bitsandbytes import nn as bnb
    except ImportError:
        raise UserError(f"--quantisation {kind}: bitsandbytes is not installed; pip install bitsandbytes") from None
    decoder = language.get_decoder()
    for name, whole in layers(language).items():
        weight, size, bias = whole.weight.data, (whole.in_features, whole.out_features), whole.bias is not None
        if kind == "4bit":
            small: Any = bnb.Linear4bit(*size, bias, compute_dtype=weight.dtype, quant_type="nf4")
            small.weight = bnb.Params4bit(weight, requires_grad=False, quant_type="nf4", module=small)
            small.support_avx512bf16_for_cpu = False  # repacked by a validation, no gradient would pass any more
        else:
            small = bnb.Linear8bitLt(*size, bias, has_fp16_weights=False)
            small.weight = bnb.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
        small.bias = whole.bias
        decoder.set_submodule(name, small.to(device).requires_grad_(False))
