"""Serve the screen face: pages, a WebSocket that carries 52 values, and commands back. One thread, one event loop."""

import asyncio
import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler

from emo_face.core.errors import Unavailable, UserError
from emo_face.web import security
from emo_face.web.door import Door, requests_log
from emo_face.web.hub import Hub, if_still_there
from emo_face.web.pages import HOME, load_pages
from emo_face.web.protocol import MAX_COMMAND, CommandError, parse_command

log = logging.getLogger(__name__)

Command = Callable[[dict[str, Any]], "str | dict[str, Any] | None"]
"""Gets a checked command; returns None, why it is refused, or an answer of its own. Runs in the server's thread: hand
over and return. ``estop`` and ``clear_estop`` run in another and may take their time."""

COMMANDS_PER_S = 120.0


class FaceServer:
    """Shows the newest ARKit values to every open page.

    Args:
        host: address to bind; anything but loopback needs ``token``. port: TCP port; 0 takes a free one.
        token: what a client must present, at least 12 characters; None or empty for none.
        theme: face shown unless the page asks for another.
        on_command: receives commands of the pages (see :mod:`emo_face.web.protocol`); None refuses them.
        origins: further origins (``https://robot.local``) that may connect, for a reverse proxy.
        max_clients: connections beyond this are refused with 503. rate: most frames per second (the page draws 60).
        model: a GLB with ARKit morph targets to show at ``/3d``; needs the 3D view (``export/build_head3d.py``).
        home: the page at ``/``, a file of ``static/``. dashboard: address of the dashboard to link to; empty for none.
        pictures: path -> what gives a JPEG to show there now, or None if there is none.
        parse: reads a command of a page. options: what stands before the names of the options in errors.

    Raises:
        UserError: a token is needed or too short, or an origin is none. ConfigError: unknown theme, or ``model`` cannot
            be shown.
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
        rate: float = 30.0,
        model: Path | None = None,
        home: str = HOME,
        pictures: Mapping[str, Callable[[], bytes | None]] | None = None,
        parse: Callable[[str], dict[str, Any]] = parse_command,
        options: str = "screen.",
        dashboard: str = "",
    ) -> None:
        self.host, self.port, self.token = host, port, security.secret(token or "") or None
        security.check_binding(host, self.token, options)
        self._pictures, self._parse, self.options = dict(pictures or {}), parse, options
        self.origins_option = "--origin" if options == "--" else f"{options}origins"
        self.origins = security.origins_of(origins, self.origins_option)
        self.on_command, self.max_clients = on_command, max_clients
        self.hub = Hub(rate)
        self.refused_commands = 0
        self._pages = load_pages(theme, model, home=home, dashboard=dashboard)
        self.door: Door | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None

    @property
    def clients(self) -> int:
        """Pages connected now."""
        return len(self.hub)

    @property
    def url(self) -> str:
        """Where to point a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def start(self) -> None:
        """Bind and serve in a thread of its own; returns once pages can connect.

        Raises:
            Unavailable: the port is in use. UserError: it may not be opened. Both name port and parameter.
        """
        if self._thread is not None:
            return
        listener, ready = self._bind(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener, ready), name="emo-face-web", daemon=True)
        self._thread.start()
        ready.wait()

    def publish(self, arkit: Sequence[float], meta: Mapping[str, Any] | None = None) -> None:
        """Show (52,) values in [0, 1] on every page. From any thread; the newest wins; never blocks.

        Values that are not 52 finite numbers are dropped and counted in ``hub.rejected``. ``meta`` (None keeps the
        last one) may hold ``emotion``, ``person``, ``latency_ms`` and further numbers, booleans and short texts.
        """
        self.hub.publish(arkit, meta)

    def stop(self) -> None:
        """Tell every page goodbye, close the port, end the thread."""
        thread, loop, done = self._thread, self._loop, self._done
        self._thread = None
        if thread is None or loop is None or done is None:
            return
        with contextlib.suppress(RuntimeError):  # it had ended already
            loop.call_soon_threadsafe(done.set)
        thread.join(timeout=5.0)

    def _bind(self) -> socket.socket:
        try:
            family, _, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        except (OSError, OverflowError) as error:
            raise UserError(
                f"{self.options}host {self.host!r}, {self.options}port {self.port} is no address: {error}"
            ) from None
        try:
            listener = socket.create_server(
                address, family=family, backlog=128, dualstack_ipv6=family == socket.AF_INET6
            )
        except (OSError, OverflowError) as error:
            where = f"port {self.port} on {self.host}"
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                hint = f"stop the other program or set {self.options}port to a free one (0 picks one)"
                raise Unavailable(f"{where} is in use: {hint}") from None
            raise UserError(f"cannot open {where} ({self.options}port and {self.options}host): {error}") from None
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
        app = web.Application(middlewares=[_guard], client_max_size=1024)
        app[_SERVER] = self
        paths = {"/ws": self._socket, "/healthz": self._health, "/{path:.*}": self._page}
        app.add_routes([web.get(path, handler) for path, handler in paths.items()])
        runner = web.AppRunner(app, access_log=None, logger=requests_log, shutdown_timeout=1.0)
        await runner.setup()
        assert runner.server is not None
        self.door = Door(runner.server)
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        tasks = [asyncio.create_task(self.hub.run()), asyncio.create_task(self.door.serve(listener))]
        await asyncio.sleep(0)
        ready.set()
        try:
            await self._done.wait()
        finally:
            await self.hub.close(WSCloseCode.GOING_AWAY, "face driver stops")
            for task in tasks:
                task.cancel()
            await runner.cleanup()

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if (take := self._pictures.get(request.path)) is not None:
            jpeg = take()
            return web.Response(status=204) if jpeg is None else web.Response(body=jpeg, content_type="image/jpeg")
        page = self._pages.get(request.path)
        if page is None:
            raise web.HTTPNotFound(text="no such page\n")
        headers = {"ETag": f'"{page.etag}"', "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        body = page.body
        if page.compressed is not page.body and "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = page.compressed, "gzip"
        charset = None if page.content_type.startswith("model/") else "utf-8"
        return web.Response(body=body, content_type=page.content_type, charset=charset, headers=headers)

    async def _health(self, request: web.Request) -> web.Response:
        live = self.hub.live
        return web.json_response({"status": "ok" if live else "waiting", "live": live, "clients": self.clients})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if not security.origin_allowed(request, self.origins):
            raise web.HTTPForbidden(text="a page from another origin may not connect\n")
        if self.clients >= self.max_clients:
            raise web.HTTPServiceUnavailable(text=f"{self.max_clients} pages are connected already\n")
        page = web.WebSocketResponse(
            timeout=1.0, heartbeat=5.0, autoping=False, max_msg_size=MAX_COMMAND, compress=False
        )
        await page.prepare(request)
        transport = request.transport
        if transport is None:  # left already
            return page
        assert self.door is not None
        self.door.opened(transport)
        try:
            await self.hub.join(page, transport)
            await self._listen(page)
        except ConnectionError:
            log.debug("a page left while it was answered")
        finally:
            self.hub.leave(page)
        return page

    async def _listen(self, page: web.WebSocketResponse) -> None:
        """Read commands until the page leaves, sends something else, or floods: with pings, too, others' STOP waits."""
        allowance, at = COMMANDS_PER_S, time.monotonic()
        async for message in page:
            now = time.monotonic()
            allowance, at = min(COMMANDS_PER_S, allowance + (now - at) * COMMANDS_PER_S) - 1, now
            if allowance < 0:
                return await self._refuse(page, "too many commands")
            if message.type is WSMsgType.PING:
                await if_still_there(page.pong(message.data))
            if message.type in (WSMsgType.PING, WSMsgType.PONG):
                continue
            if message.type is not WSMsgType.TEXT:
                # a page that vanished is an error too, but sent nothing to refuse
                self.refused_commands += message.type is WSMsgType.BINARY or isinstance(message.data, WebSocketError)
                await page.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"only JSON text is understood")
                return
            try:
                command = self._parse(message.data)
            except CommandError as error:
                return await self._refuse(page, str(error))
            slow = command["type"] in ("estop", "clear_estop")
            answer = await asyncio.to_thread(self._execute, command) if slow else self._execute(command)
            await if_still_there(page.send_json(answer))

    async def _refuse(self, page: web.WebSocketResponse, reason: str) -> None:
        """Count a command and close its page; a reason is at most 123 bytes of whole characters (RFC 6455, 5.5)."""
        self.refused_commands += 1
        short = reason.encode()[:123].decode(errors="ignore")
        await page.close(code=WSCloseCode.POLICY_VIOLATION, message=short.encode())

    def _execute(self, command: dict[str, Any]) -> dict[str, Any]:
        try:
            reason = self.on_command(command) if self.on_command else "no face driver listens to this page"
        except Exception:
            log.exception("command %s failed", command["type"])
            reason = "the face driver failed on this command; see its log"
        if reason is None:
            return {"type": "ack"}
        if isinstance(reason, dict):
            return reason
        self.refused_commands += 1
        return {"type": "refused", "reason": str(reason)}


_SERVER = web.AppKey("server", FaceServer)


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Host, token and security headers, for every request."""
    server = request.app[_SERVER]
    assert server.door is not None
    server.door.asked(request.transport)
    try:
        response = await _admit(request, server, handler)
    except web.HTTPException as error:
        error.headers.update(security.HEADERS)
        raise
    finally:
        server.door.answered(request.transport)
    if not response.prepared:
        response.headers.update(security.HEADERS)
        if request.path == "/3d":
            response.headers["Content-Security-Policy"] = security.POLICY_3D
    return response


async def _admit(request: web.Request, server: FaceServer, handler: Handler) -> web.StreamResponse:
    if not security.host_allowed(request, server.host, server.origins):
        raise web.HTTPMisdirectedRequest(
            text=f"unknown host name: this page answers to localhost; name others by {server.origins_option}, "
            "such as http://kiosk.example\n"
        )
    if request.path == "/healthz":
        return await handler(request)
    if not security.token_allowed(request, server.token):
        raise web.HTTPUnauthorized(text=f"open this page with ?token=... ({server.options}token)\n")
    if server.token is not None and "token" in request.query and request.path != "/ws":
        raise security.without_token(request, server.token)
    return await handler(request)
