"""Below two answers: which is better? And once that is said, whose they were. Until then the page does not hold it.

Recording the choice is the thread's business; the keys are keys.js's, which presses these buttons.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from nicegui.elements.mixins.text_element import TextElement

from homeroom.serving.pages.elements import Words, button, element, set_attribute, set_class
from homeroom.serving.pages.strings import Strings, model_shown
from homeroom.workspace import Chosen, ModelName

BUTTONS: tuple[tuple[Chosen, str], ...] = (("left", "←"), ("same", "↓"), ("bad", "Del"), ("right", "→"))


class PairBar:
    """`choose` is called with what the person chose."""

    def __init__(self, words: Words, choose: Callable[[Chosen], Awaitable[None]]) -> None:
        self._words, self._choose = words, choose
        self._models: Mapping[str, ModelName] = {}
        self._reason, self._busy = "", False
        with element("div", "choice hidden", role="group") as self._group:
            words.bind(self._group, lambda s: set_attribute(self._group, "aria-label", s.pair.ask))
            with element("p", "choice-question"):
                words.text(element("strong"), lambda s: s.pair.ask)
                words.text(element("span"), lambda s: s.pair.hint)
            with element("div", "choice-buttons"):
                self._buttons = [self._build(chosen, key) for chosen, key in BUTTONS]
        self._told = element("p", "told", role="status")
        words.bind(self._told, lambda s: self._tell(s))

    def ask(self) -> None:
        self._models, self._reason = {}, ""
        set_class(self._group, "hidden", False)
        self._tell(self._words.strings)

    def close(self, models: Mapping[str, ModelName] | None = None) -> None:
        """Ask no more; tell whose the answers were, if that is given by id: one model, or A's and B's."""
        self._models, self._reason = models or {}, ""
        set_class(self._group, "hidden", True)
        self._tell(self._words.strings)

    def busy(self, busy: bool) -> None:
        self._busy = busy
        for each in self._buttons:
            set_attribute(each, "aria-disabled", "true" if busy else "false")

    def fail(self, reason: str) -> None:
        self._reason = reason
        self._tell(self._words.strings)

    def _build(self, chosen: Chosen, key: str) -> TextElement:
        made = button(f"quiet-button choose choose-{chosen}", on_click=partial(self._pressed, chosen))
        with made:
            element("kbd", text=key, aria_hidden="true")
            self._words.text(element("span"), lambda s: str(getattr(s.pair, chosen)))
        return made

    async def _pressed(self, chosen: Chosen) -> None:
        if not self._busy:
            await self._choose(chosen)

    def _tell(self, strings: Strings) -> None:
        shown = [model_shown(name, strings) for name in self._models.values()]
        if len(set(shown)) < len(shown):
            shown = list(self._models)  # two models of one day have one name
        text = strings.not_saved.format(reason=self._reason) if self._reason else ""
        if len(shown) == 1:
            text = strings.pair.told_same.format(model=shown[0])
        elif shown:
            text = strings.pair.told.format(left=shown[0], right=shown[1])
        self._told.set_text(text)
