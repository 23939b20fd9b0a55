"""What every reading has, of a picture or of a sentence: the emotion and how sure it is."""

import numpy as np

from emo_face.core.labels import label_set, top_of
from emo_face.core.types import Emotion


class Reading:
    """Base of what `look` and `say` answer; ``emotion`` holds the probabilities as arrays."""

    __slots__ = ()
    emotion: Emotion

    @property
    def top(self) -> str:
        """The emotion that stands out; empty if nothing usable was seen or said, or if nothing stands out."""
        return top_of(self.emotion)

    @property
    def probabilities(self) -> dict[str, float]:
        """Label -> calibrated probability, likeliest first; they sum to 1."""
        labels, p = label_set(self.emotion.label_set).labels, np.asarray(self.emotion.probabilities)
        return {labels[i]: float(p[i]) for i in np.argsort(-p, kind="stable")}

    @property
    def quality(self) -> float:
        """[0, 1]; at 0 nothing could be read (no face, another script, no letters): flat, the face stays at rest."""
        return self.emotion.quality
