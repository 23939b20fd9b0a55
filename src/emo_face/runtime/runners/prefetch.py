"""Work done ahead of its turn in threads: decoding pictures while a model computes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def prefetch(make: Callable[[Given], Made], items: Iterable[Given], depth: int) -> Iterator[Made]:
    """``make`` of each item, ``depth`` of them ahead; the order stays. For work that releases the interpreter lock."""
    with ThreadPoolExecutor(max_workers=max(1, depth)) as pool:
        waiting: deque[Future[Made]] = deque()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
