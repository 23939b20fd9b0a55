"""LLaVA's own checkpoints (``liuhaotian/...``) to a folder of transformers' LLaVA.

They hold Llama and the projector; the vision encoder is CLIP's, unless it was tuned too. A projector of one layer, as
the paper's backbone LLaVA-Llama-2 preview has, becomes the first of two, with nothing between them and the second the
identity: the same function.
"""

import json
from pathlib import Path
from typing import Any

from emo_face.core.errors import ModelError, UserError
from emo_face.export.gguf import CONFIG, saved
from emo_face.runtime import weights

PICTURE = "<image>"
PROJECTORS = {"linear": "linear", "mlp2x_gelu": "gelu"}
"""Type of projector -> what is between its two layers."""
_TOWER = "model.vision_tower.vision_tower.vision_model."


def convert(source: Path, vision: Path, folder: Path) -> Path:
    """Write ``folder`` from LLaVA's checkpoint ``source`` and transformers' CLIP in ``vision``.

    Raises:
        UserError: a folder is not there. ModelError: it is no such checkpoint, or parts are missing or do not fit;
            names them.
    """
    import torch
    import transformers as hf

    for given in (source, vision):
        if not (given / CONFIG).is_file():
            raise UserError(
                f"{given}: no {CONFIG}; expected a checkpoint's folder, fetched by huggingface-cli download"
            )
    kept = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    kind = str(kept.get("mm_projector_type", "linear"))
    if kind not in PROJECTORS:
        raise ModelError(f"{source / CONFIG}: mm_projector_type {kind!r}, expected one of {', '.join(PROJECTORS)}")
    tower = weights.load_pretrained(hf.CLIPVisionModel, vision, "CLIP's vision encoder", torch.float32)
    with weights.loading(vision, "CLIP's image processor"):
        pictures = hf.AutoImageProcessor.from_pretrained(vision, **weights.LOCAL)
    with weights.loading(source, "a tokenizer"):
        tokenizer = hf.AutoTokenizer.from_pretrained(source, **weights.LOCAL)
    text = {k: v for k, v in kept.items() if not k.startswith("mm_") and k not in ("model_type", "architectures")}
    config = hf.LlavaConfig(
        vision_config=tower.config.to_dict(),
        text_config=hf.LlamaConfig(**text).to_dict(),
        projector_hidden_act=PROJECTORS[kind],
        vision_feature_layer=int(kept.get("mm_vision_select_layer", -2)),
        image_token_index=0,
    )
    with torch.device("meta"):
        model = hf.LlavaForConditionalGeneration(config)
    state = _renamed(_tensors(source), tower.state_dict(), int(config.text_config.hidden_size))
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise ModelError(f"{source}: {' '.join(str(error).split())[:300]}") from None
    tokenizer.add_tokens([PICTURE], special_tokens=True)
    model.config.image_token_id = tokenizer.convert_tokens_to_ids(PICTURE)
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return saved(folder, tokenizer, pictures, model)


def _tensors(source: Path) -> dict[str, Any]:
    """Every tensor of a checkpoint's files."""
    import torch

    found: dict[str, Any] = {}
    for file in sorted(source.glob("*.safetensors")):
        found |= weights.read_tensors(file)
    for file in [] if found else sorted(source.glob("pytorch_model*.bin")):
        with weights.loading(file, "tensors alone"):  # whatever else is pickled in it is refused
            found |= torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if not found:
        raise ModelError(f"{source}: no *.safetensors and no pytorch_model*.bin; fetch the checkpoint again")
    return found


def _renamed(given: dict[str, Any], tower: dict[str, Any], width: int) -> dict[str, Any]:
    """Under transformers' names, all in the precision of the language model."""
    import torch

    inside = (
        "vision_model." if any(name.startswith("vision_model.") for name in tower) else ""
    )  # before transformers 5.2x
    names = {
        _TOWER: f"model.vision_tower.{inside}",
        "model.mm_projector.0.": "model.multi_modal_projector.linear_1.",
        "model.mm_projector.2.": "model.multi_modal_projector.linear_2.",
        "model.mm_projector.": "model.multi_modal_projector.linear_1.",
        "model.": "model.language_model.",
    }
    state = {f"model.vision_tower.{name}": value for name, value in tower.items()}
    if "model.mm_projector.weight" in given:
        second = "model.multi_modal_projector.linear_2."
        state |= {second + "weight": torch.eye(width), second + "bias": torch.zeros(width)}
    for name, value in given.items():
        if not name.endswith(".inv_freq"):  # counted anew
            old = next((old for old in names if name.startswith(old)), "")
            state[names.get(old, "") + name.removeprefix(old)] = value
    dtype = given["lm_head.weight"].dtype if "lm_head.weight" in given else torch.float16
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
