"""Load InstructBLIP without silent gaps; save and load what Stage 1 trains as safetensors beside its config."""

from pathlib import Path
from typing import Any

from emo_face.core.configs import from_dict
from emo_face.core.errors import ModelError
from emo_face.perception.multiview.config import EncoderConfig, to_dict
from emo_face.runtime import weights
from emo_face.runtime.files import replacing, write_json
from emo_face.runtime.store import sha256_of

FORMAT = "emo_face.multiview.encoder/1"
WEIGHTS, CARD = "encoder.safetensors", "encoder.json"


def load_base(path: str | Path, dtype: str = "float32") -> Any:
    """An InstructBLIP from a local folder, never from the network.

    Raises:
        ModelError: no such folder, weights missing (named, never random-initialised in silence) or of another shape.
    """
    import torch
    from transformers import InstructBlipForConditionalGeneration

    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder}: no config.json; put the files of Salesforce/instructblip-vicuna-7b there "
            f"(huggingface-cli download Salesforce/instructblip-vicuna-7b --local-dir {folder})"
        )
    return weights.load_pretrained(InstructBlipForConditionalGeneration, folder, "InstructBLIP", getattr(torch, dtype))


def own_state(encoder: Any) -> dict[str, Any]:
    """The encoder's own tensors, contiguous and on the CPU."""
    state = encoder.state_dict()
    return {name: state[name].detach().cpu().contiguous() for name in state if encoder.owns(name)}


def save_encoder(folder: Path, encoder: Any, base: str = "", extra: dict[str, Any] | None = None) -> Path:
    """Write ``encoder.safetensors`` and ``encoder.json`` (config, base checkpoint, sha256), weights first."""
    from safetensors.torch import save_file

    with replacing(folder / WEIGHTS) as scratch:
        save_file(own_state(encoder), str(scratch), metadata={"format": FORMAT})
    card = {
        "format": FORMAT,
        "base": base,
        "config": to_dict(encoder.config),
        "sha256": sha256_of(folder / WEIGHTS),
        **(extra or {}),
    }
    write_json(folder / CARD, card)
    return folder / WEIGHTS


def read_card(folder: Path) -> dict[str, Any]:
    """The encoder's card. Raises ModelError naming file and field."""
    return weights.read_card(folder / CARD, FORMAT, "train Stage 1 or export again", config=dict, sha256=str)


def config_of_card(folder: Path) -> EncoderConfig:
    """The configuration of the encoder in ``folder``. Raises ModelError naming file and field."""
    return from_dict(EncoderConfig, read_card(folder)["config"], str(folder / CARD))


def load_encoder(folder: Path, base: Any) -> Any:
    """The multi-view encoder of ``folder`` around a loaded base model (:func:`.encoders.load_eyes`).

    Raises ModelError for a wrong hash, missing or unexpected weights, or another shape; names them.
    """
    from emo_face.perception.multiview.encoders import FAMILIES

    card = read_card(folder)
    config = config_of_card(folder)
    path = folder / WEIGHTS
    state = weights.read_tensors(path, card["sha256"])
    encoder = FAMILIES[config.kind].build(base, config)
    load_own(encoder, state, path)
    return encoder.eval()


def load_own(encoder: Any, state: dict[str, Any], path: Path) -> None:
    """Put an adapter's tensors into the encoder, all of them and no others. Raises ModelError naming the odd ones."""
    weights.check_state_dict(own_state(encoder), state, path)
    encoder.load_state_dict(state, strict=False)
