"""What the multi-view model runs on: torch modules or exported graphs, behind two small protocols."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.head_file import HeadCard
from emo_face.perception.multiview.place import place
from emo_face.runtime.engines.base import Engine
from emo_face.runtime.engines.plan import Plan, Range
from emo_face.runtime.store import sha256_of

log = logging.getLogger(__name__)


class EncoderPart(Protocol):
    """Pixels -> tokens. ``hashes``: file name -> sha256. ``name``: engine and device."""

    config: EncoderConfig
    hashes: Mapping[str, str]

    @property
    def name(self) -> str: ...

    def tokens(self, pixels: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """View -> (k, queries, size) of what Stage 2 reads, for views with k > 0."""
        ...


class HeadPart(Protocol):
    """Features -> logits."""

    hashes: Mapping[str, str]

    def score(self, features: FloatArray, present: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """(n, views, size), (n, views) -> logits (n, classes) and VAD (n, 3) or None."""
        ...


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


class TorchEncoder:
    """The encoder in torch; on a full GPU it halves the batch, then goes to the CPU, and says so.

    An encoder that something else holds too (``alone`` False) stays where it is; the picture fails instead.
    """

    def __init__(
        self, encoder: Any, device: str = "cpu", hashes: Mapping[str, str] | None = None, alone: bool = True
    ) -> None:
        self._encoder = place(encoder, device, "the encoder")
        self._alone = alone
        self.config: EncoderConfig = encoder.config
        self.device, self.name = device, f"torch/{device}"
        self.hashes: Mapping[str, str] = dict(hashes or {})
        self._limit = 1 << 30

    def tokens(self, pixels: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """One pass of the image encoder over all views, unless the memory forces several."""
        import torch

        while True:
            try:
                return self._all(pixels)
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                largest = min(self._limit, sum(len(value) for value in pixels.values()))
                if largest > 1:
                    self._limit = max(1, largest // 2)
                    log.warning("GPU memory is full: at most %d pictures a pass from now on", self._limit)
                elif not self._alone:
                    raise ModelError(
                        f"{self.device}: no memory left for one picture; free some, or turn multiview.ask off"
                    ) from None
                else:
                    self._encoder.to("cpu")
                    self.device, self.name, self._limit = "cpu", "torch/cpu", 1 << 30
                    log.warning("GPU memory is full for a single picture: the encoder runs on the CPU from now on")

    def _all(self, pixels: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        if sum(len(value) for value in pixels.values()) <= self._limit:
            return self._one(pixels)
        out: dict[str, list[FloatArray]] = {}
        for view, value in pixels.items():
            for start in range(0, len(value), self._limit):
                out.setdefault(view, []).append(self._one({view: value[start : start + self._limit]})[view])
        return {view: np.concatenate(parts) for view, parts in out.items()}

    def _one(self, pixels: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        import torch

        with torch.inference_mode():
            given = {view: torch.from_numpy(value).to(self.device) for view, value in pixels.items() if len(value)}
            found = self._encoder(given)
            if self.config.feature == "projected":
                found = self._encoder.project(found)
            return {view: value.float().cpu().numpy() for view, value in found.items()}


class TorchHead:
    """The fusion head in torch, always on the CPU: it is a few million multiplications."""

    def __init__(self, head: Any, hashes: Mapping[str, str] | None = None) -> None:
        self._head = head.eval()
        self.hashes: Mapping[str, str] = dict(hashes or {})

    def score(self, features: FloatArray, present: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """See :class:`HeadPart`."""
        import torch

        with torch.inference_mode():
            logits, vad = self._head(torch.from_numpy(features), torch.from_numpy(present))
        return logits.numpy(), None if vad is None else vad.numpy()


def blank_views(pixels: Mapping[str, FloatArray], config: EncoderConfig) -> dict[str, FloatArray]:
    """Feeds of an exported encoder: every view has at least one picture, a blank one where nobody shows it."""
    blank = np.zeros((1, 3, config.image_size, config.image_size), np.float32)
    return {view: pixels[view] if len(pixels.get(view, ())) else blank for view in config.views}


class GraphEncoder:
    """An exported encoder graph with one input a view; a view nobody shows gets one blank picture that is dropped."""

    def __init__(self, engine: Engine, config: EncoderConfig, files: Sequence[Path] = ()) -> None:
        self._engine, self.config = engine, config
        self.hashes: Mapping[str, str] = {path.name: sha256_of(path) for path in files}

    @property
    def name(self) -> str:
        return self._engine.name

    def tokens(self, pixels: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """See :class:`EncoderPart`."""
        found = self._engine.run(blank_views(pixels, self.config))
        return {
            view: np.asarray(value, np.float32)
            for view, value in zip(self.config.views, found, strict=True)
            if len(pixels.get(view, ()))
        }


class GraphHead:
    """An exported head graph."""

    def __init__(self, engine: Engine, files: Sequence[Path] = ()) -> None:
        self._engine = engine
        self.hashes: Mapping[str, str] = {path.name: sha256_of(path) for path in files}

    def score(self, features: FloatArray, present: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """See :class:`HeadPart`."""
        found = self._engine.run({"features": features, "present": present})
        return np.asarray(found[0]), np.asarray(found[1]) if len(found) > 1 else None
