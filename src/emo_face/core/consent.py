"""Whether people may be read, and what of them may leave the robot."""

from dataclasses import dataclass, replace

MODES = ("off", "notice", "ask")
"""``off``: read always. ``notice``: read, and say so where people can see it. ``ask``: read only after a yes."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What is in force.

    Attributes:
        mode: one of :data:`MODES`. granted: people in view agreed to be read; asked for in mode ``ask``.
        pictures, words: pictures of people, and their words, may be published.
        until: seconds after which the yes no longer holds; None: until the next word.
        by: who said so, for the log.
    """

    mode: str = "off"
    granted: bool = False
    pictures: bool = True
    words: bool = True
    until: float | None = None
    by: str = ""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"consent mode: expected one of {', '.join(MODES)}, got {self.mode!r}")

    def at(self, now: float) -> "Consent":
        """What is in force at ``now`` (seconds): a yes that has run out is none."""
        if self.until is None or now <= self.until:
            return self
        return replace(self, granted=False, until=None)

    def reading(self, now: float) -> bool:
        """Whether anybody may be read at ``now``."""
        return self.mode != "ask" or self.at(now).granted

    def said(
        self, mode: str, granted: bool, pictures: bool, words: bool, valid_for: float, by: str, now: float
    ) -> "Consent":
        """After somebody's word: ``mode`` "" stays as it is; ``valid_for`` seconds, 0 until the next word.

        Raises:
            ValueError: an unknown mode.
        """
        until = now + valid_for if granted and valid_for > 0 else None
        return Consent(mode or self.mode, granted, pictures, words, until, by)
