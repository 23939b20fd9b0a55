"""The full tier's emotion model: scene, body and face of everybody in a frame, one encoder pass, calibrated scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.labels import label_set, winner
from emo_face.core.types import Emotion, FloatArray, ImageArray, Person, Speech
from emo_face.perception.emotion import EmotionModel
from emo_face.perception.multiview import checkpoint, export_manifest
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.encoders import FAMILIES
from emo_face.perception.multiview.export_manifest import ExportManifest
from emo_face.perception.multiview.head_file import HeadCard
from emo_face.perception.multiview.parts import EncoderPart, HeadPart, encoder_plan, head_plan, pool
from emo_face.perception.multiview.preprocess import view_batch
from emo_face.runtime.engines.select import Engines


class MultiViewEmotion(EmotionModel):
    """A multi-view encoder and its head. Speech is not used: the paper's model sees only.

    Attributes:
        card: thresholds, calibration and label set of the head. engine: what the encoder runs on.
        warnings: what could not be checked, each with its fix.
        thresholds: (classes,) of a multi-label set, else None. own_affect: the head reads valence and arousal itself.
    """

    name = "multiview"

    def __init__(self, encoder: EncoderPart, head: HeadPart, card: HeadCard, warnings: Sequence[str] = ()) -> None:
        """Put the parts together. Raises ModelError if encoder and head were made for different views."""
        if tuple(card.fusion.views) != tuple(encoder.config.views):
            raise ModelError(
                f"head reads views {', '.join(card.fusion.views)}, the encoder gives "
                f"{', '.join(encoder.config.views)}; train the head on features of this encoder"
            )
        self._encoder, self._head, self.card = encoder, head, card
        self.label_set, self.own_affect = card.fusion.label_set, card.fusion.vad
        self.warnings = tuple(warnings)
        self.hashes: Mapping[str, str] = {**encoder.hashes, **head.hashes}
        # For the smoother; of a single-label set the top label is active, whatever its probability.
        self.thresholds: FloatArray | None = card.thresholds if label_set(self.label_set).multi else None

    @property
    def engine(self) -> str:
        """What the encoder runs on now."""
        return self._encoder.name

    def estimate(
        self, frame: ImageArray, people: Sequence[Person], speech: Mapping[str, Speech], now: float
    ) -> list[Emotion]:
        """One emotion per person: the scene is encoded once, all crops of all people go through in the same batch.

        Evidence leaves each view out of the head (not the encoder) and takes the fall of the top label's probability.
        A person of whom no view can be cut gets a flat distribution with quality 0.
        """
        if not people:
            return []
        if frame.ndim != 3 or not frame.size:
            return [self._nothing() for _ in people]
        features, present = self.features(frame, people)
        logits, vad = self._leave_one_out(features, present)
        return [
            self._emotion(logits[:, i], vad[i] if vad is not None else None, present[i]) for i in range(len(people))
        ]

    def features(self, frame: ImageArray, people: Sequence[Person]) -> tuple[FloatArray, FloatArray]:
        """(people, views, size) pooled features and (people, views) of 0/1."""
        config = self._encoder.config
        batch = view_batch(frame, people, config)
        found = {view: pool(tokens, config.pool) for view, tokens in self._encoder.tokens(batch.pixels).items()}
        out = np.zeros((len(people), len(config.views), self.card.fusion.in_features), np.float32)
        for v, view in enumerate(config.views):
            seen = batch.rows[:, v] >= 0
            if seen.any():
                out[seen, v] = found[view][batch.rows[seen, v]]
        return out, np.asarray(batch.present, np.float32)

    def _leave_one_out(self, features: FloatArray, present: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """Logits (1 + views, people, classes): with all views, then without each; VAD (people, 3) with all."""
        people, views = present.shape
        masks = np.repeat(present[None], 1 + views, 0)
        for v in range(views):
            masks[1 + v, :, v] = 0
        tiled = np.repeat(features[None], 1 + views, 0).reshape((1 + views) * people, views, -1)
        logits, vad = self._head.score(np.ascontiguousarray(tiled), np.ascontiguousarray(masks.reshape(-1, views)))
        return logits.reshape(1 + views, people, -1), None if vad is None else vad[:people]

    def _emotion(self, logits: FloatArray, vad: FloatArray | None, present: FloatArray) -> Emotion:
        """From (1 + views, classes) logits of one person."""
        if not present.any() or not np.isfinite(logits).all():
            return self._nothing()
        found = self.card.probabilities(logits)
        probabilities = found[0]
        top = int(probabilities.argmax())
        falls = np.where(present > 0, probabilities[top] - found[1:, top], 0.0)
        total = float(np.abs(falls).sum())
        shares = falls / total if total > 1e-9 else np.zeros_like(falls)
        evidence = {view: float(share) for view, share in zip(self.card.fusion.views, shares, strict=True)}
        valence, arousal = label_set(self.label_set).circumplex(probabilities)
        if vad is not None:
            valence, arousal = float(vad[0]), float(vad[1])
        active = probabilities >= self.card.thresholds
        if not label_set(self.label_set).multi:
            active = np.arange(len(probabilities)) == winner(probabilities)
        return Emotion(
            self.label_set, probabilities, active, valence, arousal, evidence, float(np.mean(np.asarray(present) > 0))
        )

    def _nothing(self) -> Emotion:
        count = len(label_set(self.label_set))
        return Emotion(self.label_set, np.full(count, 1.0 / count), np.zeros(count, bool), 0.0, 0.0, {}, 0.0)


def load(
    folder: Path,
    base: Path | None = None,
    backend: Literal["auto", "torch", "onnx"] = "auto",
    engines: Engines | None = None,
    tier: str = "",
) -> MultiViewEmotion:
    """Load a trained model.

    Args:
        folder: of Stage 2 (``encoder.*``, ``head.*``) or of an export (``*.onnx``, ``export.json``).
        base: folder of the InstructBLIP checkpoint, for torch. backend: ``auto`` takes the export if there is one.
        engines: chooses what it runs on; None takes the CPU with every core.
        tier: ``medium`` or ``full``, if only a model of that tier is accepted.

    Raises:
        ModelError: something is missing or does not fit; says what and the fix.
    """
    engines = engines or Engines("cpu", threads=0)
    exported = (folder / "export.json").is_file()
    if backend == "onnx" or (backend == "auto" and exported):
        return of_export(export_manifest.read(folder), engines, tier)
    if base is None:
        raise ModelError(
            f"{folder}: no exported graphs here; give the checkpoint that it was made on (--base, on a robot "
            "multiview.base), or export it: emo-face export multiview --help"
        )
    check_tier(checkpoint.config_of_card(folder), tier, folder)
    device = engines.torch_device("multiview")
    encoder, head, card = load_torch(folder, base, precision(device))
    return emotion_model_of(encoder, head, card, folder, device)


def precision(device: str) -> str:
    """Type of the weights in torch: on a GPU bfloat16, in which the cache step makes the head's features too."""
    return "bfloat16" if device.startswith("cuda") else "float32"


