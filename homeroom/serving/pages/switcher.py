"""‹ 2/3 ›: goes through what stands in one place of a conversation: a question in other words, an answer made again."""

from collections.abc import Awaitable, Callable, Sequence

from homeroom.serving.pages.elements import Words, button, element, set_attribute, set_class
from homeroom.serving.pages.strings import Strings

UNSTORED = ""  # the id of what is only being written


class Switcher:
    """`go` is called with the id of the version that the person wants to see."""

    def __init__(self, words: Words, label: Callable[[Strings], str], go: Callable[[str], Awaitable[None]]) -> None:
        self._go = go
        self._ids: tuple[str, ...] = (UNSTORED,)
        self._at = 0
        with element("div", "switcher", role="group") as self._group:
            words.bind(self._group, lambda s: set_attribute(self._group, "aria-label", label(s)))
            self._back = button("icon-button previous", "chevron_left", lambda: self._step(-1))
            words.label(self._back, lambda s: s.previous)
            self._place = element("span", "place")
            self._on = button("icon-button following", "chevron_right", lambda: self._step(1))
            words.label(self._on, lambda s: s.following)
        self.show((UNSTORED,), UNSTORED)

    @property
    def ids(self) -> tuple[str, ...]:
        return self._ids

    def show(self, ids: Sequence[str], current: str) -> None:
        self._ids, self._at = tuple(ids), list(ids).index(current)
        set_class(self._group, "hidden", len(ids) < 2)
        self._place.set_text(f"{self._at + 1}/{len(ids)}")
        # Not `disabled`: that would take the keyboard's place away.
        set_attribute(self._back, "aria-disabled", "true" if self._at == 0 else "false")
        set_attribute(self._on, "aria-disabled", "true" if self._at == len(ids) - 1 else "false")

    def add_unstored(self) -> None:
        """One more, which is being written now."""
        stored = [id for id in self._ids if id != UNSTORED]
        self.show([*stored, UNSTORED], UNSTORED)

    async def _step(self, by: int) -> None:
        if 0 <= self._at + by < len(self._ids):
            await self._go(self._ids[self._at + by])
