"""SigLIP2's image tower for three views: small, permissive, without a language model (tier ``medium``).

Tschannen et al., "SigLIP 2", 2025 (arXiv 2502.14786). Checkpoints of a fixed resolution (``siglip2-base-patch16-224``,
``siglip2-so400m-patch14-384``) are of transformers' class Siglip. LoRA (Hu et al., 2021) adapts its attention.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emo_face.core.errors import ModelError
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.encoders.instructblip import check_base, views_given
from emo_face.runtime import weights

TARGETS = ["q_proj", "v_proj"]
"""Layers that LoRA adapts: its authors' choice."""
FILTERS = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as preprocessor_config.json has them."""


class Siglip2Encoder(nn.Module):
    """One image tower for all views; what Stage 2 reads are its patch tokens, or its own attention-pooled vector."""

    def __init__(self, base: Any, config: EncoderConfig) -> None:
        super().__init__()
        check_base(base, config)
        self.config = config
        self.vision = base
        self.vision.requires_grad_(False)
        if config.lora_rank:
            _inject(self.vision, config.lora_rank)

    @property
    def tokens_per_view(self) -> int:
        """Patch tokens, or the one pooled vector."""
        shape = self.vision.config
        return 1 if self.config.pool == "cls_query" else (int(shape.image_size) // int(shape.patch_size)) ** 2

    @property
    def feature_size(self) -> int:
        """Length of one view's feature."""
        return int(self.vision.config.hidden_size)

    def forward(self, images: Mapping[str, Tensor], instructions: None = None) -> dict[str, Tensor]:
        """Encode all views in one pass: view -> (k, 3, size, size) to view -> (k, tokens, hidden), for k > 0."""
        given = views_given(images, self.config)
        if not given:
            return {}
        pixels = torch.cat([images[view] for view in given])
        seen = self.see(pixels.to(self.vision.embeddings.patch_embedding.weight.dtype))
        return dict(zip(given, torch.split(seen, [images[view].shape[0] for view in given]), strict=True))

    def see(self, pixels: Tensor) -> Tensor:
        """(k, 3, size, size) -> (k, tokens, hidden)."""
        out = self.vision(pixel_values=pixels)
        found: Tensor = out.pooler_output[:, None] if self.config.pool == "cls_query" else out.last_hidden_state
        return found

    def project(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tokens: there is no language model to project for."""
        return dict(tokens)

    def pool(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tokens -> (k, feature_size) float32 per view."""
        return {view: value.float().mean(1) for view, value in tokens.items()}

    def set_trainable(self) -> list[str]:
        """Freeze all but the adapters; the names of what learns."""
        self.requires_grad_(False)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self.owns(name))
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]

    @staticmethod
    def owns(name: str) -> bool:
        """Whether a tensor is the encoder's own and not the checkpoint's."""
        return ".lora_" in name

    def folded(self) -> Siglip2Encoder:
        """The same function without adapters: they are added to the weights, in place."""
        from peft.tuners.lora import LoraLayer

        for module in list(self.vision.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, LoraLayer):
                    child.merge()
                    setattr(module, name, child.get_base_layer())
        return self


def load(base: Path, dtype: str = "float32") -> Any:
    """The image tower of a folder, never from the network.

    Raises:
        ModelError: weights are missing (named, never made up in silence) or of another shape.
    """
    from transformers import SiglipVisionModel

    return weights.load_pretrained(SiglipVisionModel, base, "SigLIP2", getattr(torch, dtype))


def build(base: Any, config: EncoderConfig) -> Siglip2Encoder:
    """The encoder around a loaded tower."""
    return Siglip2Encoder(base, config)


def preprocessing(base: Path) -> dict[str, Any]:
    """Fields of :class:`EncoderConfig` that preprocessor_config.json decides. Raises ModelError without one."""
    path = base / "preprocessor_config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            "mean": tuple(map(float, content["image_mean"])),
            "std": tuple(map(float, content["image_std"])),
            "resample": FILTERS[int(content["resample"])],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); fetch the whole checkpoint again") from None


def _inject(vision: Any, rank: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ModelError("encoder.json: lora_rank needs peft: scripts/setup.sh full") from None
    torch.manual_seed(0)  # the start of the adapters is no choice of the caller's
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS), vision)
