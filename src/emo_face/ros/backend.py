"""Optional backends: a missing library is an error that says which extra brings it."""

from collections.abc import Iterator
from contextlib import contextmanager

from emo_face.core.errors import ConfigError
from emo_face.core.install import how_to_install


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Import and load a backend inside; ``extra`` of ``setup.py`` holds its libraries.

    Raises:
        ConfigError: one of them is not installed; names it and the command.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("emo_face"):
            raise
        raise ConfigError(
            f"this backend needs {error.name}: {how_to_install(extra)}, or choose the nano backend"
        ) from None
