"""Pictures for one checkpoint: every picture becomes the same number of tokens."""

from typing import Any

import torch
from torch import Tensor

from emo_face.core.errors import ModelError, UserError
from emo_face.core.types import Box, ImageArray
from emo_face.expression.contextface.model import core_of
from emo_face.expression.contextface.picture import fitted

_SPLITTERS = ("smolvlm", "idefics3")
"""Families whose image processor cuts a picture into tiles unless told not to."""
_SIZE = 448
"""Pixels a side for vision encoders of any size (Qwen-VL): 256 tokens."""


class Eyes:
    """Letterboxes pictures, runs the checkpoint's image processor, and knows how many tokens each picture takes."""

    def __init__(self, base: Any, processor: Any, image_size: int = 0) -> None:
        self.processor, self.model_type = processor, str(base.config.model_type)
        size = image_size or getattr(base.config.vision_config, "image_size", 0) or _SIZE
        self.size = int(size if isinstance(size, int) else size[0])
        self.tokens = _count(base, self.tensors([fitted(_grey(), self.size)]))

    def fitted(self, image: ImageArray, box: Box | None = None) -> ImageArray:
        """The square RGB picture that the model sees; BGR in."""
        return fitted(image, self.size, box)

    def tensors(self, pictures: list[ImageArray]) -> dict[str, Tensor]:
        """What the model's vision part takes, for square RGB pictures; an empty dict for none."""
        if not pictures:
            return {}
        options = {"do_image_splitting": False} if self.model_type in _SPLITTERS else {}
        images = [[p] for p in pictures] if self.model_type in _SPLITTERS else list(pictures)
        made = self.processor(images=images, return_tensors="pt", **options)
        names = ("pixel_values", "pixel_attention_mask", "image_grid_thw", "image_sizes")
        return {name: made[name] for name in names if name in made}


class NoEyes:
    """In place of :class:`Eyes` for a language model of text alone."""

    tokens = 0

    def fitted(self, image: ImageArray, box: Box | None = None) -> ImageArray:
        """Raises UserError: there is nothing to see with."""
        raise UserError("picture: this language model reads text alone; leave the picture out")

    def tensors(self, pictures: list[ImageArray]) -> dict[str, Tensor]:
        """Nothing; pictures are refused before."""
        return {}


def eyes_of(base: Any, processor: Any, image_size: int = 0) -> Eyes | NoEyes:
    """The eyes of a loaded backbone; ``processor`` is None if it has none."""
    return NoEyes() if processor is None else Eyes(base, processor, image_size)


def _grey() -> ImageArray:
    import numpy as np

    return np.full((64, 64, 3), 114, np.uint8)


@torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
def _count(base: Any, sample: dict[str, Tensor]) -> int:
    """Rows that the vision part gives for one picture."""
    moved = {n: v.to(base.device, base.dtype if v.is_floating_point() else None) for n, v in sample.items()}
    try:
        features = core_of(base).get_image_features(**moved, return_dict=True).pooler_output
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"model type {base.config.model_type!r}: pictures cannot be encoded: {error}") from None
    parts = features if isinstance(features, (list, tuple)) else [features]
    return int(sum(part.reshape(-1, part.shape[-1]).shape[0] for part in parts))
