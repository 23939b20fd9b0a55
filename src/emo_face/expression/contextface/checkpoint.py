"""A trained ContextFace as one folder of safetensors and JSON; a backbone without silent gaps.

The folder holds the adapter with the two token rows, the head with its statistics, the label map, the templates and the
FLAME version. The backbone stays where it is; its shape is checked when they meet again.
"""

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from emo_face.core.configs import from_dict
from emo_face.core.errors import ModelError
from emo_face.core.paths import data_file
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.head import FaceHead
from emo_face.expression.contextface.model import ContextFace, adapted, add_face_token
from emo_face.expression.contextface.prompts import table
from emo_face.runtime import weights
from emo_face.runtime.engines.place import place
from emo_face.runtime.files import write_json
from emo_face.runtime.store import sha256_of

FORMAT = "emo_face.contextface/1"
CARD, ADAPTER, HEAD, PROMPTS = "contextface.json", "adapter.safetensors", "head.safetensors", "prompts.yaml"
QUANTISATIONS = ("none", "4bit", "8bit")


def load_backbone(path: str | Path, dtype: str = "float32", quantisation: str = "none", device: str = "cpu") -> Any:
    """A transformers image-text model, or a language model of text alone, from a local folder, never from the network.

    Args:
        quantisation: ``4bit`` (NF4) or ``8bit`` by bitsandbytes, on a GPU.

    Raises:
        ModelError: no such folder or device, or as :func:`~emo_face.runtime.weights.load_pretrained`.
    """
    import transformers

    folder = weights.backbone_folder(path)
    if not (folder / "config.json").is_file():
        if folder == weights.kept_backbone(Path(path).name):
            raise ModelError(f"backbone {path}: no such folder; {weights.how_to_get_backbone(folder.name)}")
        raise ModelError(
            f"{folder}: no config.json; put an image-text checkpoint there, for example "
            f"huggingface-cli download llava-hf/llava-1.5-7b-hf --local-dir {folder}, or a text-only one: "
            f"emo-face models backbone --gguf FILE --to {folder}"
        )
    kind = "AutoModelForImageTextToText" if sees(folder) else "AutoModelForCausalLM"
    # attention is transformers' choice: not every architecture has the fast one
    load = partial(weights.load_pretrained, getattr(transformers, kind), folder, kind, getattr(torch, dtype))
    if quantisation == "none":
        return place(load(), device, "the backbone")
    return load(quantization_config=_quantisation(quantisation, dtype), device_map={"": device})


def sees(folder: Path) -> bool:
    """Whether a checkpoint has a vision part. Raises ModelError if its config is no JSON."""
    return "vision_config" in weights.read_json(folder / "config.json", "fetch the checkpoint again")


def load_tools(path: str | Path) -> tuple[Any, Any]:
    """Tokenizer and image processor (None for a text-only model) of a backbone's folder.

    The tokenizer gets the chat template of the folder's processor if that has one (``chat_template.json`` of LLaVA).

    Raises:
        ModelError: one is missing or does not load; names it.
    """
    from transformers import AutoImageProcessor, AutoTokenizer, ProcessorMixin

    folder = weights.backbone_folder(path)
    with weights.loading(folder, "tokenizer and image processor"):
        tokenizer = AutoTokenizer.from_pretrained(folder, **weights.LOCAL)
        processor = AutoImageProcessor.from_pretrained(folder, **weights.LOCAL) if sees(folder) else None
        whole, _ = ProcessorMixin.get_processor_dict(folder, **weights.LOCAL)  # without what makes a processor
        tokenizer.chat_template = whole.get("chat_template") or tokenizer.chat_template
    return tokenizer, processor


