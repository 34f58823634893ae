"""The switch beside a conversation that says whether it may be learned from.

Where there is none yet the choice waits for its first message. What consent means for lessons is the workspace's
business, and what was learned before it was withdrawn is not unlearned.
"""

import asyncio
from collections.abc import Callable

from homeroom.serving.pages.elements import Words, button, icon, set_attribute
from homeroom.workspace import Feedback


class ConsentSwitch:
    """`told` hears what a choice means, once it is stored."""

    def __init__(self, words: Words, feedback: Feedback, told: Callable[[str], None]) -> None:
        self._words, self._feedback, self._told = words, feedback, told
        self._conversation_id: str | None = None
        self._given = True

    def build_button(self) -> None:
        self._button = button("icon-button consent-button", on_click=self._turn)
        with self._button:
            self._icon = icon("school")
        self._words.label(self._button, lambda s: s.consent)
        self._show()

    async def belongs_to(self, conversation_id: str, *, new: bool = False) -> None:
        """The conversation that is shown. A new one takes over what was chosen before it began."""
        if conversation_id == self._conversation_id:
            return
        if not new:
            self._given = await asyncio.to_thread(self._feedback.may_learn_from, conversation_id)
        elif not self._given:
            await asyncio.to_thread(self._feedback.set_consent, conversation_id, False)
        self._conversation_id = conversation_id
        self._show()

    async def _turn(self) -> None:
        given = not self._given
        if self._conversation_id is not None:
            await asyncio.to_thread(self._feedback.set_consent, self._conversation_id, given)
        self._given = given
        self._show()
        self._told(self._words.strings.consent_given if given else self._words.strings.consent_withdrawn)

    def _show(self) -> None:
        set_attribute(self._button, "aria-pressed", "true" if self._given else "false")
        self._icon.set_text("school" if self._given else "do_not_disturb_on")
