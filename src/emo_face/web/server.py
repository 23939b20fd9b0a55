"""Serve the screen face: a page, a WebSocket that carries 52 values, and commands back. One thread, one event loop."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from emo_face.core.errors import UserError
from emo_face.web import security
from emo_face.web.pages import Page, load_pages
from emo_face.web.protocol import MAX_COMMAND, CommandError, clean_meta, pack_frame, parse_command, quantise

log = logging.getLogger(__name__)

Command = Callable[[dict[str, Any]], "str | None"]
"""Gets a checked command; returns None, or why it is refused. Runs in the server's thread: hand over and return."""

BACKLOG = 16384  # bytes a client may lag before it is dropped
COMMANDS_PER_S = 120.0
ALIVE_S = 1.0  # a sign of life at least this often; older values count as not live
META_S = 0.2  # numbers in the meta are refreshed no faster than this
_SERVER = web.AppKey("server", object)


class FaceServer:
    """Shows the newest ARKit values to every open page.

    Args:
        host: address to bind; anything but loopback needs ``token``.
        port: TCP port; 0 takes a free one (see ``port`` after ``start``).
        token: what a client must present, at least 12 characters.
        theme: face shown unless the page asks for another.
        on_command: receives commands of the ``/tune`` page (see :mod:`emo_face.web.protocol`); None refuses them.
        origins: further origins (``https://robot.local``) that may connect, for a reverse proxy.
        max_clients: connections beyond this are refused with 503.
        rate: frames a second at most.

    Raises:
        UserError: a token is needed or too short. ConfigError: unknown theme.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8765,
        token: str | None = None,
        theme: str = "robot",
        *,
        on_command: Command | None = None,
        origins: Sequence[str] = (),
        max_clients: int = 128,
        rate: float = 60.0,
    ) -> None:
        token = token or None
        security.check_binding(host, token)
        self.host, self.port, self.token, self.on_command = host, port, token, on_command
        self.origins, self.max_clients, self.rate = tuple(origins), max_clients, rate
        self.dropped_slow = self.rejected = self.refused_commands = self.frames_sent = 0
        self._pages = load_pages(theme)
        self._sockets: dict[web.WebSocketResponse, asyncio.Transport] = {}
        self._lock = threading.Lock()
        self._values: bytes | None = None
        self._meta: dict[str, Any] = {}
        self._published = float("-inf")
        self._pending = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # ---- used from any thread -------------------------------------------------------------------

    @property
    def clients(self) -> int:
        """Pages connected now."""
        return len(self._sockets)

    @property
    def url(self) -> str:
        """Where to point a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def start(self) -> None:
        """Bind and serve in a thread of its own; returns once the port is open.

        Raises:
            UserError: the port is in use or may not be opened; names port and parameter.
        """
        if self._thread is not None:
            return
        listener = self._bind()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener, ready), name="emo-face-web", daemon=True)
        self._thread.start()
        ready.wait()

    def publish(self, arkit: Sequence[float], meta: Mapping[str, Any] | None = None) -> None:
        """Show (52,) values in [0, 1] on every page; the newest wins, never blocks. Bad values are counted in ``rejected``."""
        try:
            values = quantise(arkit)
        except (ValueError, TypeError):
            self.rejected += 1
            return
        with self._lock:
            self._values, self._published = values, time.monotonic()
            if meta is not None:
                self._meta = clean_meta(meta)
            wake = not self._pending and self._loop is not None
            self._pending = True
        if wake and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._wake.set)
            except RuntimeError:  # the loop is closing
                log.debug("published while the face server stops")

    def stop(self) -> None:
        """Tell every page goodbye, close the port, end the thread."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        loop.call_soon_threadsafe(self._done.set)
        thread.join(timeout=5.0)
        self._thread = self._loop = None

    # ---- the server's thread --------------------------------------------------------------------

    def _bind(self) -> socket.socket:
        try:
            family, kind, proto, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        except socket.gaierror as error:
            raise UserError(f"screen.host {self.host!r} is not an address of this machine: {error.strerror}") from None
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                raise UserError(
                    f"port {self.port} on {self.host} is in use: stop the other program or set screen.port to a free one (0 picks one)"
                ) from None
            raise UserError(f"cannot open port {self.port} on {self.host} (screen.port, screen.host): {error.strerror}") from None
        self.port = int(listener.getsockname()[1])
        return listener

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(listener, ready))
        except Exception:
            log.exception("the face server ended")
        finally:
            ready.set()
            listener.close()

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._wake, self._done = asyncio.Event(), asyncio.Event()
        app = web.Application(middlewares=[_guard], client_max_size=1024)
        app[_SERVER] = self
        app.router.add_get("/ws", self._socket)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/{path:.*}", self._page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, listener, shutdown_timeout=1.0).start()
        self._loop = asyncio.get_running_loop()
        ready.set()
        task = asyncio.create_task(self._broadcast())
        try:
            await self._done.wait()
        finally:
            task.cancel()
            await asyncio.gather(
                *(s.close(code=WSCloseCode.GOING_AWAY, message=b"face driver stops") for s in list(self._sockets)), return_exceptions=True
            )
            await runner.cleanup()

    async def _broadcast(self) -> None:
        """Send what changed to everybody, at most ``rate`` times a second, and a sign of life every second."""
        last_values, last_meta, meta_at, sequence = None, None, 0.0, 0
        while True:
            with_timeout = asyncio.wait_for(self._wake.wait(), ALIVE_S)
            try:
                await with_timeout
            except asyncio.TimeoutError:
                last_meta = None
            self._wake.clear()
            values, meta = self._newest()
            now = time.monotonic()
            if values is not None and values != last_values:
                sequence += 1
                await self._send(pack_frame(values, sequence, int(now * 1000)))
                last_values = values
            if last_meta is None or (meta != last_meta and (now - meta_at > META_S or _texts(meta) != _texts(last_meta))):
                await self._send_meta(list(self._sockets), meta)
                last_meta, meta_at = meta, now
            elif now - meta_at > ALIVE_S:
                last_meta = None
            await asyncio.sleep(1.0 / self.rate)

    def _newest(self) -> tuple[bytes | None, dict[str, Any]]:
        with self._lock:
            self._pending = False
            live = time.monotonic() - self._published < ALIVE_S
            return self._values, {**self._meta, "live": live}

    async def _send(self, frame: bytes) -> None:
        for ws in list(self._sockets):
            if self._keeps_up(ws):
                await _quietly(ws.send_bytes(frame))
                self.frames_sent += 1

    async def _send_meta(self, sockets: list[web.WebSocketResponse], meta: dict[str, Any]) -> None:
        for ws in sockets:
            if self._keeps_up(ws):
                await _quietly(ws.send_json({"type": "meta", **meta}))

    def _keeps_up(self, ws: web.WebSocketResponse) -> bool:
        """Whether a client reads; one that lags is cut off, so that nobody waits for it."""
        transport = self._sockets.get(ws)
        if transport is None or ws.closed or transport.is_closing():
            return False
        if transport.get_write_buffer_size() <= BACKLOG:
            return True
        self.dropped_slow += 1
        self._sockets.pop(ws, None)
        transport.abort()
        return False

    # ---- requests -------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.StreamResponse:
        page: Page | None = self._pages.get(request.path)
        if page is None:
            raise web.HTTPNotFound(text="no such page\n")
        headers = {"ETag": f'"{page.etag}"', "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        body = page.body
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = page.compressed, "gzip"
        return web.Response(body=body, content_type=page.content_type, charset="utf-8", headers=headers)

    async def _health(self, request: web.Request) -> web.Response:
        age = time.monotonic() - self._published
        live = age < ALIVE_S
        return web.json_response({"status": "ok" if live else "waiting", "live": live, "clients": self.clients})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if not security.origin_allowed(request, self.origins):
            raise web.HTTPForbidden(text="a page from another origin may not connect\n")
        if len(self._sockets) >= self.max_clients:
            raise web.HTTPServiceUnavailable(text=f"{self.max_clients} pages are connected already\n")
        ws = web.WebSocketResponse(heartbeat=5.0, max_msg_size=MAX_COMMAND, compress=False)
        await ws.prepare(request)
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return ws
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BACKLOG)  # what the kernel holds for a slow client is stale
        self._sockets[ws] = transport
        try:
            values, meta = self._newest()
            await self._send_meta([ws], meta)
            if values is not None:
                await _quietly(ws.send_bytes(pack_frame(values, 0, int(time.monotonic() * 1000))))
            await self._listen(ws)
        finally:
            self._sockets.pop(ws, None)
        return ws

    async def _listen(self, ws: web.WebSocketResponse) -> None:
        """Read commands until the page leaves, sends something else, or floods."""
        allowance, at = COMMANDS_PER_S, time.monotonic()
        async for message in ws:
            if message.type is not WSMsgType.TEXT:
                await ws.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"only JSON text is understood")
                return
            now = time.monotonic()
            allowance, at = min(COMMANDS_PER_S, allowance + (now - at) * COMMANDS_PER_S) - 1, now
            if allowance < 0:
                await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too many commands")
                return
            try:
                command = parse_command(message.data)
            except CommandError as error:
                self.refused_commands += 1
                await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=str(error).encode()[:120])
                return
            await _quietly(ws.send_json(self._obey(command)))

    def _obey(self, command: dict[str, Any]) -> dict[str, str]:
        if self.on_command is None:
            return {"type": "refused", "reason": "no face driver listens to this page"}
        try:
            reason = self.on_command(command)
        except Exception:
            log.exception("command %s failed", command["type"])
            reason = "the face driver failed on this command; see its log"
        if reason is None:
            return {"type": "ack"}
        self.refused_commands += 1
        return {"type": "refused", "reason": str(reason)}


def _texts(meta: Mapping[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in (meta or {}).items() if isinstance(v, (str, bool)) or v is None}


async def _quietly(sending: Any) -> None:
    """A page that left in the middle of a send is not an error."""
    try:
        await sending
    except (ConnectionError, RuntimeError, asyncio.TimeoutError) as error:
        log.debug("send failed: %s", error)


@web.middleware
async def _guard(request: web.Request, handler: Any) -> web.StreamResponse:
    """Host, token and security headers, for every request."""
    server = request.app[_SERVER]
    assert isinstance(server, FaceServer)
    try:
        response = await _admit(request, server, handler)
    except web.HTTPException as error:
        error.headers.update(security.HEADERS)
        raise
    if not response.prepared:
        response.headers.update(security.HEADERS)
    return response


async def _admit(request: web.Request, server: FaceServer, handler: Any) -> web.StreamResponse:
    if not security.host_allowed(request, server.host, server.origins):
        raise web.HTTPMisdirectedRequest(text="unknown host name\n")
    if request.path == "/healthz":
        return await handler(request)
    if not security.token_allowed(request, server.token):
        raise web.HTTPUnauthorized(text="open this page with ?token=... (parameter screen.token of the face driver)\n")
    if server.token is not None and "token" in request.query and request.path != "/ws":
        # Keep the secret out of the address bar and the history.
        query = {k: v for k, v in request.query.items() if k != "token"}
        found = web.HTTPFound(str(request.rel_url.with_query(query)))
        found.set_cookie(security.COOKIE, server.token, httponly=True, samesite="Strict", path="/")
        raise found
    return await handler(request)
