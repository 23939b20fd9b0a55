"""What encoding costs: multiply-adds of one picture, from the shapes of a checkpoint alone."""

from __future__ import annotations

from typing import Any

INSTRUCTION = 40
"""Tokens of a usual Stage-2 instruction."""


def picture_flops(config: Any, instruction: int = INSTRUCTION) -> tuple[float, float]:
    """FLOPs (multiply-adds times two) of the image encoder and of the Q-Former for one picture.

    Args:
        config: an InstructBLIP configuration.
    """
    vision, qformer = config.vision_config, config.qformer_config
    tokens = (vision.image_size // vision.patch_size) ** 2 + 1
    width = vision.hidden_size
    layer = tokens * (4 * width * width + 2 * width * vision.intermediate_size) + 2 * tokens * tokens * width
    seen = vision.num_hidden_layers * layer + tokens * 3 * vision.patch_size**2 * width
    queries, size = config.num_query_tokens, qformer.hidden_size
    rows = queries + instruction
    own = rows * (4 * size * size + 2 * size * qformer.intermediate_size) + 2 * rows * rows * size
    cross = 2 * queries * size * size + 2 * tokens * width * size + 2 * queries * tokens * size
    crossing = -(-qformer.num_hidden_layers // qformer.cross_attention_frequency)
    return 2.0 * seen, 2.0 * (qformer.num_hidden_layers * own + crossing * cross)
