"""Load InstructBLIP without silent gaps; save and load what Stage 1 trains as safetensors beside its config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emo_face.core.errors import ModelError
from emo_face.perception.multiview.config import EncoderConfig, from_dict, to_dict
from emo_face.runtime.store import sha256_of

FORMAT = "emo_face.multiview.encoder/1"
WEIGHTS, CARD = "encoder.safetensors", "encoder.json"
OWN = ("qformers.", "queries.", "projections.")
"""Prefixes of what an adapter file holds: everything of the encoder but the frozen image encoder."""


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
    try:
        model, info = InstructBlipForConditionalGeneration.from_pretrained(
            folder, dtype=getattr(torch, dtype), output_loading_info=True, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: does not load as InstructBLIP: {str(error).splitlines()[0]}") from None
    missing, wrong = sorted(info["missing_keys"]), sorted(map(str, info.get("mismatched_keys", ())))
    if missing or wrong:
        raise ModelError(
            f"{folder}: {len(missing)} weights are missing ({_some(missing)}), {len(wrong)} have another shape "
            f"({_some(wrong)}); fetch the checkpoint again"
        )
    return model.eval()


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "none"


def own_state(encoder: Any) -> dict[str, Any]:
    """The encoder's own tensors, contiguous and on the CPU."""
    state = encoder.state_dict()
    return {name: state[name].detach().cpu().contiguous() for name in state if name.startswith(OWN)}


def save_encoder(folder: Path, encoder: Any, base: str = "", extra: dict[str, Any] | None = None) -> Path:
    """Write ``encoder.safetensors`` and ``encoder.json`` (config, base checkpoint, sha256), weights first."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / (WEIGHTS + ".part")
    save_file(own_state(encoder), str(scratch), metadata={"format": FORMAT})
    scratch.replace(folder / WEIGHTS)
    card = {
        "format": FORMAT,
        "base": base,
        "config": to_dict(encoder.config),
        "sha256": sha256_of(folder / WEIGHTS),
        **(extra or {}),
    }
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return folder / WEIGHTS


def read_card(folder: Path) -> dict[str, Any]:
    """The encoder's card. Raises ModelError naming file and field."""
    path = folder / CARD
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); train Stage 1 or export again") from None
    if card.get("format") != FORMAT:
        raise ModelError(f"{path}: field 'format': expected {FORMAT!r}, got {card.get('format')!r}")
    return card


def load_encoder(folder: Path, base: Any) -> Any:
    """The multi-view encoder of ``folder`` around a loaded base model.

    Raises ModelError for a wrong hash, missing or unexpected weights, or another shape; names them.
    """
    import safetensors
    from safetensors.torch import load_file

    from emo_face.perception.multiview.encoder import MultiViewEncoder

    card = read_card(folder)
    config = from_dict(EncoderConfig, card["config"], str(folder / CARD))
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{path}: no such file; train Stage 1 or copy it beside {CARD}")
    if sha256_of(path) != card["sha256"]:
        raise ModelError(f"{path}: sha256 expected {card['sha256']}, got {sha256_of(path)}; copy the file again")
    encoder = MultiViewEncoder(base, config)
    try:
        state = load_file(str(path))
    except safetensors.SafetensorError as error:
        raise ModelError(f"{path}: is no safetensors file ({error}); copy the file again") from None
    load_own(encoder, state, path)
    return encoder.eval()


def load_own(encoder: Any, state: dict[str, Any], path: Path) -> None:
    """Put an adapter's tensors into the encoder, all of them and no others. Raises ModelError naming the odd ones."""
    current = own_state(encoder)
    missing, unexpected = sorted(set(current) - set(state)), sorted(set(state) - set(current))
    wrong = sorted(n for n in set(state) & set(current) if state[n].shape != current[n].shape)
    if missing or unexpected or wrong:
        raise ModelError(
            f"{path}: does not fit the encoder: missing {_some(missing)}; unexpected {_some(unexpected)}; "
            f"another shape {_some(wrong)}"
        )
    encoder.load_state_dict(state, strict=False)
