"""What an emotion model is: the base class of the nano students and of the multi-view VLM."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from emo_face.core.types import Emotion, FloatArray, ImageArray, Person, Speech


class EmotionModel(ABC):
    """Reads the emotions of all people of one frame in one call.

    Attributes:
        name: published as ``model``, for example ``nano``.
        label_set: name of the label set of every :class:`Emotion` it returns.
        hashes: file name -> sha256 of the weights in use.
        thresholds: (n,) probability from which a label is active; None if the model's own flags stand.
        own_affect: the model reads valence and arousal itself; they are not derived from its labels.
        languages: ISO 639 codes of the speech that it reads; None if that does not matter.
        warnings: degradations in force, each with its fix.
    """

    name: str
    label_set: str
    hashes: Mapping[str, str]
    thresholds: FloatArray | None = None
    own_affect: bool = False
    languages: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()

    @abstractmethod
    def estimate(
        self, frame: ImageArray, people: Sequence[Person], speech: Mapping[str, Speech], now: float
    ) -> list[Emotion]:
        """One :class:`Emotion` per person, in the order of ``people``.

        Args:
            frame: H x W x 3 BGR uint8, the whole image; the model cuts and batches its own views.
            people: tracked people of this frame; may be empty.
            speech: person id -> what that person said, already filtered for age and confidence.
            now: seconds, in the clock of the frames.
        """

    def hear(self, speech: Speech, now: float) -> Emotion | None:
        """What words say that nobody in view said; None if the model does not read words, or these no more."""
        return None

    def reset(self) -> None:  # noqa: B027  a model without memory has nothing to do
        """Forget everybody: the clock jumped back, or the node was activated again."""
