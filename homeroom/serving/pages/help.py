"""The overlay that lists the keys. Which key does what is the business of keys.js, on the page Rank of rank.js;
both say the same, which tests hold."""

from collections.abc import Callable

from homeroom.serving.pages.elements import Words, button, element
from homeroom.serving.pages.strings import Strings

Shortcuts = tuple[tuple[str, str], ...]
CLOSE = "() => homeroom.close('help')"
LETTERS = "(event) => homeroom.useLetters(event.target.checked)"


def build_button(words: Words) -> None:
    opener = button("icon-button help-button", "keyboard")
    opener.on("click", js_handler="() => homeroom.open('help')")
    words.label(opener, lambda s: s.help)


def build(words: Words, shortcuts: Callable[[Strings], Shortcuts] = lambda s: s.shortcuts) -> None:
    with element("dialog", "dialog", id="help", aria_labelledby="help-title"):
        words.text(element("h2", id="help-title"), lambda s: s.help)
        with element("dl", "keys-list"):
            for number in range(len(shortcuts(words.strings))):
                _build_row(words, shortcuts, number)
        with element("label", "letters"):
            # Who dictates, or has a cat, may not want a single letter to do something (WCAG 2.1.4).
            letters = element("input", type_="checkbox", id="letters")
            letters.on("change", js_handler=LETTERS)
            words.text(element("span"), lambda s: s.letters)
        with element("div", "better-buttons"):
            done = button("solid-button")
            done.on("click", js_handler=CLOSE)
            words.text(done, lambda s: s.done)


def _build_row(words: Words, shortcuts: Callable[[Strings], Shortcuts], number: int) -> None:
    keys = shortcuts(words.strings)[number][0]
    with element("div"):
        with element("dt"):
            for key in keys.split("  "):
                element("kbd", text=key)
        words.text(element("dd"), lambda s: shortcuts(s)[number][1])
