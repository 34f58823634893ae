"""The switch beside a conversation that says whether it may be learned from.

Where there is none yet the choice waits for its first question, with which it is stored. What consent means for lessons
is the workspace's business, and what was learned before it was withdrawn is not unlearned.
"""

import asyncio
from collections.abc import Callable

from homeroom.serving.pages.elements import Words, button, icon, set_attribute
from homeroom.serving.pages.strings import Strings
from homeroom.settings import HomeroomError
from homeroom.workspace import Feedback


class ConsentSwitch:
    """`told` hears what a choice means, once it is stored, or why it is not."""

    def __init__(self, words: Words, feedback: Feedback, told: Callable[[str], None]) -> None:
        self._words, self._feedback, self._told = words, feedback, told
        self._conversation_id: str | None = None
        self.given = True

    def build_button(self) -> None:
        self._button = button("icon-button consent-button", on_click=self._turn)
        with self._button:
            self._icon = icon("school")
        self._words.bind(self._button, self._show)

    async def read(self, conversation_id: str) -> None:
        """The conversation that is shown."""
        self._conversation_id = conversation_id
        self.given = await asyncio.to_thread(self._feedback.may_learn_from, conversation_id)
        self._show(self._words.strings)

    async def began(self, conversation_id: str, stored: bool) -> None:
        """It was stored with this consent, if it is new; who changed their mind meanwhile is heard."""
        self._conversation_id = conversation_id
        if self.given != stored:
            await self._store(conversation_id, self.given)

    async def _turn(self) -> None:
        given = not self.given
        if self._conversation_id is not None and not await self._store(self._conversation_id, given):
            return
        self.given = given
        strings = self._words.strings
        self._show(strings)
        self._told(strings.consent.given if given else strings.consent.withdrawn)

    async def _store(self, conversation_id: str, given: bool) -> bool:
        try:
            await asyncio.to_thread(self._feedback.set_consent, conversation_id, given)
        except HomeroomError as error:
            self._told(self._words.strings.consent.not_stored.format(error=error))
            return False
        return True

    def _show(self, strings: Strings) -> None:
        set_attribute(self._button, "aria-pressed", "true" if self.given else "false")
        set_attribute(self._button, "aria-label", strings.consent.name)
        set_attribute(self._button, "title", strings.consent.on if self.given else strings.consent.off)
        self._icon.set_text("school" if self.given else "do_not_disturb_on")
