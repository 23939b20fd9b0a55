"""Who may open the face page: loopback, Host, Origin, token; and the headers every answer carries."""

import hmac
import ipaddress
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web

from emo_face.core.errors import UserError

COOKIE = "emo_face_token"
MIN_TOKEN = 12
PORTS = {"http": 80, "https": 443}
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

# connect-src 'self' covers ws:// of the same host and port (CSP Level 3).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# Textures inside a GLB are handed to the browser as blobs.
POLICY_3D = POLICY.replace("data:", "data: blob:").replace("connect-src 'self'", "connect-src 'self' blob:")
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cache-Control": "no-cache",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def secret(text: str) -> str:
    """A token as it is, or what is in the file that ``@FILE`` names: others can read command lines and parameters.

    Raises:
        UserError: the file cannot be read, or is empty.
    """
    if not text.startswith("@"):
        return text
    try:
        found = Path(text[1:]).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UserError(f"token: {text[1:]} cannot be read: {error}") from None
    if not found:
        raise UserError(f"token: {text[1:]} is empty; {_MAKE_TOKEN}")
    return found


def check_binding(host: str, token: str | None, options: str = "screen.") -> None:
    """Refuse to be reachable from outside without a token; ``options`` stands before the options' names in errors.

    Raises:
        UserError: ``host`` is not loopback and there is no token, or the token is too short.
    """
    if token is not None and len(token) < MIN_TOKEN:
        raise UserError(f"{options}token has {len(token)} characters, expected at least {MIN_TOKEN}; {_MAKE_TOKEN}")
    if token is None and not is_loopback(host):
        raise UserError(
            f"{options}host {host!r} is reachable from other machines, so {options}token must be set; {_MAKE_TOKEN}"
        )


_MAKE_TOKEN = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(16))'"


def origins_of(given: Collection[str], option: str) -> tuple[str, ...]:
    """Origins as browsers send them: lower case, without a path and without the scheme's own port.

    Raises:
        UserError: one is no origin; names ``option``.
    """
    found = []
    for text in given:
        try:
            parts = urlsplit(text.strip().lower())
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise UserError(f"{option}: expected an origin such as https://robot.local, got {text!r}")
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        found.append(f"{parts.scheme}://{name}" + (f":{port}" if port not in (None, PORTS[parts.scheme]) else ""))
    return tuple(found)


def host_allowed(request: web.Request, bound_to: str, extra: Collection[str]) -> bool:
    """A loopback server answers to loopback names only, so that no foreign name can point at it (DNS rebinding).

    Raises:
        HTTPBadRequest: the Host header is none.
    """
    try:
        parts = urlsplit(f"//{request.host}")
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        raise web.HTTPBadRequest(text="malformed Host\n") from None
    if not is_loopback(bound_to):
        return True
    return name in LOOPBACK_NAMES or name in {urlsplit(origin).hostname for origin in extra}


def origin_allowed(request: web.Request, extra: Collection[str]) -> bool:
    """A browser's WebSocket must come from our own page (or a listed origin); programs send no Origin."""
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    return origin in extra or origin in (f"http://{request.host}", f"https://{request.host}")


def token_of(request: web.Request) -> str | None:
    """The token a request carries: ``?token=``, the cookie, or ``Authorization: Bearer``."""
    header = request.headers.get("Authorization", "")
    bearer = header[7:] if header.startswith("Bearer ") else None
    return request.query.get("token") or request.cookies.get(COOKIE) or bearer


def token_allowed(request: web.Request, token: str | None) -> bool:
    """Whether the request carries ``token`` (compared in constant time); always when none is set."""
    if token is None:
        return True
    # a header's bytes that are no UTF-8 come as halves of surrogate pairs
    given, wanted = ((text or "").encode(errors="surrogatepass") for text in (token_of(request), token))
    return hmac.compare_digest(given, wanted)


def without_token(request: web.Request, token: str) -> web.HTTPFound:
    """To the same page with the token in a cookie, so that it leaves the address bar.

    The address is relative, as a proxy may serve the pages under a prefix.
    """
    query = urlencode([(k, v) for k, v in request.query.items() if k != "token"])
    found = web.HTTPFound(f"./{quote(request.path.rpartition('/')[2])}{'?' if query else ''}{query}")
    found.set_cookie(COOKIE, token, httponly=True, samesite="Strict", path="/")
    return found
