"""Connections of the page's server: accepted, bounded in number, closed if they ask for nothing.

aiohttp waits for a request for ever and takes as many connections as there are descriptors, which a few hundred
half-sent requests use up for everybody.
"""

import asyncio
import contextlib
import logging
import resource
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError

log = logging.getLogger(__name__)

ASK_S = 8.0  # s within which a connection must have sent a whole request, and the next one after an answer
ANSWER_S = 30.0  # s within which it must have taken its answer
CONNECTIONS = 256  # at most; half of what the process may open if that is less
SAY_S = 60.0  # s between two words about a flood
Factory = Callable[[], asyncio.Protocol]


@dataclass
class _Guest:
    """A connection: ``open`` ones have become a WebSocket, ``asked`` ones get an answer, others still have to ask."""

    since: float
    asked: bool = False
    open: bool = False


class Seldom(logging.Filter):
    """Lets a record pass once per minute, and without a traceback if the client is at fault."""

    def __init__(self) -> None:
        super().__init__()
        self._next, self._kept_back = 0.0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next:
            self._kept_back += 1
            return False
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (HttpProcessingError, ConnectionError)):
            record.exc_info = None
        text = (
            " ".join(f"{record.getMessage()}: {type(error).__name__}: {error}".split())
            if error
            else record.getMessage()
        )
        record.msg, record.args = f"{text[:200]} ({self._kept_back} more since the last such word)", ()
        self._next, self._kept_back = now + SAY_S, 0
        return True


requests_log = logging.getLogger(f"{__name__}.requests")
"""To which aiohttp reports requests that it cannot serve."""
requests_log.addFilter(Seldom())


class Door:
    """Serves ``listener`` with the protocols that ``factory`` makes, until cancelled.

    Attributes:
        turned_away: connections closed for asking nothing, for not taking the answer, or to make room.
    """

    def __init__(self, factory: Factory, connections: int = CONNECTIONS) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = max(4, min(connections, soft // 2 if soft > 0 else connections))
        self.turned_away = 0
        self._factory = factory
        self._guests: dict[Any, _Guest] = {}
        self._said = -SAY_S

    def asked(self, transport: Any) -> None:
        """A whole request has come over ``transport``."""
        if transport in self._guests:
            self._guests[transport].asked, self._guests[transport].since = True, time.monotonic()

    def answered(self, transport: Any) -> None:
        """Its answer has been handed over: the next request may come."""
        if transport in self._guests:
            self._guests[transport].asked, self._guests[transport].since = False, time.monotonic()

    def opened(self, transport: Any) -> None:
        """It has become a WebSocket, which the hub watches."""
        if transport in self._guests:
            self._guests[transport].open = True

    async def serve(self, listener: socket.socket) -> None:
        """Accept until cancelled."""
        listener.setblocking(False)
        sweeper = asyncio.create_task(self._sweep())
        try:
            while True:
                await self._accept(listener)
        finally:
            sweeper.cancel()
            for transport in list(self._guests):
                transport.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = await loop.sock_accept(listener)
        except OSError as error:  # no descriptor is left, say: the listener stays, so wait until one is
            self._say(f"no connection can be accepted: {error.strerror}")
            self._make_room()
            await asyncio.sleep(0.2)
            return
        try:
            if len(self._guests) >= self.most and not self._make_room():
                self.turned_away += 1
                connection.close()
                return
            transport, _ = await loop.connect_accepted_socket(self._factory, connection)
            self._guests[transport] = _Guest(time.monotonic())
        except OSError as error:
            connection.close()
            log.debug("connection lost at the door: %s", error)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for transport, guest in list(self._guests.items()):
                patience = ANSWER_S if guest.asked else ASK_S
                if transport.is_closing():
                    self._guests.pop(transport, None)
                elif not guest.open and now - guest.since > patience:
                    self._turn_away(transport)

    def _make_room(self) -> bool:
        """Close the connection that has waited longest without asking; whether there was one."""
        for transport in [t for t in self._guests if t.is_closing()]:
            del self._guests[transport]
        waiting = [(guest.since, t) for t, guest in self._guests.items() if not guest.asked and not guest.open]
        if len(self._guests) < self.most:
            return True
        if not waiting:
            return False
        self._turn_away(min(waiting, key=lambda pair: pair[0])[1])
        self._say("more connections than the page takes: those that ask for nothing are closed")
        return True

    def _turn_away(self, transport: Any) -> None:
        self.turned_away += 1
        self._guests.pop(transport, None)
        with contextlib.suppress(Exception):
            transport.abort()

    def _say(self, text: str) -> None:
        """Log at most once per minute: a flood must not fill the disk."""
        now = time.monotonic()
        if now - self._said >= SAY_S:
            self._said = now
            log.warning("%s (%d turned away so far)", text, self.turned_away)
