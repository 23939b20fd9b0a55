"""Versions of the files that users keep: what is unknown is refused by name, never guessed at."""

from collections.abc import Callable, Mapping
from pathlib import Path

from emo_face.core.errors import ModelError


def known_version(*known: int) -> Callable[[object], int]:
    """A check of a file's ``version`` field: returns it as an int, or raises ValueError with what is read and the fix.

    A file without the field is of version 1; the caller passes that.
    """
    readable = " or ".join(map(str, known))

    def check(found: object) -> int:
        try:
            number = int(str(found))
        except ValueError:
            number = -1
        if number not in known or isinstance(found, bool):
            raise ValueError(
                f"unknown version {found!r}: this release of emo_face reads version {readable}; update emo_face, "
                "or make the file with this release"
            )
        return number

    return check


def check_metadata_version(path: Path, metadata: Mapping[str, str], *known: int) -> None:
    """Raise ModelError if an ONNX file's metadata names a version that this release does not know."""
    try:
        known_version(*known)(metadata.get("version", "1"))
    except ValueError as error:
        raise ModelError(f"{path}: metadata version: {error}") from None
