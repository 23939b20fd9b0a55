"""Newest item only: a slot of one, and the one thread that empties it."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """A queue of length one: putting replaces, and what was replaced unread is counted."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> bool:
        """Store ``item``; True when an unread one was dropped for it."""
        with self._ready:
            replaced = self._item is not None
            self.dropped += replaced
            self._item = item
            self._ready.notify()
        return replaced

    def take(self, timeout: float | None = None) -> T | None:
        """Wait for the newest item and remove it; None after ``timeout`` seconds or :meth:`close`."""
        with self._ready:
            self._ready.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return None if self._closed else item

    def clear(self) -> None:
        """Forget the item without counting it as dropped."""
        with self._ready:
            self._item = None

    def close(self) -> None:
        """Wake whoever waits; from now on :meth:`take` returns None at once."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    @property
    def closed(self) -> bool:
        """True after :meth:`close`."""
        return self._closed


class Worker(Generic[T]):
    """One thread that handles the newest item of its slot, one at a time.

    Args:
        handle: called in the thread with each item taken.
        failed: called in the thread with what ``handle`` raised; the thread goes on with the next item.
    """

    def __init__(self, name: str, handle: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
        self.slot: Latest[T] = Latest()
        self._handle = handle
        self._failed = failed
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self.slot.closed:
            item = self.slot.take()
            if item is None:
                continue
            try:
                self._handle(item)
            except Exception as error:
                self._failed(error)

    def stop(self, timeout: float = 5.0) -> bool:
        """End after the item in hand; False when it takes longer than ``timeout`` seconds."""
        self.slot.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()
