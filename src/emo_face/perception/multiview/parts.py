"""Encoder and head of the multi-view model on any engine: exported graphs, or torch modules."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.head_file import HeadCard
from emo_face.runtime.engines.base import Engine, TensorSpec
from emo_face.runtime.engines.plan import Plan, Range
from emo_face.runtime.engines.resilient import Resilient

log = logging.getLogger(__name__)


PEOPLE = (1, 2, 4, 8)
"""Buckets of people; a frame with more goes through in pieces."""


def encoder_plan(config: EncoderConfig) -> Plan:
    """The scene is one picture per frame, bodies and faces one per person."""
    side = config.image_size
    one = (1, 3, side, side)
    people = Range(one, (2, 3, side, side), (PEOPLE[-1], 3, side, side))
    shapes = {view: Range(one, one, one) if view == "scene" else people for view in config.views}
    rows = {f"{view}_tokens": view for view in config.views if view != "scene"}
    return Plan("multiview_encoder", shapes, rows, PEOPLE if rows else ())


def head_plan(card: HeadCard) -> Plan:
    """Rows of the head: each person with all views, then without each of them."""
    views, size = len(card.fusion.views), card.fusion.in_features
    buckets = tuple((1 + views) * count for count in PEOPLE)
    usual, most = buckets[1], buckets[-1]
    shapes = {
        "features": Range((1, views, size), (usual, views, size), (most, views, size)),
        "present": Range((1, views), (usual, views), (most, views)),
    }
    return Plan("multiview_head", shapes, {"logits": "features", "vad": "present"}, buckets)


def pool(tokens: FloatArray, how: str) -> FloatArray:
    """(k, queries, size) -> (k, feature), as :meth:`MultiViewEncoder.pool` does it."""
    if how == "mean":
        return np.asarray(np.mean(tokens, axis=1, dtype=np.float32))
    chosen = tokens.reshape(len(tokens), -1) if how == "flatten" else tokens[:, 0]
    return np.asarray(chosen, np.float32)


def blank_views(pixels: Mapping[str, FloatArray], config: EncoderConfig) -> dict[str, FloatArray]:
    """Feeds of an exported encoder: every view has at least one picture, a blank one if nobody shows it."""
    blank = np.zeros((1, 3, config.image_size, config.image_size), np.float32)
    return {view: pixels[view] if len(pixels.get(view, ())) else blank for view in config.views}


class EncoderPart:
    """Pixels -> tokens, on any engine.

    Attributes:
        hashes: file name -> sha256. blanks: the engine wants a picture of every view, as exported graphs do.
    """

    def __init__(self, engine: Engine, config: EncoderConfig, hashes: Mapping[str, str], blanks: bool = True) -> None:
        self._engine, self.config, self.hashes, self.blanks = engine, config, hashes, blanks

    @property
    def name(self) -> str:
        """Engine and device."""
        return self._engine.name

    def tokens(self, pixels: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """View -> (k, 3, size, size) to view -> (k, queries, size) of what Stage 2 reads, for views with k > 0."""
        if not any(map(len, pixels.values())):
            return {}
        found = self._engine.run(blank_views(pixels, self.config) if self.blanks else pixels)
        return {
            view: np.asarray(value, np.float32)
            for view, value in zip(self.config.views, found, strict=True)
            if len(pixels.get(view, ()))
        }


class HeadPart:
    """Features -> logits, on any engine. ``hashes``: file name -> sha256."""

    def __init__(self, engine: Engine, hashes: Mapping[str, str]) -> None:
        self._engine, self.hashes = engine, hashes

    def score(self, features: FloatArray, present: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """(n, views, size), (n, views) -> logits (n, classes) and VAD (n, 3) or None."""
        found = self._engine.run({"features": features, "present": present})
        return np.asarray(found[0]), np.asarray(found[1]) if len(found) > 1 else None


def torch_encoder(
    encoder: Any, folder: Path, device: str = "cpu", hashes: Mapping[str, str] | None = None, alone: bool = True
) -> EncoderPart:
    """An encoder in torch. On a full GPU it takes fewer people a pass, then goes to the CPU, and says so.

    An encoder that something else holds too (``alone`` False) stays where it is; the picture fails instead.
    """
    from emo_face.perception.multiview.graphs import EncoderGraph
    from emo_face.runtime.engines.torch_module import TorchEngine

    config = encoder.config
    inputs = [TensorSpec(view, "float32", (None, 3, config.image_size, config.image_size)) for view in config.views]
    outputs = [TensorSpec(f"{view}_tokens", "float32", (None, None, None)) for view in config.views]
    graph = EncoderGraph(encoder)

    def on(place: str) -> Engine:
        return TorchEngine(graph, inputs, outputs, folder, place)

    def spare() -> Engine:
        if not alone:
            raise ModelError(f"{device}: no memory left for one picture; free some, or turn multiview.ask off")
        return on("cpu")

    engine = on(device)
    if device != "cpu":
        plan = replace(encoder_plan(config), padded=False)
        engine = Resilient(engine, plan, spare, lambda name, text: log.warning("%s: %s", name, text))
    return EncoderPart(engine, config, hashes or {}, blanks=False)


def torch_head(head: Any, card: HeadCard, folder: Path, hashes: Mapping[str, str] | None = None) -> HeadPart:
    """The fusion head in torch, always on the CPU: it is a few million multiplications."""
    from emo_face.perception.multiview.graphs import HeadGraph
    from emo_face.runtime.engines.torch_module import TorchEngine

    views, size = len(card.fusion.views), card.fusion.in_features
    inputs = TensorSpec("features", "float32", (None, views, size)), TensorSpec("present", "float32", (None, views))
    outputs = [TensorSpec(name, "float32", (None, None)) for name in ("logits", *(("vad",) if card.fusion.vad else ()))]
    return HeadPart(TorchEngine(HeadGraph(head), inputs, outputs, folder), hashes or {})
