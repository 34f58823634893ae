"""The surroundings of the pages for those who operate: where else to go, language and colours, and a column to fill."""

from collections.abc import Callable

from fastapi import Request
from nicegui import ui

from homeroom.drawing import PARTS
from homeroom.serving.pages.elements import element, icon, set_attribute
from homeroom.serving.pages.frame import Frame
from homeroom.serving.pages.strings import Strings


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


STYLES = ("theme", "dialogs", "operate")
SCRIPTS = ("chat", "operate")
# What pictures need lies where the report finds it as well, and is too small to be asked for.
PICTURES = f"<style>{_part('charts.css')}</style><script>{_part('charts.js')}</script>"
Draw = Callable[[Strings], None]


class Board:
    """`draw` fills the column in one language; it is called again where the language changes, or what is shown."""

    def __init__(self, request: Request, here: str, draw: Draw) -> None:
        self._frame, self._here, self._draw = Frame(request), here, draw

    @property
    def strings(self) -> Strings:
        return self._frame.words.strings

    def build(self) -> None:
        words = self._frame.words
        self._frame.build_head(STYLES, SCRIPTS)
        ui.add_head_html(PICTURES)
        with element("div", "page board"):
            with element("header", "board-top"):
                with element("a", "brand", href="/") as home:
                    element("span", "mark", aria_hidden="true")
                    element("span", "wordmark", "Homeroom")
                words.label(home, lambda s: s.to_chat)
                self._build_pages()
                with element("div", "board-controls"):
                    self._frame.build_controls()
            with element("div", "board-scroller", tabindex="-1"):
                self._column = element("div", "board-column")
        words.bind(self._column, lambda _: self.redraw())

    def redraw(self) -> None:
        self._column.clear()
        with self._column:
            self._draw(self.strings)

    def _build_pages(self) -> None:
        words = self._frame.words
        pages: list[tuple[str, str, Callable[[Strings], str]]] = [
            ("/", "chat", lambda s: s.operate.chat),
            ("/lessons", "school", lambda s: s.operate.lessons),
            ("/data", "account_tree", lambda s: s.operate.data),
            ("/runs", "show_chart", lambda s: s.operate.runs),
        ]
        with element("nav", "board-pages") as nav:
            for path, icon_name, name in pages:
                with element("a", "page-link", href=path) as link:
                    icon(icon_name)
                    words.text(element("span"), name)
                set_attribute(link, "aria-current", "page" if path == self._here else False)
        words.bind(nav, lambda s: set_attribute(nav, "aria-label", s.operate.pages))
