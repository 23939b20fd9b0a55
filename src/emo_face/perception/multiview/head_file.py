"""The Stage-2 head on disk: weights, and a card with label set, thresholds, calibration and what it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.configs import from_dict
from emo_face.core.errors import ModelError
from emo_face.core.labels import label_set
from emo_face.core.numeric import sigmoid, softmax
from emo_face.core.types import FloatArray
from emo_face.perception.multiview.config import FusionConfig, to_dict
from emo_face.runtime.files import replacing, write_json
from emo_face.runtime.store import sha256_of
from emo_face.runtime.weights import read_json, read_tensors

FORMAT = "emo_face.multiview.head/1"
WEIGHTS, CARD = "head.safetensors", "head.json"


@dataclass(frozen=True)
class HeadCard:
    """All of a head but its weights.

    Attributes:
        thresholds: (classes,) on calibrated probabilities, fitted on validation.
        scale, shift: (classes,) of the calibration, probability = sigmoid(scale * logit + shift); for a single-label
            set softmax(scale * logits).
        encoder: fingerprint of the encoder whose features it was trained on (:mod:`.fingerprint`); empty if unknown.
        metrics: of the splits it was measured on. training: settings of Stage 2, for its ablations; may be empty.
    """

    fusion: FusionConfig
    thresholds: FloatArray
    scale: FloatArray
    shift: FloatArray
    encoder: Mapping[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        classes = len(label_set(self.fusion.label_set))
        for name in ("thresholds", "scale", "shift"):
            value = np.asarray(getattr(self, name))
            if value.shape != (classes,) or not np.isfinite(value).all():
                raise ModelError(f"head: {name}: expected {classes} finite numbers for {self.fusion.label_set}")
        if not (np.asarray(self.scale) > 0).all():
            raise ModelError("head: scale: expected positive numbers")

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """Calibrated probabilities of (n, classes) logits."""
        scaled = np.asarray(logits, np.float64) * self.scale + self.shift
        return sigmoid(scaled) if label_set(self.fusion.label_set).multi else softmax(scaled)


def to_json(card: HeadCard) -> dict[str, Any]:
    """The card as JSON."""
    return {
        "format": FORMAT,
        "label_set": card.fusion.label_set,
        "labels": list(label_set(card.fusion.label_set).labels),
        "fusion": to_dict(card.fusion),
        "thresholds": np.asarray(card.thresholds).tolist(),
        "calibration": {"scale": np.asarray(card.scale).tolist(), "shift": np.asarray(card.shift).tolist()},
        "encoder": dict(card.encoder),
        "metrics": card.metrics,
        "training": dict(card.training),
    }


def from_json(content: dict[str, Any], where: str) -> HeadCard:
    """Validate a card. Raises ModelError naming ``where`` and the field; labels must be the set's, in its order."""
    if content.get("format") != FORMAT:
        raise ModelError(f"{where}: field 'format': expected {FORMAT!r}, got {content.get('format')!r}")
    try:
        fusion = from_dict(FusionConfig, content["fusion"], f"{where}: fusion")
        if list(label_set(fusion.label_set).labels) != list(content["labels"]):
            raise ModelError(f"{where}: field 'labels': is not label set {fusion.label_set!r} in its order")
        calibration = content["calibration"]
        return HeadCard(
            fusion,
            np.asarray(content["thresholds"], np.float64),
            np.asarray(calibration["scale"], np.float64),
            np.asarray(calibration["shift"], np.float64),
            _fingerprint(content.get("encoder"), where),
            dict(content.get("metrics", {})),
            dict(content.get("training", {})),
        )
    except KeyError as error:
        raise ModelError(f"{where}: field {error} is missing or names no known label set") from None


def _fingerprint(value: Any, where: str) -> dict[str, str]:
    if not value or isinstance(value, str):  # a single key: older heads, whose encoder cannot be checked
        return {}
    if not isinstance(value, dict) or not all(isinstance(part, str) for part in value.values()):
        raise ModelError(f"{where}: field 'encoder': expected part -> sha256, got {str(value)[:80]}")
    return value


def save(folder: Path, head: Any, card: HeadCard) -> Path:
    """Write ``head.safetensors`` and ``head.json``; the card carries the weights' sha256."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    with replacing(folder / WEIGHTS) as scratch:
        save_file(state, str(scratch), metadata={"format": FORMAT})
    write_json(folder / CARD, {**to_json(card), "sha256": sha256_of(folder / WEIGHTS)})
    return folder / WEIGHTS


def read_card(folder: Path) -> tuple[HeadCard, dict[str, Any]]:
    """The card of a folder and its raw JSON. Raises ModelError naming the file."""
    path = folder / CARD
    content = read_json(path, "train Stage 2 first")
    return from_json(content, str(path)), content


def load(folder: Path) -> tuple[Any, HeadCard]:
    """The head (a torch module in eval mode) and its card. Raises ModelError for a wrong hash or other weights."""
    from emo_face.perception.multiview.fusion_head import FusionHead

    card, content = read_card(folder)
    path = folder / WEIGHTS
    if not path.is_file() or sha256_of(path) != content.get("sha256"):
        raise ModelError(f"{path}: missing, or its sha256 is not the card's {content.get('sha256')}; copy both again")
    head = FusionHead(card.fusion)
    try:
        head.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        raise ModelError(f"{path}: does not fit its card: {' '.join(str(error).split())[:300]}") from None
    return head.eval(), card
