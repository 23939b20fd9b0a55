"""SmolVLM's image tower for three views (tier ``medium``): a SigLIP further trained with a small language model.

Marafioti et al., "SmolVLM", 2025 (arXiv 2504.05299). The checkpoints are of transformers' class Idefics3, SmolVLM2's of
SmolVLM; both towers are one. The head reads the tower's tokens; the whole model answers (:mod:`..words.chat`).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.encoders.siglip2 import Siglip2Encoder
from emo_face.runtime import weights


class SmolVlmEncoder(Siglip2Encoder):
    """The tower on whole square pictures: without the masks for padded ones, which no export should carry."""

    def __init__(self, base: Any, config: EncoderConfig) -> None:
        super().__init__(base, config)
        self.register_buffer("places", places(base), persistent=False)

    def see(self, pixels: Tensor) -> Tensor:
        """See :class:`.siglip2.Siglip2Encoder`."""
        tower = self.vision
        patches = tower.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
        embedded = patches + tower.embeddings.position_embedding(self.places)
        found: Tensor = tower.post_layernorm(tower.encoder(inputs_embeds=embedded).last_hidden_state)
        return found


def places(tower: Any) -> Tensor:
    """Position of each patch of a whole picture, as the tower itself finds them: 27 patches do not divide evenly."""
    shape, found = tower.config, []
    number = shape.image_size // shape.patch_size
    layer = tower.embeddings.position_embedding
    hook = layer.register_forward_pre_hook(lambda _, given: found.append(given[0][0]))
    blank = torch.zeros(1, 3, shape.image_size, shape.image_size, dtype=layer.weight.dtype, device=layer.weight.device)
    with torch.no_grad():
        tower.embeddings(blank, torch.ones(1, number, number, dtype=torch.bool, device=blank.device))
    hook.remove()
    return found[0]


def load(base: Path, dtype: str = "float32") -> Any:
    """The image tower of a folder, never from the network.

    Raises:
        ModelError: weights are missing (named, never made up in silence) or of another shape.
    """
    from transformers import AutoModelForImageTextToText

    whole = weights.load_pretrained(AutoModelForImageTextToText, base, "SmolVLM", getattr(torch, dtype))
    return whole.model.vision_model


def build(base: Any, config: EncoderConfig) -> SmolVlmEncoder:
    """The encoder around a loaded tower."""
    return SmolVlmEncoder(base, config)
