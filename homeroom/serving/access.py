"""Who gets in, as whom, and how often each may ask: keys for programs, sessions for people with a browser.

On this machine alone, until a user was made, the pages are open to the person who sits at it, who operates, and so is
the API until a key or a user was made. Beyond it, all needs one but /healthz, the sign-in page and what that page is
made of. Which role an address needs is the table of roles.py; what a session is, the workspace's business.
"""

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeroom.serving.chat import Stopping
from homeroom.serving.errors import ApiError, as_api_error, refuse, retry_after
from homeroom.serving.life import Life
from homeroom.serving.limits import Buckets, by_address
from homeroom.serving.pages.plain import role_needed_page
from homeroom.serving.roles import needed
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.workspace import Key, Role, User, Workspace
from homeroom.workspace.users import Users, may

COOKIE = "homeroom_session"
FORM_TOKEN_HEADER = "X-Homeroom-Form-Token"
RECHECK_SECONDS = 5.0
SIGN_IN = "/sign-in"
READS = ("GET", "HEAD", "OPTIONS")


def check_start(settings: ServingSettings, workspace: Workspace) -> None:
    """Raises HomeroomError where strangers would be let in, or nobody could be."""
    if not settings.allow_network or settings.allow_open_network:
        return
    if not workspace.keys.valid() and not workspace.users.active():
        raise HomeroomError(
            "allow_network lets other machines reach the server, and there is neither an active user nor a valid key "
            "for who may use it. Run `homeroom users create me --role operate` first (or `homeroom keys create me`, "
            "for programs). Without any: `--set serve.allow_open_network=true`."
        )


@dataclass(frozen=True)
class Caller:
    """Who asks. `name` is None for who said nothing and need not. `form_token`: of a session, which a browser sends by
    itself, so that what changes anything has to carry this as well."""

    name: str | None
    role: Role
    account: str = ""  # what a rate is counted by
    of_user: bool = False
    form_token: str | None = None

    @classmethod
    def of(cls, holder: User | Key, form_token: str | None = None) -> "Caller":
        if isinstance(holder, User):
            return cls(holder.name, holder.role, f"user {holder.number}", True, form_token)
        return cls(holder.who, holder.role, f"key {holder.number}", holder.user is not None, form_token)


BuiltFor = Callable[[str], Caller | None]


class Access:
    """A middleware. Puts the caller into the request's state, for `user_of` and those beside it.

    `built_for` knows for whom the page of such an id was built, None for no page.
    """

    def __init__(
        self, app: ASGIApp, settings: ServingSettings, workspace: Workspace, life: Life, built_for: BuiltFor
    ) -> None:
        self._app, self._settings, self._life, self._built_for = app, settings, life, built_for
        self._keys, self._users, self._sessions = workspace.keys, workspace.users, workspace.sessions
        self._buckets = Buckets(settings.rate) if settings.rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        is_api = _is_api(scope["path"])
        try:
            if self._life.stopping and scope["path"] != "/metrics":  # which costs nothing and shows the end
                raise Stopping(self._life.seconds_left)
            caller = await self._caller(scope)
            headers = self._take(scope, caller) if is_api else {}
            _check_form_token(scope, caller)
            _check_role(scope, caller)
            self._check_page(scope, caller)
        except (ApiError, Stopping) as refusal:
            await _turn_away(refusal, scope, receive, send)
            return
        scope.setdefault("state", {}).update(caller=caller, users=self._users)
        if scope["type"] == "websocket":
            await self._app(scope, self._while_the_same(scope, caller, receive), send)
            return
        self._life.requests += is_api
        try:
            await self._app(scope, receive, _with_headers(send, headers) if headers else send)
        finally:
            self._life.requests -= is_api

    async def _caller(self, scope: Scope) -> Caller:
        kind, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        secret = secret.strip() if kind.lower() == "bearer" else ""
        cookie = "" if secret else HTTPConnection(scope).cookies.get(COOKIE, "")
        return await asyncio.to_thread(self._look_up, scope["path"], secret, cookie)

    def _look_up(self, path: str, secret: str, cookie: str) -> Caller:
        if secret and (key := self._keys.find(secret)) is not None:
            return Caller.of(key)
        if cookie and (session := self._sessions.find(cookie)) is not None:
            return Caller.of(session.holder, session.form_token)
        users = self._users.exist()
        if self._needs_somebody(path, users):
            said = "is not valid here: it was mistyped, revoked, or has expired" if secret else "is missing"
            raise ApiError(
                401,
                f"The API key {said}. Send one as 'Authorization: Bearer KEY'; whoever runs this server makes it with "
                "`homeroom keys create NAME`.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": 'Bearer realm="homeroom"'},
            )
        return Caller(None, "talk" if users or self._settings.allow_network else "operate")

    def _needs_somebody(self, path: str, users: bool) -> bool:
        if not self._settings.allow_network and not _is_api(path):
            return users and path != "/metrics"
        if self._settings.require_key is not None:
            return self._settings.require_key
        return users or self._keys.exist()

    def _take(self, scope: Scope, caller: Caller) -> Mapping[str, str]:
        if self._buckets is None:
            return {}
        taken = self._buckets.take(caller.account or by_address((scope.get("client") or ("",))[0]))
        if not taken.allowed:
            raise ApiError(
                429,
                f"More than {taken.limit} requests in a minute. Try again in {max(1, round(taken.wait))} s.",
                code="rate_limit_exceeded",
                headers=taken.headers() | retry_after(taken.wait),
            )
        return taken.headers()

    def _check_page(self, scope: Scope, caller: Caller) -> None:
        """A page whose connection was ended tries again by itself, and may do what whoever it was built for might."""
        if scope["type"] != "websocket":
            return
        page = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("client_id", [""])[0]
        if (owner := self._built_for(page)) is not None and owner != caller:
            raise ApiError(403, "This page was made for somebody else. Load it again.", code="other_page")

    def _while_the_same(self, scope: Scope, caller: Caller, receive: Receive) -> Receive:
        """A page stays connected for days: its connection ends soon after its session, key or role does."""
        checked = time.monotonic()

        async def receive_while_the_same() -> Message:
            nonlocal checked
            message = await receive()
            if time.monotonic() - checked > RECHECK_SECONDS:
                checked = time.monotonic()
                try:
                    same = await self._caller(scope) == caller
                except ApiError:
                    same = False
                if not same:
                    return {"type": "websocket.disconnect", "code": 1008}
            return message

        return receive_while_the_same


