"""Whose judgements the last harvest set aside, and why; and the operator's word on them. A part of the page Lessons.

What is set aside, and what a word means, is the business of the workspace's standings; the next harvest obeys them.
"""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from nicegui import ui

from homeroom.serving.pages import parts
from homeroom.serving.pages.aside_strings import CHINESE_ASIDE, ENGLISH_ASIDE, AsideStrings
from homeroom.serving.pages.elements import button, element, set_attribute
from homeroom.serving.pages.parts import Pill
from homeroom.serving.pages.strings import Strings
from homeroom.settings import HomeroomError
from homeroom.workspace import FeedbackError, Workspace
from homeroom.workspace.standings import Said, Word

KINDS = {"restored": "good", "distrusted": "bad"}


@dataclass(frozen=True)
class Person:
    """How many judgements were set aside for which reason, and the word that holds of this person, if one does."""

    name: str
    reasons: tuple[tuple[str, int], ...]
    said: Said | None


def read(workspace: Workspace) -> list[Person]:
    """Those whose judgements the last harvest set aside, the most first; and those about whom an operator said a word.

    Slow enough to belong in a thread.
    """
    harvests = [one for one in workspace.artifacts.all() if one.stage == "harvest"]
    words = workspace.standings.said()
    counts: dict[str, Counter[str]] = {name: Counter() for name in words}
    for one in workspace.standings.set_aside(harvests[-1].path) if harvests else []:
        counts.setdefault(one.user, Counter())[one.reason] += 1
    people = [Person(name, tuple(count.most_common()), words.get(name)) for name, count in counts.items()]
    return sorted(people, key=lambda one: (-sum(count for _, count in one.reasons), one.name))


class AsideCard:
    """`by` is who visits."""

    def __init__(self, workspace: Workspace, by: str) -> None:
        self._workspace, self._by, self._open, self._wrong = workspace, by, False, ""
        self._people: list[Person] = []

    async def read(self) -> None:
        self._people = await asyncio.to_thread(read, self._workspace)

    def draw(self, strings: Strings) -> None:
        self._strings = strings
        self._holder = element("div")
        self._fill()

    def _fill(self) -> None:
        if not self._people:
            return
        strings = self._strings
        says = ENGLISH_ASIDE if strings.html_lang == "en" else CHINESE_ASIDE
        with self._holder, element("details", "card folded aside") as folded:
            set_attribute(folded, "open", self._open)
            folded.on("toggle", self._toggled, js_handler="(event) => emit(event.target.open)")
            element("summary", text=f"{says.title} ({len(self._people)})")
            element("p", "hint-text", says.hint)
            if self._wrong:
                element("p", "wrong", self._wrong, role="alert")
            with element("ul", "aside-list"):
                for one in self._people:
                    with element("li", "aside-person"):
                        self._draw_person(one, says, strings)

    def _toggled(self, event: Any) -> None:
        self._open = event.args is True  # so that it stays so when the page is drawn again

    def _draw_person(self, one: Person, says: AsideStrings, strings: Strings) -> None:
        element("span", "cell-text", one.name, dir="auto")
        told = ", ".join(f"{count:,} {says.reasons.get(reason, reason)}" for reason, count in one.reasons)
        element("span", "hint-text", told)
        if one.said is not None:
            parts.fill(Pill(says.words[one.said.word], KINDS.get(one.said.word, "quiet")))
            if one.said.by is not None:
                by, when = strings.operate.decided_by_hand.format(by=one.said.by), parts.moment(one.said.at)
                element("span", "hint-text", f"{by} · {when}", dir="auto")
            self._button(says.take_back, one.name, "judged")
            return
        self._button(says.restore, one.name, "restored")
        self._button(says.distrust, one.name, "distrusted")

    def _button(self, text: str, name: str, word: Word) -> None:
        made = button("quiet-button bordered", on_click=partial(self._say, name, word))
        made.set_text(text)
        made.props["aria-label"] = f"{text}: {name}"

    async def _say(self, name: str, word: Word) -> None:
        self._open = True  # who said one word may want to say another
        try:
            with contextlib.suppress(FeedbackError):  # who had all of their own deleted meanwhile is not shown any more
                await asyncio.to_thread(self._workspace.standings.say, name, word, by=self._by)
        except HomeroomError as error:
            self._wrong = str(error)
        else:
            self._wrong = ""
            await self.read()
        self._holder.clear()
        self._fill()
        # What had the keyboard is gone.
        row = next((number for number, one in enumerate(self._people, 1) if one.name == name), None)
        place = f".aside-person:nth-child({row}) button" if row else ".aside summary"
        with self._holder:
            ui.run_javascript(f"document.querySelector({place!r})?.focus()")
