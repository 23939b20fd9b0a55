"""How far a tree mask describes a prompt with its branches truly: as far as every layer sees all that it shows."""

import inspect
import math
from typing import Any

MASKED_LAYERS = frozenset(("full_attention", "sliding_attention"))
"""Kinds of layers (transformers' ``layer_types``) that see what a mask shows them, a sliding one in its window.

Recurrent and convolutional layers mix what lies side by side whatever a mask says; of chunked and indexed ones nothing
is known here."""


def core_of(base: Any) -> Any:
    """A transformers model without its language head."""
    return getattr(base, "model", None) or base.base_model


def takes(core: Any, name: str) -> bool:
    """Whether a model's forward pass has an argument of this name."""
    return name in inspect.signature(core.forward).parameters


def picture_marks(base: Any) -> str:
    """Argument that tells a model which tokens are a picture's; empty if it does not ask, as PaliGemma, whose
    ``token_type_ids`` are about the answer."""
    core, names = core_of(base), ("mm_token_type_ids", "token_type_ids")
    return "" if base.config.model_type == "paligemma" else next((n for n in names if takes(core, n)), "")


def tree_reach(base: Any, picture: bool = False) -> float:
    """Tokens up to which one pass over all branches equals separate passes: 0 never, infinity always, else a window.

    ``picture``: tokens of a picture are among them; some models (Gemma) let these see each other.
    """
    text = base.config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    # where positions are not given but counted (ALiBi), a branch would stand behind its siblings
    if getattr(base, "_is_stateful", False) or kinds - MASKED_LAYERS or not takes(core_of(base), "position_ids"):
        return 0
    if picture and picture_marks(base) and not hasattr(core_of(base), "get_rope_index"):
        return 0
    window = getattr(text, "sliding_window", None)
    return float(window) if window and (not kinds or "sliding_attention" in kinds) else math.inf
