"""Pages of plain HTML, which work without scripts: what people see who are not let in, or not yet.

Who is let in is access.py's business, and signing in sign_in.py's.
"""

from html import escape

from fastapi.responses import HTMLResponse
from starlette.requests import HTTPConnection

from homeroom.serving.pages.strings import STRINGS, Strings, preferred
from homeroom.workspace import Role

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
main, form {{ display: grid; gap: 0.75rem; }}
main {{ width: min(22rem, 90vw); }}
h1 {{ margin: 0; font-size: 1.4rem; }}
p {{ margin: 0; overflow-wrap: anywhere; }}
input, button {{ padding: 0.6rem 0.75rem; font: inherit; }}
summary {{ padding: 0.4rem 0; }}
.wrong {{ font-weight: 600; }}
</style>
</head>
<body>
<main>
<h1>Homeroom</h1>
{content}
</main>
</body>
</html>
"""


def strings_for(connection: HTTPConnection) -> Strings:
    cookie, accepted = connection.cookies.get("homeroom_language"), connection.headers.get("accept-language", "")
    return STRINGS[preferred(cookie, accepted)]


def page(strings: Strings, content: str, status: int) -> HTMLResponse:
    """`content` is HTML; whatever stands in it of people's has been escaped."""
    html = PAGE.format(lang=strings.html_lang, content=content)
    return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})


def role_needed_page(connection: HTTPConnection, needed: Role, name: str | None, held: Role) -> HTMLResponse:
    strings = strings_for(connection)
    held_text = "" if name is None else f"<p>{escape(strings.role_held.format(name=name, held=held))}</p>\n"
    content = (
        f'<p class="wrong" role="alert">{escape(strings.role_needed.format(needed=needed))}</p>\n{held_text}'
        f'<p><a href="/sign-in">{escape(strings.sign_in if name is None else strings.other_account)}</a></p>\n'
        f'<p><a href="/">{escape(strings.to_chat)}</a></p>'
    )
    return page(strings, content, 403)