def emotion_model_of(
    encoder: Any, head: Any, card: HeadCard, folder: Path, device: str = "cpu", alone: bool = True
) -> MultiViewEmotion:
    """The emotion model of loaded torch modules; ``alone`` is False if something else holds the encoder too."""
    from emo_face.perception.multiview import head_file
    from emo_face.perception.multiview.parts import torch_encoder, torch_head
    from emo_face.runtime.store import sha256_of

    unknown = f"{folder / head_file.CARD} names no encoder, so nothing tells that it fits: train Stage 2 again"
    encoder_hash = {checkpoint.WEIGHTS: sha256_of(folder / checkpoint.WEIGHTS)}
    head_hash = {head_file.WEIGHTS: sha256_of(folder / head_file.WEIGHTS)}
    parts = torch_encoder(encoder, folder, device, encoder_hash, alone), torch_head(head, card, folder, head_hash)
    return MultiViewEmotion(*parts, card, () if card.encoder else (unknown,))


def check_encoder(card: HeadCard, folder: Path, base: Path) -> None:
    """Refuse (ModelError) a head that was trained on features of another encoder or checkpoint."""
    from emo_face.perception.multiview import fingerprint, head_file

    if card.encoder:
        fingerprint.check(card.encoder, fingerprint.fingerprint(folder, base), folder / head_file.CARD)


def load_torch(folder: Path, base: Path, dtype: str = "float32") -> tuple[Any, Any, HeadCard]:
    """Encoder and head (torch modules in eval mode) and the head's card, of one Stage 2 folder.

    Raises:
        ModelError: something is missing, or the head was trained on features of another encoder or checkpoint.
    """
    from emo_face.perception.multiview import head_file
    from emo_face.perception.multiview.encoders import load_eyes

    head, card = head_file.load(folder)
    check_encoder(card, folder, base)  # before the checkpoint, which takes much longer
    eyes = load_eyes(base, checkpoint.config_of_card(folder), dtype)
    return checkpoint.load_encoder(folder, eyes), head, card


def check_tier(config: EncoderConfig, tier: str, folder: Path) -> None:
    """Refuse (ModelError) a model of another tier; an empty ``tier`` takes any."""
    own = FAMILIES[config.kind].tier
    if tier and own != tier:
        raise ModelError(f"{folder}: its encoder is {config.kind}, of tier {own}; expected {tier}: say tier {own}")


def of_export(manifest: ExportManifest, engines: Engines | None = None, tier: str = "") -> MultiViewEmotion:
    """The model of an export whose files were checked; see :func:`load`."""
    folder, engines = manifest.folder, engines or Engines("cpu", threads=0)
    check_tier(manifest.encoder, tier, folder)
    loaded = engines.load(folder / "encoder.onnx", encoder_plan(manifest.encoder))
    encoder = EncoderPart(loaded, manifest.encoder, manifest.hashes["encoder"])
    scorer = engines.load(folder / "head.onnx", head_plan(manifest.head), threads=1)
    return MultiViewEmotion(encoder, HeadPart(scorer, manifest.hashes["head"]), manifest.head)
