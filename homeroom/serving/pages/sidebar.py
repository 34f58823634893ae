"""The side of the chat page: earlier conversations and a search, language and colours.

On a phone it slides in over the page.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from homeroom.serving.access import FORM_TOKEN_HEADER
from homeroom.serving.pages.elements import Words, button, element, icon, set_attribute
from homeroom.workspace import Listed

SIGN_OUT = """() => fetch('/sign-out', {method: 'POST', headers: {'%s': '%s'}})
.then(() => location.assign('/sign-in'))"""


SEARCH = "(event) => homeroom.search(event.target.value, emit)"
LONGEST_SEARCH = 200


class Sidebar:
    """`search` is called with what was typed, once nothing is typed for a moment."""

    def __init__(self, words: Words, search: Callable[[str], Awaitable[None]]) -> None:
        self._words = words
        shade = element("div", "shade")
        shade.on("click", js_handler="() => homeroom.menu(false)")
        with element("div", "sidebar"):
            with element("div", "brand"):
                element("div", "mark", aria_hidden="true")
                element("span", "wordmark", "Homeroom")
                close = button("icon-button close-button", "close")
                close.on("click", js_handler="() => homeroom.menu(false)")
                words.label(close, lambda s: s.close_menu)
            with element("a", "new-chat", href="/"):
                icon("add")
                words.text(element("span"), lambda s: s.new_chat)
            self._build_search(search)
            self._nothing = element("p", "nothing-found", role="status")
            words.bind(self._nothing, lambda s: self._nothing.set_text(s.nothing_found if self._nothing.text else ""))
            self._list = element("nav", "conversations")
            words.bind(self._list, lambda s: set_attribute(self._list, "aria-label", s.conversations))
            self._foot = element("div", "sidebar-foot")

    def _build_search(self, search: Callable[[str], Awaitable[None]]) -> None:
        async def searched(event: Any) -> None:
            if isinstance(event.args, str):
                await search(event.args[:LONGEST_SEARCH])

        with element("div", "search"):
            icon("search")
            area = element("input", type_="search", maxlength=str(LONGEST_SEARCH), dir="auto", autocomplete="off")
        area.on("input", searched, js_handler=SEARCH)
        self._words.bind(area, lambda s: set_attribute(area, "placeholder", s.search))
        self._words.bind(area, lambda s: set_attribute(area, "aria-label", s.search))

    def on_language(self, switch: Callable[[], None]) -> None:
        with self._foot:
            language = button("quiet-button language", on_click=switch)
            with language:
                icon("translate")
                name = element("span")
            self._words.bind(language, lambda s: name.set_text(s.other_language))
            self._words.bind(
                language, lambda s: set_attribute(language, "lang", "zh-CN" if s.html_lang == "en" else "en")
            )

    def on_sign_out(self, form_token: str) -> None:
        with self._foot:
            leave = button("icon-button sign-out", "logout")
        # Not a form: under the pages' referrer policy a browser sends one with "Origin: null", which is refused.
        leave.on("click", js_handler=SIGN_OUT % (FORM_TOKEN_HEADER, form_token))
        self._words.label(leave, lambda s: s.sign_out)

    def on_theme(self, following: Callable[[], str], theme: str) -> None:
        """`following` changes the theme and returns its name."""
        icons = {"auto": "brightness_auto", "light": "light_mode", "dark": "dark_mode"}
        with self._foot:
            toggle = button("icon-button theme")
            with toggle:
                glyph = icon(icons[theme])
        shown = theme

        def change() -> None:
            nonlocal shown
            shown = following()
            glyph.set_text(icons[shown])
            set_attribute(toggle, "aria-label", self._words.strings.theme[shown])
            set_attribute(toggle, "title", self._words.strings.theme[shown])

        toggle.on("click", change, args=[])
        self._words.label(toggle, lambda s: s.theme[shown])

    def show(self, conversations: list[Listed], current: str | None, *, searched: bool = False) -> None:
        self._nothing.set_text(self._words.strings.nothing_found if searched and not conversations else "")
        self._list.clear()
        with self._list:
            for each in conversations:
                with element("a", "conversation", href=f"/c/{each.conversation_id}") as link:
                    element("span", "title", each.title, dir="auto")
                    if each.excerpt:
                        element("span", "excerpt", each.excerpt, dir="auto")
                set_attribute(link, "aria-current", "page" if each.conversation_id == current else False)
