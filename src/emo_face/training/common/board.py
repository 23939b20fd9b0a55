"""TensorBoard for training loops, if it is installed; only the first process writes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def board(folder: Path, write: bool = True) -> Iterator[Callable[[str, float, int], None]]:
    """Yield ``add(name, value, step)``, written for TensorBoard if it is installed."""
    if not write or find_spec("tensorboard") is None:
        yield lambda name, value, step: None
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    try:
        yield lambda name, value, step: writer.add_scalar(name, value, step)
    finally:
        writer.close()
