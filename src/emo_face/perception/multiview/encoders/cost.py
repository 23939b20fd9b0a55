"""What encoding costs: multiply-adds of one picture, from the shapes of a checkpoint alone."""

from typing import Any

INSTRUCTION = 40
"""Tokens of a usual Stage-2 instruction."""


def picture_flops(config: Any, instruction: int = INSTRUCTION) -> tuple[float, float]:
    """FLOPs (multiply-adds times two) of the image encoder and of the Q-Former for one picture.

    Args:
        config: an InstructBLIP configuration, or one of SigLIP's image tower, which has no Q-Former.
    """
    if not hasattr(config, "qformer_config"):
        return tower_flops(getattr(config, "vision_config", config), 0), 0.0
    vision, qformer = config.vision_config, config.qformer_config
    tokens, width = _tokens(vision) + 1, vision.hidden_size
    queries, size = config.num_query_tokens, qformer.hidden_size
    rows = queries + instruction
    own = rows * (4 * size * size + 2 * size * qformer.intermediate_size) + 2 * rows * rows * size
    cross = 2 * queries * size * size + 2 * tokens * width * size + 2 * queries * tokens * size
    crossing = -(-qformer.num_hidden_layers // qformer.cross_attention_frequency)
    return tower_flops(vision, 1), 2.0 * (qformer.num_hidden_layers * own + crossing * cross)


def tower_flops(vision: Any, more: int) -> float:
    """FLOPs of a vision transformer for one picture; ``more`` tokens beside the patches."""
    tokens, width = _tokens(vision) + more, vision.hidden_size
    layer = tokens * (4 * width * width + 2 * width * vision.intermediate_size) + 2 * tokens * tokens * width
    return float(2 * (vision.num_hidden_layers * layer + tokens * 3 * vision.patch_size**2 * width))


def _tokens(vision: Any) -> int:
    return int((vision.image_size // vision.patch_size) ** 2)
