"""The dialog "Delete my data": what goes, a word to type, and afterwards what had been made of it.

Whose rows those are is the page's business, which rows there are the workspace's.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from nicegui import ui

from homeroom.serving.pages.elements import Words, button, element, set_attribute, set_class
from homeroom.settings import HomeroomError
from homeroom.workspace import Forgotten

# What was typed and left is not to be there when the dialog is opened again.
OPEN = "() => { document.querySelector('#mine form').reset(); homeroom.open('mine'); }"
CLOSE = "() => homeroom.close('mine')"
CONFIRM = "(event) => { event.preventDefault(); emit(event.target.elements.word.value); }"


class MyData:
    """`user` is who visits the page, and `forget` deletes all that a person said."""

    def __init__(self, words: Words, user: str, forget: Callable[[str], Forgotten], links: bool) -> None:
        """`links`: whether who visits may look at artifacts."""
        self._words, self._user, self._forget, self._links = words, user, forget, links
        self._deleting = self._deleted = False

    def build_button(self) -> None:
        opener = button("icon-button mine-button", "delete_forever")
        opener.on("click", js_handler=OPEN)
        self._words.label(opener, lambda s: s.mine.title)

    def build(self) -> None:
        words = self._words
        with element("dialog", "dialog", id="mine", aria_labelledby="mine-title") as dialog:
            words.text(element("h2", id="mine-title"), lambda s: s.mine.title)
            with element("form", "mine-form") as self._form:
                words.text(element("p", dir="auto"), lambda s: s.mine.goes.format(user=self._user))
                words.text(element("p", "dialog-hint"), lambda s: s.mine.stays)
                with element("label"):
                    words.text(element("span"), lambda s: s.mine.type.format(word=s.mine.word))
                    word = element("input", name="word", autocomplete="off", autocapitalize="none", spellcheck="false")
                    word.props["aria-describedby"] = "mine-told"
                self._told = element("p", "wrong", role="alert", id="mine-told")
                with element("div", "better-buttons"):
                    cancel = button("quiet-button")
                    cancel.on("click", js_handler=CLOSE)
                    words.text(cancel, lambda s: s.cancel)
                    self._confirm = element("button", "solid-button danger", type_="submit")
                    words.text(self._confirm, lambda s: s.mine.confirm)
            self._result = element("div", "mine-result hidden")
        self._form.on("submit", self._confirmed, js_handler=CONFIRM)
        dialog.on("close", self._closed, args=[])

    async def _confirmed(self, event: Any) -> None:
        """Anybody can send anything, so the word is looked at here."""
        says = self._words.strings.mine
        if self._deleting or self._deleted:
            return
        if not isinstance(event.args, str) or event.args.strip().casefold() != says.word:
            self._told.set_text(says.wrong_word.format(word=says.word))
            return
        self._deleting = True
        self._told.set_text("")
        set_attribute(self._confirm, "aria-disabled", "true")
        try:
            done = await asyncio.to_thread(self._forget, self._user)
        except HomeroomError as error:
            self._told.set_text(str(error))
            return
        except Exception:
            self._told.set_text(says.went_wrong)
            raise
        finally:
            self._deleting = False
            set_attribute(self._confirm, "aria-disabled", "false")
        self._deleted = True
        set_class(self._form, "hidden", True)
        set_class(self._result, "hidden", False)
        with self._result:
            self._tell(done)
        ui.run_javascript("document.querySelector('#mine .done').focus()")  # what had the keyboard is hidden

    def _tell(self, done: Forgotten) -> None:
        strings = self._words.strings
        says = strings.mine
        element("p", "mine-told", says.deleted if done.rows else says.nothing, role="status")
        with element("dl", "mine-rows"):
            for table, count in done.rows.items():
                with element("div"):
                    element("dt", text=says.tables.get(table, table))
                    element("dd", text=f"{count:,}")
        if done.rows:
            element("p", "dialog-hint", says.made if done.artifacts else says.nothing_made)
        with element("ul", "mine-made"):
            for name in done.artifacts:
                with element("li"):
                    if self._links:
                        element("a", text=name, href=f"/data/{name}")
                    else:
                        element("span", text=name)
                    if name in done.models:
                        element("strong", text=says.model)
        with element("div", "better-buttons"):
            closer = button("solid-button done")
            closer.on("click", js_handler=CLOSE)
            closer.set_text(strings.done)

    def _closed(self) -> None:
        """What the page shows behind the dialog is gone."""
        self._told.set_text("")
        if self._deleted:
            ui.navigate.to("/")
