"""The connected pages and what they receive: the newest values, without queues and without waiting for anybody."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

from emo_face.web.protocol import clean_meta, pack_frame, quantise

log = logging.getLogger(__name__)

BACKLOG = 16384  # bytes by which a client may lag before it is dropped
ALIVE_S = 1.0  # a sign of life at least this often; older values count as not live
META_S = 0.2  # numbers in the meta are refreshed no faster than this


class Hub:
    """Newest values in from any thread, out to every page in the server's loop.

    Attributes:
        rejected: published values that were no 52 finite numbers.
        dropped_slow: pages cut off because they did not read.
        frames_sent: over all pages.
    """

    def __init__(self, rate: float) -> None:
        self.rejected = self.dropped_slow = self.frames_sent = 0
        self._period = 1.0 / rate
        self._pages: dict[web.WebSocketResponse, asyncio.Transport] = {}
        self._lock = threading.Lock()
        self._values: bytes | None = None
        self._meta: dict[str, Any] = {}
        self._published = float("-inf")
        self._report: str | None = None
        self._pending = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def live(self) -> bool:
        """Whether values came within the last second."""
        return time.monotonic() - self._published < ALIVE_S

    def publish(self, arkit: Sequence[float], meta: Mapping[str, Any] | None) -> None:
        """Replace the newest values; from any thread, never blocks."""
        try:
            values = quantise(arkit)
        except (ValueError, TypeError):
            self.rejected += 1
            return
        with self._lock:
            self._values, self._published = values, time.monotonic()
            if meta is not None:
                self._meta = clean_meta(meta)
        self._ring()

    def report(self, text: str) -> None:
        """Replace what every page receives beside the face, a JSON object; from any thread, never blocks."""
        with self._lock:
            self._report = text
        self._ring()

    def _ring(self) -> None:
        """Wake the loop, once for all that came meanwhile."""
        with self._lock:
            loop, wake = self._loop, self._wake
            if self._pending or loop is None or wake is None:
                return
            self._pending = True
        try:
            loop.call_soon_threadsafe(wake.set)
        except RuntimeError:  # the loop has just been closed
            log.debug("published while the face server stops")

    async def run(self) -> None:
        """Send what changed to everybody, at most ``rate`` times per second, and a sign of life every second."""
        wake = asyncio.Event()
        with self._lock:
            self._loop, self._wake, self._pending = asyncio.get_running_loop(), wake, False
        try:
            await self._send_changes(wake)
        finally:
            with self._lock:
                self._loop = self._wake = None

    async def _send_changes(self, wake: asyncio.Event) -> None:
        sequence, last_values, last_meta, meta_at = 0, None, None, 0.0
        last_report: str | None = None
        while True:
            with suppress(asyncio.TimeoutError):  # nothing new: time for a sign of life
                await asyncio.wait_for(wake.wait(), ALIVE_S)
            wake.clear()
            values, meta = self._newest()
            now = time.monotonic()
            if values is not None and values != last_values:
                sequence += 1
                await self._send_all(pack_frame(values, sequence, int(now * 1000)))
                last_values = values
            told = last_meta is not None and now - meta_at < ALIVE_S
            if not told or _texts(meta) != _texts(last_meta) or (meta != last_meta and now - meta_at > META_S):
                await self._tell(list(self._pages), meta)
                last_meta, meta_at = meta, now
            if (report := self._report) is not None and report is not last_report:
                last_report = report
                await self._say(list(self._pages), report)
            await asyncio.sleep(self._period)

    async def join(self, page: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        """Add a page and show it the present face."""
        # What the kernel holds for a page that does not read would be shown late, and what it holds of one that floods
        # would be read in one go while others wait: keep both short.
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, buffer, BACKLOG)
        self._pages[page] = transport
        values, meta = self._newest()
        await self._tell([page], meta)
        if values is not None:
            await if_still_there(page.send_bytes(pack_frame(values, 0, int(time.monotonic() * 1000))))
        if self._report is not None:
            await self._say([page], self._report)

    def leave(self, page: web.WebSocketResponse) -> None:
        """Forget a page."""
        self._pages.pop(page, None)

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye to every page."""
        pages = list(self._pages)
        await asyncio.gather(*(p.close(code=code, message=reason.encode()) for p in pages), return_exceptions=True)

    def _newest(self) -> tuple[bytes | None, dict[str, Any]]:
        with self._lock:
            self._pending = False
            return self._values, {**self._meta, "live": self.live}

    async def _send_all(self, frame: bytes) -> None:
        for page in list(self._pages):
            if self._keeps_up(page):
                await if_still_there(page.send_bytes(frame))
                self.frames_sent += 1

    async def _tell(self, pages: Sequence[web.WebSocketResponse], meta: dict[str, Any]) -> None:
        for page in pages:
            if self._keeps_up(page):
                await if_still_there(page.send_json({"type": "meta", **meta}))

    async def _say(self, pages: Sequence[web.WebSocketResponse], text: str) -> None:
        for page in pages:
            if self._keeps_up(page):
                await if_still_there(page.send_str(text))

    def _keeps_up(self, page: web.WebSocketResponse) -> bool:
        """Whether a page reads; one that lags is cut off."""
        transport = self._pages.get(page)
        if transport is None or page.closed or transport.is_closing():
            return False
        if transport.get_write_buffer_size() <= BACKLOG:
            return True
        self.dropped_slow += 1
        self.leave(page)
        transport.abort()
        return False


def _texts(meta: Mapping[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in (meta or {}).items() if isinstance(v, (str, bool)) or v is None}


async def if_still_there(sending: Any) -> None:
    """A page that left in the middle of a send is not an error."""
    try:
        await sending
    except (ConnectionError, RuntimeError, asyncio.TimeoutError) as error:
        log.debug("send failed: %s", error)
