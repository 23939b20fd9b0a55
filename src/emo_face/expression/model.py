"""What an expression backend is given and what it must be: the base class of the prototypes and of ContextFace."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from emo_face.core.types import Emotion, ExpressionTarget, FloatArray, ImageArray, Person, Speech


@dataclass(frozen=True, slots=True)
class SeenPerson:
    """One person of one frame with the emotion read from them.

    Attributes:
        arkit: (52,) the person's own ARKit activations if something measures them, else None.
    """

    person: Person
    emotion: Emotion
    arkit: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What one frame showed.

    Attributes:
        stamp: seconds. width, height: pixels of the source image.
        room: read from words that nobody in view said, while they count.
    """

    stamp: float
    width: int
    height: int
    people: tuple[SeenPerson, ...] = ()
    image: ImageArray | None = None
    room: Emotion | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The situation an expression answers.

    Attributes:
        stamp: seconds; stamp of the newest input in it.
        scene: the newest scene, or None while nothing has been seen or it is too old.
        followed: the person the robot attends to, or None.
        speech: the last thing that person (or somebody unknown) said, or None when nothing fresh was said.
    """

    stamp: float
    scene: Scene | None = None
    followed: SeenPerson | None = None
    speech: Speech | None = None


class ExpressionModel(ABC):
    """A backend of the expression node.

    Attributes:
        name: published as ``source``. basis: name of the basis of the coefficients it returns.
        hashes: file name -> sha256 of the weights in use. warning: the degradation in force, with its fix, or empty.
    """

    name: str
    basis: str
    hashes: Mapping[str, str]
    warning: str = ""

    @abstractmethod
    def express(self, context: Context, now: float) -> ExpressionTarget:
        """The expression that answers ``context``; a neutral one, looking ahead, when nobody is followed.

        Args:
            now: seconds, in the clock of the context's stamps.
        """
