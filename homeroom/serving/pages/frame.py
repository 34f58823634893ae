"""What the pages share: whose page it is, its language and colours, and what stands in its head.

What a page is about is its own file's business.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from fastapi import Request
from nicegui import Client, ui

from homeroom import __version__
from homeroom.serving.access import FORM_TOKEN_HEADER, Caller, form_token_of, role_of, user_of
from homeroom.serving.pages.elements import Words, button, element, icon, set_attribute
from homeroom.serving.pages.strings import preferred
from homeroom.serving.roles import needed
from homeroom.workspace.users import may

ASSETS = Path(__file__).parent / "assets"
VIEWPORT = "width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content"
SIGN_OUT = """() => fetch('/sign-out', {method: 'POST', headers: {'%s': '%s'}})
.then(() => location.assign('/sign-in'))"""
Theme = Literal["auto", "light", "dark"]
FOLLOWING: dict[Theme, Theme] = {"auto": "light", "light": "dark", "dark": "auto"}
SCHEMES: dict[Theme, str] = {"auto": "light dark", "light": "light", "dark": "dark"}
ICONS: dict[Theme, str] = {"auto": "brightness_auto", "light": "light_mode", "dark": "dark_mode"}


def built_for(page_id: str) -> Caller | None:
    """For whom a page was built that is open, or was a moment ago; None: there is none of that id."""
    page = Client.instances.get(page_id)
    caller = page.request.scope.get("state", {}).get("caller") if page else None
    return caller if isinstance(caller, Caller) else None


class Frame:
    """Of one visit. `nobody` is who visits where nobody signed in."""

    def __init__(self, request: Request, nobody: str = "local") -> None:
        cookies = request.cookies
        self.words = Words(preferred(cookies.get("homeroom_language"), request.headers.get("accept-language", "")))
        chosen = cookies.get("homeroom_theme")
        self._theme: Theme = "light" if chosen == "light" else "dark" if chosen == "dark" else "auto"
        state = request.scope.get("state", {})
        self.user, self._role, self._form_token = user_of(state, nobody), role_of(state), form_token_of(state)

    def may_visit(self, path: str) -> bool:
        return may(self._role, needed(path))

    def build_head(self, styles: Sequence[str], scripts: Sequence[str]) -> None:
        ui.add_head_html(
            "".join(f'<link rel="stylesheet" href="/assets/{name}.css?{__version__}">' for name in styles)
            + "".join(f'<script src="/assets/{name}.js?{__version__}"></script>' for name in scripts)
            + f"<style>html {{ color-scheme: {SCHEMES[self._theme]}; background: Canvas; }}</style>"
            f"<script>document.documentElement.lang = {self.words.strings.html_lang!r};</script>"
        )
        self._dark = ui.dark_mode(_dark(self._theme))

    def build_controls(self, on_language: Callable[[], None] = lambda: None) -> None:
        """Colours, language, and the way out for whoever signed in. `on_language` follows a change of it."""
        self._build_theme()
        self._build_language(on_language)
        if self._form_token is not None:
            leave = button("icon-button sign-out", "logout")
            # Not a form: under the pages' referrer policy a browser sends one with "Origin: null", which is refused.
            leave.on("click", js_handler=SIGN_OUT % (FORM_TOKEN_HEADER, self._form_token))
            self.words.label(leave, lambda s: s.sign_out)

    def _build_theme(self) -> None:
        with button("icon-button theme") as toggle:
            glyph = icon(ICONS[self._theme])

        def change() -> None:
            self._theme = FOLLOWING[self._theme]
            self._dark.value = _dark(self._theme)
            ui.run_javascript(f"homeroom.remember('theme', {self._theme!r})")
            glyph.set_text(ICONS[self._theme])
            set_attribute(toggle, "aria-label", self.words.strings.theme[self._theme])
            set_attribute(toggle, "title", self.words.strings.theme[self._theme])

        toggle.on("click", change, args=[])
        self.words.label(toggle, lambda s: s.theme[self._theme])

    def _build_language(self, on_language: Callable[[], None]) -> None:
        words = self.words

        def switch() -> None:
            words.switch("zh" if words.language == "en" else "en")
            on_language()
            ui.run_javascript(
                f"document.documentElement.lang = {words.strings.html_lang!r};"
                f"homeroom.remember('language', {words.language!r})"
            )

        with button("quiet-button language", on_click=switch) as language:
            icon("translate")
            name = element("span")
        words.bind(language, lambda s: name.set_text(s.other_language))
        words.bind(language, lambda s: set_attribute(language, "lang", "zh-CN" if s.html_lang == "en" else "en"))


def _dark(theme: Theme) -> bool | None:
    return None if theme == "auto" else theme == "dark"
