"""Which encoders there are: how each is loaded, what it is made of, and who may ship it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from emo_face.core.errors import ModelError
from emo_face.perception.multiview.config import EncoderConfig

MODULE = "emo_face.perception.multiview.encoders"


@dataclass(frozen=True)
class Family:
    """One kind of encoder.

    Attributes:
        tier: of the graph. model_types: of the checkpoint's config.json. example: a checkpoint at its publisher.
        terms: who may use its weights. Its module has ``load(base, dtype)`` and ``build(loaded, config)``.
    """

    kind: str
    tier: str
    model_types: tuple[str, ...]
    example: str
    terms: str

    @property
    def load(self) -> Callable[[Path, str], Any]:
        """``load(base, dtype)``: the pictures' part of a checkpoint. Raises ModelError."""
        found: Callable[[Path, str], Any] = import_module(f"{MODULE}.{self.kind}").load
        return found

    @property
    def build(self) -> Callable[[Any, EncoderConfig], Any]:
        """``build(loaded, config)``: the encoder of three views around it."""
        found: Callable[[Any, EncoderConfig], Any] = import_module(f"{MODULE}.{self.kind}").build
        return found


FAMILIES = {
    family.kind: family
    for family in (
        Family(
            "instructblip",
            "full",
            ("instructblip",),
            "Salesforce/instructblip-vicuna-7b",
            "research only: LLaMA's and Vicuna's terms, and data from ChatGPT; no product can ship it",
        ),
        Family(
            "siglip2",
            "medium",
            ("siglip", "siglip_vision_model"),
            "google/siglip2-base-patch16-224",
            "Apache-2.0: products may ship it",
        ),
        Family(
            "smolvlm",
            "medium",
            ("idefics3", "smolvlm"),
            "HuggingFaceTB/SmolVLM-256M-Instruct",
            "Apache-2.0: products may ship it",
        ),
    )
}


def model_type(base: Path) -> str:
    """Field ``model_type`` of a checkpoint. Raises ModelError if there is no configuration."""
    path = base / "config.json"
    try:
        found: str = json.loads(path.read_text(encoding="utf-8")).get("model_type", "")
        return found
    except (OSError, ValueError, AttributeError) as error:
        get = "; ".join(f"hf download {one.example} --local-dir {base}" for one in FAMILIES.values())
        raise ModelError(f"{path}: cannot be read ({type(error).__name__}); fetch a checkpoint: {get}") from None


def family_of(base: Path) -> Family:
    """The family of a checkpoint's folder. Raises ModelError for a model that is none of them."""
    kind = model_type(base)
    for family in FAMILIES.values():
        if kind in family.model_types:
            return family
    known = ", ".join(name for family in FAMILIES.values() for name in family.model_types)
    raise ModelError(f"{base / 'config.json'}: field 'model_type': expected one of {known}, got {kind!r}")


def load_eyes(base: Path, config: EncoderConfig, dtype: str = "float32") -> Any:
    """What an encoder of ``config`` is built around, in eval mode.

    Raises:
        ModelError: ``base`` is of another family, or incomplete.
    """
    family = family_of(base)
    if family.kind != config.kind:
        raise ModelError(f"{base}: is a checkpoint of {family.kind}, this encoder was made on one of {config.kind}")
    return family.load(base, dtype)
