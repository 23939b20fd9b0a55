"""A progress bar and TensorBoard for training loops; both quiet on all processes but the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def bar(name: str, total: int, done: int = 0, show: bool = True) -> Iterator[Callable[[int, float], None]]:
    """Yield ``tick(step, loss)``; drawn on stderr, and only where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (show and console.is_terminal)) as progress:
        task = progress.add_task(name, total=total, completed=done)

        def tick(step: int, loss: float) -> None:
            progress.update(task, completed=step, description=f"{name} loss {loss:.4f}")

        yield tick


@contextmanager
def board(folder: Path, write: bool = True) -> Iterator[Callable[[str, float, int], None]]:
    """Yield ``add(name, value, step)``, written for TensorBoard where it is installed."""
    if not write or find_spec("tensorboard") is None:
        yield lambda name, value, step: None
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    try:
        yield lambda name, value, step: writer.add_scalar(name, value, step)
    finally:
        writer.close()
