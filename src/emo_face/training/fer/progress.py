"""A progress bar on standard error that stays silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Sequence[Item], text: str) -> Iterable[Item]:
    """Iterate over ``items`` with a bar named ``text`` when standard error is a terminal."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description=text, console=Console(stderr=True))
