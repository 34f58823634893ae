"""Which model answers: its name in the top bar and, for who may choose, a menu of others.

A choice is for this visit of the page. The model is loaded beside the champion, who goes on answering everybody else.
"""

import asyncio
from collections.abc import Callable

from homeroom.serving.others import Others
from homeroom.serving.pages.elements import Words, element, set_attribute, set_class
from homeroom.serving.pages.strings import Strings, model_shown
from homeroom.settings import HomeroomError
from homeroom.workspace import ModelNames

CHOSEN = "(event) => emit(event.target.value)"


class ModelMenu:
    """`others` is None for who may not choose; `told` hears what became of a choice."""

    def __init__(self, words: Words, names: ModelNames, others: Others | None, told: Callable[[str], None]) -> None:
        self._words, self._names, self._others, self._told = words, names, others, told
        self._champion = ""
        self._choices: list[str] = []
        self.chosen: str | None = None
        """Another model than the one that answers; None: that one."""
        self._wanted: str | None = None  # of quick choices the last one holds

    async def read(self, champion: str) -> None:
        """Who answers now, and who might. Names are read here, where it may take its time."""
        choices = await asyncio.to_thread(self._others.ids) if self._others else []
        for name in (champion, *choices):
            await asyncio.to_thread(self._names, name)
        self._champion, self._choices = champion, choices
        if self.chosen == champion:
            self.chosen = None

    async def ready(self) -> str | None:
        """Who is chosen, loaded again if somebody else has chosen another since. Raises HomeroomError."""
        if self.chosen is not None and self._others is not None:
            await asyncio.to_thread(self._others.choose, self, self.chosen)
        return self.chosen

    async def left(self) -> None:
        """Nobody is here any more whom a chosen model would have to wait for."""
        if self._others is not None:
            await asyncio.to_thread(self._others.choose, self, None)

    def build(self) -> None:
        with element("div", "model", role="status") as self._pill:
            element("span", "model-light", aria_hidden="true")
            self._name = element("span", "model-name")
        if self._others is not None:
            self._select = element("select", "model-select")
            self._select.on("change", self._choose, js_handler=CHOSEN)
            self._words.bind(self._select, lambda s: set_attribute(self._select, "aria-label", s.choose_model))
        self._words.bind(self._pill, self.draw)

    def draw(self, strings: Strings) -> None:
        shown = self.chosen or self._champion
        self._name.set_text(model_shown(self._names(shown), strings) if shown else "")
        set_attribute(self._pill, "title", strings.answered_by.format(model=shown))
        if self._others is None:
            return
        self._select.clear()
        set_attribute(self._select, "hidden", not self._choices)
        set_class(self._pill, "visually-hidden", bool(self._choices))  # the menu shows the name already
        with self._select:
            for name in ("", *self._choices):
                told = model_shown(self._names(name or self._champion), strings) if name or self._champion else ""
                text = f"{told} · {name}" if name else strings.the_champion.format(model=told)
                option = element("option", text=text, value=name)
                set_attribute(option, "selected", name == (self.chosen or ""))

    async def _choose(self, event: object) -> None:
        wanted = self._wanted = str(getattr(event, "args", "") or "") or None
        strings = self._words.strings
        try:
            if wanted is not None:
                self._told(strings.loading_model)
            if self._others is not None:
                await asyncio.to_thread(self._others.choose, self, wanted)
            if self._wanted != wanted:
                return
            self.chosen = wanted
            shown = model_shown(self._names(wanted or self._champion), strings)
            self._told((strings.model_chosen if wanted else strings.champion_again).format(model=shown))
        except HomeroomError as error:
            self._told(str(error))
        self.draw(self._words.strings)
