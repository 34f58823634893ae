"""What every request passes before any route: which hosts are answered, how much is read, what browsers may do.

Who may use the server is access.py's business, which addresses there are paths.py's.

Plain ASGI, because Starlette's convenience middleware would wrap streams.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeroom.serving.errors import ApiError, refuse

# Nothing is ever fetched from another host. The page's framework compiles its templates, hence unsafe-eval.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self' ws: wss:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """`hosts`: the Host headers answered; None answers any. A page of another site can point its own name at this
    machine (DNS rebinding) and would otherwise read what a loopback server holds."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None, max_body_bytes: int = 1024 * 1024) -> None:
        self._app, self._hosts, self._most = app, hosts, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = _without_port(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            message = f"This server answers only requests to {', '.join(self._hosts)}, not '{host}'."
            refusal = ApiError(403, message, code="wrong_host")
            await refuse(refusal, scope, receive, send)
        elif _from_another_site(scope, headers):
            refusal = ApiError(403, f"Pages of {headers['origin']} may not use this server.", code="other_site")
            await refuse(refusal, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif _declared_length(headers) > self._most:
            await refuse(_too_large(self._most), scope, receive, _with_headers(send))
        else:
            await self._app(scope, _limited(receive, self._most), _with_headers(send))


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"The body of the request is larger than {most:,} bytes.", code="request_too_large")


def _from_another_site(scope: Scope, headers: Headers) -> bool:
    """Whether a browser says that another site's page sends this. What only reads, it does not let that page see."""
    if scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return False
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _declared_length(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdigit() else 0


def _without_port(host: str) -> str:
    """localhost:8000 → localhost, [::1]:8000 → ::1"""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _limited(receive: Receive, most: int) -> Receive:
    """A body may come in chunks without saying how long it will be."""
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise HTTPException(413, str(_too_large(most)))
        return message

    return limited


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return with_headers
