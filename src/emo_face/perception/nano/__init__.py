"""The nano emotion models: face student, speech student and their fusion. onnxruntime only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emo_face.perception.nano.model import NanoEmotion
    from emo_face.runtime.store import ModelStore


def build(store: ModelStore, values: Mapping[str, object]) -> NanoEmotion:
    """Load the nano emotion model from a perception node's parameters (``speech.ttl``, ``detector.threads``)."""
    from emo_face.perception.nano.model import build_nano

    return build_nano(store, float(str(values["speech.ttl"])), int(str(values.get("detector.threads", 1))))
