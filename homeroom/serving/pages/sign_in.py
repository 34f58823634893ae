"""The page that asks for a key, for people who come from other machines. Plain HTML: it works without scripts.

Who needs it, and what a session is, is access.py's business.
"""

import asyncio
from html import escape
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from homeroom.serving.access import COOKIE, SESSION_SECONDS, SIGN_IN, Sessions
from homeroom.serving.pages.strings import STRINGS, Strings, preferred
from homeroom.workspace import Keys

# The server's policy for all pages, no-referrer, makes browsers send a form with "Origin: null", which is refused.
PAGE = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="same-origin">
<title>Homeroom</title><link rel="icon" href="/assets/icon.svg">
<style>
html {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }}
body {{ display: grid; min-height: 100dvh; margin: 0; place-items: center; }}
form {{ display: grid; gap: 0.75rem; width: min(22rem, 90vw); }}
h1 {{ margin: 0; font-size: 1.4rem; }}
p {{ margin: 0; }}
input, button {{ padding: 0.6rem 0.75rem; font: inherit; }}
.wrong {{ font-weight: 600; }}
</style>
</head>
<body>
<form method="post" action="{action}">
<h1>Homeroom</h1>
<p>{introduction}</p>
<label for="key">{label}</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
{wrong}<button type="submit">{button}</button>
</form>
</body>
</html>
"""


def mount(app: FastAPI, keys: Keys, sessions: Sessions) -> None:
    @app.get(SIGN_IN, include_in_schema=False)
    async def ask(request: Request) -> Response:
        return _page(request)

    @app.post(SIGN_IN, include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        given = parse_qs((await request.body()).decode("utf-8", "replace")).get("key", [""])[0].strip()
        key = await asyncio.to_thread(keys.find, given)
        if key is None:
            return _page(request, wrong=True)
        response = RedirectResponse("/", 303)
        # Strict: no link and no form of another site is ever sent with it.
        response.set_cookie(
            COOKIE,
            sessions.begin(key),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @app.post("/sign-out", include_in_schema=False)
    async def sign_out() -> Response:
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response


def _page(request: Request, wrong: bool = False) -> HTMLResponse:
    language = preferred(request.cookies.get("homeroom_language"), request.headers.get("accept-language", ""))
    strings: Strings = STRINGS[language]
    filled = PAGE.format(
        lang=strings.html_lang,
        action=SIGN_IN,
        introduction=escape(strings.sign_in_introduction),
        label=escape(strings.sign_in_key),
        wrong=f'<p class="wrong" role="alert">{escape(strings.sign_in_wrong)}</p>\n' if wrong else "",
        button=escape(strings.sign_in),
    )
    return HTMLResponse(filled, 403 if wrong else 200, headers={"Cache-Control": "no-store"})
