"""Signing in, by name and password or with a key, and signing out. Plain HTML: it works without scripts.

Who needs it is access.py's business; what a password and a session are, the workspace's.
"""

import asyncio
import re
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from html import escape
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from homeroom.serving.access import COOKIE, SIGN_IN
from homeroom.serving.errors import retry_after
from homeroom.serving.limits import Attempts
from homeroom.serving.pages.plain import page, strings_for
from homeroom.serving.pages.strings import Strings
from homeroom.workspace import Key, User, Workspace
from homeroom.workspace.passwords import folded
from homeroom.workspace.sessions import SECONDS

FORM_COOKIE = "homeroom_form"
MOST_WAITING = 50
BY_PASSWORD = """<form method="post" action="{action}">
<input type="hidden" name="form" value="{form}">
<label for="name">{name_label}</label>
<input id="name" name="name" value="{name}" maxlength="100" autocomplete="username" autocapitalize="none"
 required {focus}>
<label for="password">{password_label}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
{wrong}<button type="submit">{button}</button>
</form>"""
BY_KEY = """<form method="post" action="{action}">
<input type="hidden" name="form" value="{form}">
<label for="key">{label}</label>
<input id="key" name="key" type="password" autocomplete="off" required {focus}>
{wrong}<button type="submit">{button}</button>
</form>"""


class Wrong(Exception):
    """Who could not sign in, and what the page says."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


class Door:
    """Checks what people give. Passwords in a thread of their own, one at a time: each takes memory and cores from the
    answers, and a flood of them must not hold up the threads that read the database for everybody else."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._attempts, self._waiting = workspace, Attempts(), 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")

    async def by_password(self, name: str, password: str, host: str, strings: Strings) -> User:
        """Raises Wrong."""
        plain = folded(name)[:100]
        wait = self._attempts.take(plain, host) if self._waiting < MOST_WAITING else 5.0
        if wait:
            seconds = retry_after(wait)
            raise Wrong(429, strings.sign_in_wait.format(seconds=seconds["Retry-After"]), seconds)
        self._waiting += 1
        try:
            verify = self._workspace.users.verify
            user = await asyncio.get_running_loop().run_in_executor(self._thread, verify, name, password)
        finally:
            self._waiting -= 1
        if user is None:
            raise Wrong(403, strings.sign_in_wrong_password)
        self._attempts.right(plain, host)
        return user

    async def by_key(self, secret: str, strings: Strings) -> Key:
        """Raises Wrong."""
        key = await asyncio.to_thread(self._workspace.keys.find, secret)
        if key is None:
            raise Wrong(403, strings.sign_in_wrong)
        return key


def mount(app: FastAPI, workspace: Workspace) -> None:
    door, sessions = Door(workspace), workspace.sessions

    @app.get(SIGN_IN, include_in_schema=False)
    async def ask(request: Request) -> Response:
        return await asyncio.to_thread(_page, request, workspace)

    @app.post(SIGN_IN, include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        given = parse_qs((await request.body()).decode("utf-8", "replace"))
        fields = {name: given.get(name, [""])[0] for name in ("form", "name", "password", "key")}
        strings, host = strings_for(request), request.client.host if request.client else ""
        holder: User | Key
        try:
            # Another site's form would sign a person in as somebody else, who then reads what the person asks.
            cookie = _form_cookie(request)
            if not cookie or not secrets.compare_digest(fields["form"].encode(), cookie.encode()):
                raise Wrong(403, strings.sign_in_again)
            if fields["key"]:
                holder = await door.by_key(fields["key"].strip(), strings)
            else:
                holder = await door.by_password(fields["name"].strip(), fields["password"], host, strings)
        except Wrong as wrong:
            return await asyncio.to_thread(_page, request, workspace, wrong, fields)
        # Always a new session: of one that somebody put into this browser before, they would know the token.
        await asyncio.to_thread(sessions.end, request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/", 303)
        _set(response, request, COOKIE, await asyncio.to_thread(sessions.begin, holder), SECONDS)
        return response

    @app.post("/sign-out", include_in_schema=False)
    async def sign_out(request: Request) -> Response:
        await asyncio.to_thread(sessions.end, request.cookies.get(COOKIE, ""))
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response


def _form_cookie(request: Request) -> str:
    cookie = request.cookies.get(FORM_COOKIE, "")
    return cookie if re.fullmatch(r"[A-Za-z0-9_-]{43}", cookie) else ""


def _page(
    request: Request, workspace: Workspace, wrong: Wrong | None = None, fields: Mapping[str, str] | None = None
) -> Response:
    strings, given = strings_for(request), fields or {}
    form = _form_cookie(request) or secrets.token_urlsafe(32)
    said = f'<p class="wrong" role="alert">{escape(str(wrong))}</p>\n' if wrong is not None else ""
    accounts, with_key = workspace.users.exist(), bool(given.get("key"))
    shared = {"action": SIGN_IN, "form": form, "button": escape(strings.sign_in)}
    content = f"<p>{escape(strings.sign_in_introduction)}</p>\n"
    key_form = BY_KEY.format(
        **shared,
        label=escape(strings.sign_in_key),
        focus="" if accounts and not with_key else "autofocus",
        wrong=said if with_key or not accounts else "",
    )
    if accounts:
        content += BY_PASSWORD.format(
            **shared,
            name_label=escape(strings.sign_in_name),
            name=escape(given.get("name", "")),
            password_label=escape(strings.sign_in_password),
            focus="" if with_key else "autofocus",
            wrong="" if with_key else said,
        )
        opened = " open" if with_key else ""
        key_form = f"\n<details{opened}><summary>{escape(strings.sign_in_with_key)}</summary>\n{key_form}\n</details>"
    response = page(strings, content + key_form, 200 if wrong is None else wrong.status)
    if wrong is not None:
        response.headers.update(wrong.headers)
    _set(response, request, FORM_COOKIE, form, None)
    return response


def _set(response: Response, request: Request, name: str, value: str, seconds: int | None) -> None:
    # Strict: no link and no form of another site is ever sent with it.
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="strict", secure=secure)
