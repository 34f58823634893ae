"""The box to write in, with what it has to say, and the buttons that send and stop."""

from collections.abc import Awaitable, Callable
from typing import Any

from homeroom.serving.pages.elements import Words, button, element, set_attribute, set_class
from homeroom.serving.pages.thread import LONGEST_MESSAGE

SEND = "() => homeroom.send(emit)"
ENTER = "(event) => homeroom.enter(event, emit)"
ADMIT = f"(event) => homeroom.admit(event, emit, {LONGEST_MESSAGE})"


class Composer:
    def __init__(self, words: Words, on_sent: Callable[[object], Awaitable[None]], on_stop: Callable[[], None]) -> None:
        self._words = words

        async def sent(event: Any) -> None:
            await on_sent(event.args)

        with element("footer", "composer"):
            self._status = element("p", "status", role="alert")
            with element("div", "box"):
                area = element("textarea", rows="1", dir="auto", autofocus=True)
                area.on("keydown", sent, js_handler=ENTER)
                area.on("beforeinput", sent, js_handler=ADMIT)
                words.bind(area, lambda s: set_attribute(area, "placeholder", s.composer))
                words.bind(area, lambda s: set_attribute(area, "aria-label", s.composer))
                self._send = button("round-button send", "arrow_upward")
                self._send.on("click", sent, js_handler=SEND)
                words.label(self._send, lambda s: s.send)
                self._stop = button("round-button stop hidden", "stop", on_stop)
                words.label(self._stop, lambda s: s.stop)
            with element("p", "hint"):
                words.text(element("span"), lambda s: s.caution)
                words.text(element("span", "keys"), lambda s: s.keys)

    def tell(self, text: str) -> None:
        self._status.set_text(text)

    def busy(self, busy: bool) -> None:
        self.tell("")
        set_class(self._send, "hidden", busy)
        set_class(self._stop, "hidden", not busy)

    def too_long(self, length: int) -> None:
        self.tell(self._words.strings.too_long.format(length=f"{length:,}", limit=f"{LONGEST_MESSAGE:,}"))
