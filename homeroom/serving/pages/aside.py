"""Whose judgements the last harvest set aside, and why; and the operator's word on them. A part of the page Lessons.

What is set aside, and what a word means, is the business of the workspace's standings; the next harvest obeys them.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from homeroom.serving.pages import parts
from homeroom.serving.pages.aside_strings import CHINESE_ASIDE, ENGLISH_ASIDE, AsideStrings
from homeroom.serving.pages.elements import button, element, set_attribute
from homeroom.serving.pages.parts import Pill
from homeroom.serving.pages.strings import Strings
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
    """`by` is who visits; `changed` is called when a word was said, to read and draw the page again."""

    def __init__(self, workspace: Workspace, by: str, changed: Callable[[], Awaitable[None]]) -> None:
        self._workspace, self._by, self._changed, self._open = workspace, by, changed, False

    def draw(self, people: list[Person], strings: Strings) -> None:
        if not people:
            return
        says = ENGLISH_ASIDE if strings.html_lang == "en" else CHINESE_ASIDE
        with element("details", "card folded aside") as holder:
            set_attribute(holder, "open", self._open)
            element("summary", text=f"{says.title} ({len(people)})")
            element("p", "hint-text", says.hint)
            with element("ul", "aside-list"):
                for one in people:
                    with element("li", "aside-person"):
                        self._draw_person(one, says, strings)

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
        with contextlib.suppress(FeedbackError):  # who had all of their own deleted meanwhile is not shown any more
            await asyncio.to_thread(self._workspace.standings.say, name, word, by=self._by)
        await self._changed()
