"""The forms of the question for a face: whose it is, from which words, with a picture or without.

Training, evaluation and every backend take a form from here, so that nothing is asked that no training task contains.
No torch here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from emo_face.core.errors import UserError
from emo_face.expression.contextface.prompts import (
    PERSPECTIVES,
    Perspective,
    Pieces,
    Source,
    Style,
    expression_question,
    safe,
)

Words = Literal["quote", "situation", "both", "none"]
WORDS: tuple[Words, ...] = ("quote", "situation", "both", "none")
"""What is known in words; ``none`` leaves the picture alone."""
PICTURES = ("text", "picture")
_NAMES = {"quote": "quote", "situation": "situation", "both": "situation+quote"}


@dataclass(frozen=True, slots=True)
class Condition:
    """One form of the question.

    Attributes:
        perspective: whose face. words: what is given in words. picture: the picture is given too.
    """

    perspective: Perspective
    words: Words
    picture: bool

    def __post_init__(self) -> None:
        if self.words == "none" and not self.picture:
            raise ValueError("condition: words or a picture are needed")

    @property
    def name(self) -> str:
        """``quote``, ``image+quote``, ``image``, ``listener/image+situation+quote``: the speaker's have no prefix."""
        parts = ("image",) * self.picture + ((_NAMES[self.words],) if self.words != "none" else ())
        return ("listener/" if self.perspective == "listener" else "") + "+".join(parts)

    @property
    def source(self) -> Source:
        """What an answer says it considered: the situation before the quote before the picture."""
        return "image" if self.words == "none" else "quote" if self.words == "quote" else "situation"

    def texts(self, quote: str, situation: str) -> tuple[str, str]:
        """(quote, situation) with what this form does not give left empty."""
        said, told = self.words in ("quote", "both"), self.words in ("situation", "both")
        return quote if said else "", situation if told else ""

    def question(self, quote: str, situation: str, style: Style = "paper") -> Pieces:
        """The question; texts that this form does not give are left out."""
        return expression_question(*self.texts(quote, situation), self.picture, self.perspective, style)


CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition(perspective, words, picture)
        for perspective in PERSPECTIVES
        for picture in (False, True)
        for words in WORDS
        if picture or words != "none"
    )
}
"""Every form by its name."""
SERVED = CONDITIONS["listener/image+quote"]
"""What the robot asks by default: its own face to what it hears and sees."""


def select(perspectives: Iterable[str], words: Iterable[str], pictures: Iterable[str]) -> tuple[str, ...]:
    """Names of the product, in the order of :data:`CONDITIONS`. Raises ValueError naming an unknown choice."""
    chosen = {}
    for what, given, known in (
        ("perspectives", tuple(perspectives), PERSPECTIVES),
        ("words", tuple(words), WORDS),
        ("pictures", tuple(pictures), PICTURES),
    ):
        if not given or not set(given) <= set(known):
            raise ValueError(f"{what}: {','.join(given)!r}, expected some of {', '.join(known)}")
        chosen[what] = given
    return tuple(
        name
        for name, c in CONDITIONS.items()
        if c.perspective in chosen["perspectives"]
        and c.words in chosen["words"]
        and PICTURES[c.picture] in chosen["pictures"]
    )


def known(names: Sequence[str]) -> tuple[Condition, ...]:
    """The forms of these names. Raises ValueError naming an unknown one."""
    if unknown := [name for name in names if name not in CONDITIONS]:
        raise ValueError(f"condition {unknown[0]!r}: expected one of {', '.join(CONDITIONS)}")
    return tuple(CONDITIONS[name] for name in names)


def condition_of(quote: str, situation: str, image: bool, perspective: Perspective) -> Condition:
    """The form that says everything that is there. Raises UserError if nothing is."""
    said, told = bool(safe(quote)), bool(safe(situation))
    if not (said or told or image):
        raise UserError("context: a quote, a situation or an image is needed, all are empty")
    words: Words = "both" if said and told else "quote" if said else "situation" if told else "none"
    return Condition(perspective, words, image)


def asked_of(
    trained: Sequence[str], quote: str, situation: str, image: bool, boxed: bool, perspective: Perspective
) -> Condition:
    """The form in which a model is asked about what is there; every backend asks in no other.

    Args:
        trained: forms that the model learned. boxed: the picture has a red box.

    Raises:
        UserError: nothing is there, the model never answered for this side from it, or the question would be about the
            person in a red box and there is none.
    """
    wanted = condition_of(quote, situation, image, perspective)
    found = nearest(wanted, trained)
    if found is None:
        raise UserError(
            f"the model was not trained to answer {wanted.name!r}, only {', '.join(trained) or 'nothing'}; "
            "give what it knows, or train with --perspectives, --words and --pictures that include it"
        )
    if found.words == "none" and not boxed:
        raise UserError("box: the question is about the person in the red box, and the picture has none; give the box")
    return found


def nearest(wanted: Condition, trained: Sequence[str]) -> Condition | None:
    """What a model that learned the forms ``trained`` is asked instead: words are kept before the picture.

    None if it never answered for this side from anything that is there.
    """
    fewer: Mapping[Words, tuple[Words, ...]] = {"both": ("both", "situation", "quote"), "none": ()}
    pictures = (True, False) if wanted.picture else (False,)
    choices = [(words, picture) for words in fewer.get(wanted.words, (wanted.words,)) for picture in pictures]
    if wanted.picture:
        choices.append(("none", True))
    found = (Condition(wanted.perspective, *choice) for choice in choices)
    return next((condition for condition in found if condition.name in trained), None)
