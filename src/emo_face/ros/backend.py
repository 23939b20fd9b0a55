"""Load an optional backend by name, with an error that says which extra it needs."""

from __future__ import annotations

import importlib
from typing import Any

from emo_face.core.errors import ConfigError


def load_backend(module: str, extra: str, *arguments: Any) -> Any:
    """Import ``module`` and call its ``build(*arguments)``.

    Args:
        extra: extra of ``setup.py`` that holds the backend's libraries.

    Raises:
        ConfigError: a library of the backend is not installed; names it and the command.
    """
    try:
        build = importlib.import_module(module).build
        return build(*arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("emo_face"):
            raise
        raise ConfigError(
            f"this backend needs {error.name}: pip install 'emo_face[{extra}]', or choose the nano backend"
        ) from None
