"""Who gets in. API keys for programs, a signed session for people with a browser, and how often each may ask.

On this machine alone, the pages are open to the person who sits at it, and so is the API until a key was made. Beyond
it all needs a key but /healthz, the sign-in page and what that page is made of.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeroom.serving.chat import Stopping
from homeroom.serving.errors import ApiError, as_api_error, refuse, retry_after
from homeroom.serving.life import Life
from homeroom.serving.limits import Buckets, by_address
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.workspace import Key, Keys

COOKIE = "homeroom_session"
SESSION_SECONDS = 7 * 24 * 3600
RECHECK_SECONDS = 5.0
SIGN_IN = "/sign-in"


def check_start(settings: ServingSettings, keys: Keys) -> None:
    """Raises HomeroomError where strangers would be let in, or nobody could be."""
    if settings.allow_network and not settings.allow_open_network and not keys.valid():
        raise HomeroomError(
            "allow_network lets other machines reach the server, and no valid key was made for who may use it. "
            "Run `homeroom keys create me` first. Without any key: `--set serve.allow_open_network=true`."
        )


class Sessions:
    """Signed cookies of people who gave their key on the sign-in page.

    A cookie, and not HTTP Basic: some browsers leave Basic credentials out when they open a websocket, and none has a
    way to sign out. The secret lives in this process alone: nothing at rest lets anybody forge a session, at the price
    of signing in again after a restart.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys, self._secret = keys, secrets.token_bytes(32)

    def begin(self, key: Key) -> str:
        content = f"{key.number}.{int(time.time()) + SESSION_SECONDS}"
        return f"{content}.{self._signature(content)}"

    def holder(self, cookie: str) -> Key | None:
        """Whose session it is, as long as the key is valid. Reads the database."""
        content, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._signature(content).encode()):
            return None
        number, _, until = content.partition(".")  # as `begin` wrote it: it is signed
        if time.time() > int(until):
            return None
        return next((key for key in self._keys.valid() if key.number == int(number)), None)

    def _signature(self, content: str) -> str:
        return hmac.new(self._secret, content.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


class Access:
    """A middleware. Puts the key that was used into the request's state, for `user_of`."""

    def __init__(self, app: ASGIApp, settings: ServingSettings, keys: Keys, sessions: Sessions, life: Life) -> None:
        self._app, self._settings, self._keys, self._sessions, self._life = app, settings, keys, sessions, life
        self._buckets = Buckets(settings.rate) if settings.rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        is_api = scope["path"] == "/v1" or scope["path"].startswith("/v1/")
        try:
            if self._life.stopping and scope["path"] != "/metrics":  # which costs nothing and shows the end
                raise Stopping(self._life.seconds_left)
            if is_api or scope["path"] == "/metrics":
                key = await self._key_of_request(scope, always_open=not is_api and not self._settings.allow_network)
                headers = self._take(scope, key) if is_api else {}
            else:
                key, headers = await self._key_of_person(scope), {}
        except (ApiError, Stopping) as refusal:
            if _is_page(scope) and isinstance(refusal, ApiError):
                await RedirectResponse(SIGN_IN, 303)(scope, receive, send)
            else:
                await refuse(as_api_error(refusal), scope, receive, send)
            return
        scope.setdefault("state", {})["key"] = key
        if scope["type"] == "websocket":
            await self._app(scope, self._while_valid(scope, receive) if key else receive, send)
            return
        self._life.requests += is_api
        try:
            await self._app(scope, receive, _with_headers(send, headers) if headers else send)
        finally:
            self._life.requests -= is_api

    async def _key_of_request(self, scope: Scope, always_open: bool) -> Key | None:
        kind, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        secret = secret.strip() if kind.lower() == "bearer" else ""
        key, needed = await asyncio.to_thread(self._look_up, secret)
        if key is None and needed and not always_open:
            said = "is not valid here: it was mistyped, revoked, or has expired" if secret else "is missing"
            raise ApiError(
                401,
                f"The API key {said}. Send one as 'Authorization: Bearer KEY'; whoever runs this server makes it with "
                "`homeroom keys create NAME`.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": 'Bearer realm="homeroom"'},
            )
        return key

    def _look_up(self, secret: str) -> tuple[Key | None, bool]:
        key, needed = self._keys.find(secret) if secret else None, self._settings.require_key
        if needed is None:
            needed = key is not None or self._keys.exist()
        return key, needed

    async def _key_of_person(self, scope: Scope) -> Key | None:
        if not self._settings.allow_network:
            return None
        cookie = HTTPConnection(scope).cookies.get(COOKIE)
        key = await asyncio.to_thread(self._sessions.holder, cookie) if cookie else None
        return key or await self._key_of_request(scope, always_open=False)

    def _take(self, scope: Scope, key: Key | None) -> Mapping[str, str]:
        if self._buckets is None:
            return {}
        taken = self._buckets.take(f"key {key.number}" if key else by_address((scope.get("client") or ("",))[0]))
        if not taken.allowed:
            raise ApiError(
                429,
                f"More than {taken.limit} requests in a minute. Try again in {max(1, round(taken.wait))} s.",
                code="rate_limit_exceeded",
                headers=taken.headers() | retry_after(taken.wait),
            )
        return taken.headers()

    def _while_valid(self, scope: Scope, receive: Receive) -> Receive:
        """A page stays connected for days: its connection ends soon after its key does."""
        checked = time.monotonic()

        async def receive_while_valid() -> Message:
            nonlocal checked
            message = await receive()
            if time.monotonic() - checked > RECHECK_SECONDS:
                checked = time.monotonic()
                try:
                    await self._key_of_person(scope)
                except ApiError:
                    return {"type": "websocket.disconnect", "code": 1008}
            return message

        return receive_while_valid


def user_of(state: Mapping[str, object], default: str) -> str:
    """Who asks, where the request itself does not say: the name of the key."""
    key = state.get("key")
    return key.name if isinstance(key, Key) else default


def _is_open(path: str) -> bool:
    return path in ("/healthz", SIGN_IN) or path.startswith("/assets/")


def _is_page(scope: Scope) -> bool:
    """Whether a person's browser asks for a page to show."""
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and (
            "text/html" in Headers(scope=scope).get("accept", "") and not scope["path"].startswith(("/v1", "/metrics"))
        )
    )


def _with_headers(send: Send, added: Mapping[str, str]) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(added)
        await send(message)

    return with_headers
