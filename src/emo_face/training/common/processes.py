"""One training in several processes: the group is left in order, also after an error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def process_group() -> Iterator[None]:
    """Whatever joined torch's process group inside leaves it at the end.

    A gloo group that lives on when the interpreter ends still has running threads, and then C++ aborts the process
    ("terminate called without an active exception"): a training that went well would end with an error.
    """
    try:
        yield
    finally:
        distributed = sys.modules.get("torch.distributed")  # do not load torch only to leave it
        if distributed and distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