def save_model(folder: Path, model: ContextFace, backbone: str = "", extra: dict[str, Any] | None = None) -> Path:
    """Write the folder; the card last, so that a folder with a card is whole. Returns the folder.

    Raises:
        ModelError: the model was merged, its adapter is gone.
    """
    if not hasattr(model.vlm, "get_base_model"):
        raise ModelError("a merged model has no adapter to save; save before merging")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    save_file(adapter_state(model), str(folder / ADAPTER), metadata={"format": FORMAT})
    save_file(weights.cpu_copies(model.head.folded().state_dict()), str(folder / HEAD), metadata={"format": FORMAT})
    shutil.copyfile(data_file("contextface_prompts.yaml"), folder / PROMPTS)
    card = {
        "format": FORMAT,
        "backbone": backbone,
        "shape": shape_of(model.base),
        "config": asdict(model.config),
        "face_basis": model.config.face_basis,
        "face_token_id": model.face_id,
        "labels": dict(table()["labels"]["words"]),
        "sha256": {name: sha256_of(folder / name) for name in (ADAPTER, HEAD, PROMPTS)},
        **(extra or {}),
    }
    write_json(folder / CARD, card)
    return folder


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a saved model. Raises ModelError naming file and field."""
    fields = {"config": dict, "shape": dict, "face_token_id": int, "sha256": dict}
    return weights.read_card(folder / CARD, FORMAT, "train again: emo-face train contextface --help", **fields)


def load_model(folder: Path, base: Any, tokenizer: Any) -> ContextFace:
    """A saved model around its loaded backbone; gives ``tokenizer`` the ``<FACE>`` token.

    Raises:
        ModelError: a file is missing or changed, the backbone or the templates are others, or weights are missing,
            unexpected or of another shape; names the field, expected and got.
    """
    card = read_card(folder)
    for name in (ADAPTER, HEAD, PROMPTS):
        weights.check_file(folder / name, card["sha256"].get(name) or "none in its card")
    if sha256_of(data_file("contextface_prompts.yaml")) != card["sha256"][PROMPTS]:
        raise ModelError(
            f"{folder / PROMPTS}: the templates differ from this emo_face's; train again or install its version"
        )
    config = from_dict(ContextFaceConfig, card["config"], str(folder / CARD))
    _same_shape(card["shape"], shape_of(base), folder)
    base.requires_grad_(False)
    face_id = add_face_token(base, tokenizer)
    if face_id != card["face_token_id"]:
        raise ModelError(
            f"{folder / CARD}: field 'face_token_id': expected {card['face_token_id']}, this tokenizer "
            f"gives {face_id}; "
            "use the tokenizer of the checkpoint it was trained with"
        )
    model = ContextFace(adapted(base, config, face_id), _head(folder, base, config), config, face_id)
    put_adapter(model, weights.read_tensors(folder / ADAPTER), folder / ADAPTER)
    model.to(base.device).eval()
    return model


def put_back(folder: Path, model: ContextFace) -> None:
    """Load the adapter and head of a saved model into the model that was trained. Raises ModelError if they differ."""
    put_adapter(model, weights.read_tensors(folder / ADAPTER), folder / ADAPTER)
    model.head.load_state_dict(weights.read_tensors(folder / HEAD))
    model.head.centre = None


def set_config(folder: Path, config: ContextFaceConfig, extra: dict[str, Any] | None = None) -> None:
    """Give a saved model another config (what was fitted after it was trained), and ``extra`` fields of its card."""
    write_json(folder / CARD, {**read_card(folder), "config": asdict(config), **(extra or {})})


def halved(folder: Path, out: Path, backbone: str = "") -> Path:
    """A saved model in half precision at another place, to be shipped; ``backbone``: what its card names then.

    Raises:
        ModelError: it is no saved model, ``out`` is ``folder``, or a number does not fit half precision.
    """
    if out.resolve() == folder.resolve():
        raise ModelError(f"{out}: expected another folder than the model's own")
    card = read_card(folder)
    out.mkdir(parents=True, exist_ok=True)
    (out / CARD).unlink(missing_ok=True)
    for name in (ADAPTER, HEAD):
        weights.check_file(folder / name, card["sha256"][name])
        small = {key: value.half() for key, value in weights.read_tensors(folder / name).items()}
        if bad := [key for key, value in small.items() if not bool(torch.isfinite(value).all())]:
            raise ModelError(f"{folder / name}: {bad[0]} does not fit half precision; keep the folder as it is")
        save_file(small, str(out / name), metadata={"format": FORMAT})
        (out / name).chmod(0o644)  # safetensors writes for the owner alone, and this is to be installed
    shutil.copyfile(folder / PROMPTS, out / PROMPTS)
    digests = {name: sha256_of(out / name) for name in (ADAPTER, HEAD, PROMPTS)}
    write_json(out / CARD, {**card, "backbone": backbone or card["backbone"], "sha256": digests})
    return out


def adapter_state(model: ContextFace) -> dict[str, torch.Tensor]:
    """LoRA matrices and token rows, on the CPU."""
    return weights.cpu_copies({n: p for n, p in model.vlm.named_parameters() if p.requires_grad or _is_adapter(n)})


def put_adapter(model: ContextFace, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load what :func:`adapter_state` gave, all of it and nothing else. Raises ModelError naming the odd ones."""
    own = {n: p for n, p in model.vlm.named_parameters() if p.requires_grad or _is_adapter(n)}
    weights.check_state_dict(own, state, path)
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)


def shape_of(base: Any) -> dict[str, Any]:
    """What an adapter must share with its backbone."""
    text = base.config.get_text_config()
    return {
        "model_type": str(base.config.model_type),
        "hidden_size": int(text.hidden_size),
        "layers": int(text.num_hidden_layers),
        "projector": sorted(
            [n.split("projector.", 1)[1], _shape(p)]
            for n, p in base.named_parameters()
            if "projector." in n and "language" not in n
        ),
    }


def _shape(parameter: Any) -> list[int]:
    """A parameter's shape; of a 4-bit one that before packing, as a model serves packed and unpacked backbones."""
    return list(getattr(getattr(parameter, "quant_state", None), "shape", parameter.shape))


def _same_shape(wanted: dict[str, Any], got: dict[str, Any], folder: Path) -> None:
    for key, value in wanted.items():
        if value != got.get(key):
            raise ModelError(
                f"{folder / CARD}: trained on a backbone with {key} {value!r}, this one has {got.get(key)!r}; "
                "give the backbone that the card names"
            )


def _head(folder: Path, base: Any, config: ContextFaceConfig) -> FaceHead:
    head = FaceHead(int(base.config.get_text_config().hidden_size), config.outputs)
    state = weights.read_tensors(folder / HEAD)
    weights.check_state_dict(head.state_dict(), state, folder / HEAD)
    head.load_state_dict(state)
    return head


def _is_adapter(name: str) -> bool:
    return ".lora_" in name or ".trainable_tokens_" in name


def _quantisation(name: str, dtype: str) -> Any:
    from importlib.util import find_spec

    if name not in QUANTISATIONS:
        raise ModelError(f"quantisation: expected one of {', '.join(QUANTISATIONS)}, got {name!r}")
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            f"quantisation {name} needs bitsandbytes: pip install bitsandbytes (NVIDIA GPU), or choose none"
        )
    from transformers import BitsAndBytesConfig

    if name == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        bnb_4bit_use_double_quant=True,
    )
