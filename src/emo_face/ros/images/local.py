"""Pictures handed on by reference inside a process: no DDS, no copy between the camera and those who look."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emo_face.core.types import ImageArray

Received = Callable[["LocalImage"], None]


@dataclass(frozen=True, slots=True)
class LocalImage:
    """A picture of this process.

    Attributes:
        header: ``std_msgs/Header`` as the message on the topic has it.
        frame: (height, width, 3) uint8 BGR, read-only: all readers look at the same pixels.
    """

    header: Any
    frame: ImageArray


class LocalPictures:
    """Who offers and who reads pictures in this process, by the resolved name of the topic they stand for.

    Offer before anybody listens: a reader decides at its start whether it reads from here or over DDS.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: dict[str, tuple[Received, ...]] = {}

    def offer(self, topic: str) -> None:
        """Announce that pictures of ``topic`` are handed on here."""
        with self._lock:
            self._readers.setdefault(topic, ())

    def listen(self, topic: str, received: Received) -> bool:
        """Have ``received`` called with every picture in the giver's thread; False if nobody offers ``topic``."""
        with self._lock:
            offered = topic in self._readers
            if offered:
                self._readers[topic] += (received,)
            return offered

    def hand(self, topic: str, header: Any, frame: ImageArray) -> int:
        """Give a picture to all readers of ``topic``; returns how many there are."""
        readers = self._readers.get(topic, ())
        if readers:
            view = frame.view()
            view.flags.writeable = False
            picture = LocalImage(header, view)
            for received in readers:
                received(picture)
        return len(readers)
