"""Plain HTML elements for the pages, and texts that follow the chosen language.

Texts that people or models wrote go through `text`, which the browser takes as text, never as markup. The one exception
is markdown.py's HTML of answers, which goes through `Blocks`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from homeroom.serving.pages.strings import STRINGS, Language, Strings


def element(tag: str, classes: str = "", text: str = "", **attributes: str | bool) -> TextElement:
    """`aria_label="x"` becomes aria-label="x"; `type_` and `for_` lose the underscore that Python needs."""
    made = TextElement(tag=tag, text=text).classes(classes)
    for name, value in attributes.items():
        made.props[name.rstrip("_").replace("_", "-")] = value
    return made


class Blocks:
    """HTML made by markdown.py, block by block: what did not change is not drawn again, so that a selection stays."""

    def __init__(self, holder: Element) -> None:
        self._holder = holder
        self._blocks: list[Element] = []

    def show(self, blocks: Sequence[str]) -> None:
        for block, html in zip(self._blocks, blocks, strict=False):
            set_attribute(block, "innerHTML", html)
        with self._holder:
            for html in blocks[len(self._blocks) :]:
                self._blocks.append(element("div", "block", innerHTML=html))
        for block in self._blocks[len(blocks) :]:
            block.delete()
        del self._blocks[len(blocks) :]


def set_attribute(target: Element, name: str, value: str | bool) -> None:
    """False takes the attribute away; what is unchanged is not sent again."""
    if value is False:
        if name in target.props:
            del target.props[name]
    elif target.props.get(name) != value:
        target.props[name] = value


def set_class(target: Element, name: str, on: bool) -> None:
    target.classes(add=name if on else None, remove=None if on else name)


def icon(name: str) -> TextElement:
    """A glyph of the icon font that ships with the page's framework; its name is not read aloud."""
    return element("span", "icon", name, aria_hidden="true")


def button(classes: str = "", icon_name: str | None = None, on_click: Callable[..., Any] | None = None) -> TextElement:
    made = element("button", classes, type_="button")
    if icon_name is not None:
        with made:
            icon(icon_name)
    if on_click is not None:
        made.on("click", on_click, args=[])
    return made


class Words:
    """The page's language. What is bound to it changes when it changes, without being built anew."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._bound: list[tuple[Element, Callable[[Strings], object]]] = []

    @property
    def strings(self) -> Strings:
        return STRINGS[self.language]

    def switch(self, language: Language) -> None:
        self.language = language
        self._bound = [(target, apply) for target, apply in self._bound if not target.is_deleted]
        for _, apply in self._bound:
            apply(self.strings)

    def bind(self, target: Element, apply: Callable[[Strings], object]) -> None:
        self._bound.append((target, apply))
        apply(self.strings)

    def text(self, target: TextElement, choose: Callable[[Strings], str]) -> None:
        self.bind(target, lambda strings: target.set_text(choose(strings)))

    def label(self, target: Element, choose: Callable[[Strings], str]) -> None:
        """For elements that show an icon: what is read aloud, and what a pointer that rests there sees."""

        def apply(strings: Strings) -> None:
            set_attribute(target, "aria-label", choose(strings))
            set_attribute(target, "title", choose(strings))

        self.bind(target, apply)
