"""The side of the chat page: earlier conversations, a search, and the way to other pages.

On a phone it slides in over the page.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from homeroom.serving.pages.elements import Words, button, element, icon, set_attribute
from homeroom.serving.pages.strings import Strings
from homeroom.workspace import Listed

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
            self._pages = element("div", "pages")
            self._build_search(search)
            self._nothing = element("p", "nothing-found", role="status")
            words.bind(self._nothing, lambda s: self._nothing.set_text(s.nothing_found if self._nothing.text else ""))
            self._list = element("nav", "conversations")
            words.bind(self._list, lambda s: set_attribute(self._list, "aria-label", s.conversations))
            self.foot = element("div", "sidebar-foot")

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

    def link(self, path: str, icon_name: str, name: Callable[[Strings], str]) -> None:
        """To another page."""
        with self._pages, element("a", "page-link", href=path):
            icon(icon_name)
            self._words.text(element("span"), name)

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