def user_of(state: Mapping[str, object], default: str) -> str:
    """Who asks, where the request itself does not say: the user's name, or that of a key of nobody."""
    caller = state.get("caller")
    return caller.name if isinstance(caller, Caller) and caller.name is not None else default


def role_of(state: Mapping[str, object]) -> Role:
    """What who asks may do."""
    caller = state.get("caller")
    return caller.role if isinstance(caller, Caller) else "talk"


def form_token_of(state: Mapping[str, object]) -> str | None:
    """What a page's own requests have to carry as FORM_TOKEN_HEADER; None: there is no session, so they need not."""
    caller = state.get("caller")
    return caller.form_token if isinstance(caller, Caller) else None


def oneself(state: Mapping[str, object], default: str) -> str:
    """Who asks, where it is about what they said themselves. Raises ApiError: strangers share a name, so that what one
    of them said cannot be told from what another did. Who sits at this machine is no stranger."""
    caller = state.get("caller")
    if not isinstance(caller, Caller) or (caller.name is None and caller.role != "operate"):
        message = "Who asks here says not who they are, so nothing here is known to be theirs. Sign in, or use a key."
        raise ApiError(403, message, code="nobody")
    return caller.name or default


def recorded_as(state: Mapping[str, object], given: str | None, default: str) -> str:
    """As whom a request is recorded that may name a user. Raises ApiError: an account is itself.

    A key of nobody is for programs, whose raters have names of their own that are no account's; who operates may stand
    in for others.
    """
    caller, users = state.get("caller"), state.get("users")
    if given is None:
        return user_of(state, default)
    if isinstance(caller, Caller) and caller.of_user and caller.role != "operate" and given != caller.name:
        message = f"This account is {caller.name}'s and cannot ask or vote as '{given}'. Leave 'user' out."
        raise ApiError(403, message, param="user", code="other_user")
    # A key of nobody, or on an open server a stranger; who sits at this machine operates, and has no key either.
    program = isinstance(caller, Caller) and not caller.of_user and caller.name != given
    at_home = isinstance(caller, Caller) and caller.name is None and caller.role == "operate"
    if program and not at_home and isinstance(users, Users) and users.is_somebody(given):
        message = (
            f"'{given}' is a person's account here, and who asks is nobody: it cannot ask or vote as them. Use a key "
            "of theirs (`homeroom keys create NAME --user …`), or give its raters names of their own."
        )
        raise ApiError(403, message, param="user", code="other_user")
    return given


def _check_form_token(scope: Scope, caller: Caller) -> None:
    """A browser adds the session's cookie to whatever a page of any site sends, but no page of another site can know
    this token, nor set a header here without being asked first. A websocket carries none: its Origin must be there,
    and that it is this site is the guard's to see."""
    if caller.form_token is None:
        return
    headers = Headers(scope=scope)
    if scope["type"] == "websocket":
        if "origin" not in headers:
            raise ApiError(403, "A page's connection has to say whose page it is (Origin).", code="other_site")
    elif scope["method"] not in READS:
        given = headers.get(FORM_TOKEN_HEADER, "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), caller.form_token.encode()):
            said = "is not this session's" if given else "is missing"
            message = f"{FORM_TOKEN_HEADER} {said}. A page has to be loaded again after signing in; programs use a key."
            raise ApiError(403, message, code="wrong_form_token")


class RoleNeeded(ApiError):
    def __init__(self, caller: Caller, needed: Role, path: str) -> None:
        self.caller, self.needed = caller, needed
        who = "who does not say who they are" if caller.name is None else caller.name
        super().__init__(
            403,
            f"{path} needs the role '{needed}'; {who} has '{caller.role}'. Whoever runs this server gives it with "
            f"`homeroom users role NAME {needed}`.",
            code="role_needed",
        )


def _check_role(scope: Scope, caller: Caller) -> None:
    if not may(caller.role, needed(scope["path"])):
        raise RoleNeeded(caller, needed(scope["path"]), scope["path"])


async def _turn_away(refusal: ApiError | Stopping, scope: Scope, receive: Receive, send: Send) -> None:
    if _is_page(scope) and isinstance(refusal, RoleNeeded):
        scope.setdefault("state", {})["refused"] = refusal.code  # for metrics.py
        page = role_needed_page(HTTPConnection(scope), refusal.needed, refusal.caller.name, refusal.caller.role)
        await page(scope, receive, send)
    elif _is_page(scope) and isinstance(refusal, ApiError) and refusal.status == 401:
        await RedirectResponse(SIGN_IN, 303)(scope, receive, send)
    else:
        await refuse(as_api_error(refusal), scope, receive, send)


def _is_open(path: str) -> bool:
    return path in ("/healthz", SIGN_IN) or path.startswith("/assets/")


def _is_api(path: str) -> bool:
    return path == "/v1" or path.startswith("/v1/")


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
