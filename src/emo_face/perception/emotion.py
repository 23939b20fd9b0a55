"""The protocol that every emotion model fills: the nano students and the multi-view VLM alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from emo_face.core.types import Emotion, ImageArray, Person, Speech


class EmotionModel(Protocol):
    """Reads the emotions of all people of one frame in one call.

    Attributes:
        name: published as ``model``, for example ``nano``.
        label_set: name of the label set of every :class:`Emotion` it returns.
        hashes: file name -> sha256 of the weights in use.

    Optional attributes, read with their default where a model has none:
        thresholds: (n,) probability from which a label is active (None: the model's own flags stand).
        own_affect: valence and arousal are read by the model, not derived from its labels (False).
        warnings: degradations in force, each with its fix (none).
    """

    name: str
    label_set: str
    hashes: Mapping[str, str]

    def estimate(
        self, frame: ImageArray, people: Sequence[Person], speech: Mapping[str, Speech], now: float
    ) -> list[Emotion]:
        """One :class:`Emotion` a person, in the order of ``people``.

        Args:
            frame: H x W x 3 BGR uint8, the whole image; the model cuts and batches its own views.
            people: tracked people of this frame; may be empty.
            speech: person id -> what that person said, already filtered for age and confidence.
            now: seconds, in the clock of the frames.
        """
        ...
