"""One turn on the chat page: the question, the answer as it grows, and what a person can do with the answer.

Keeps what is shown and sends votes to the workspace; generating is the page's business (chat.py).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from homeroom.serving.chat import Reply
from homeroom.serving.pages.elements import Words, button, element, set_attribute, set_class
from homeroom.serving.pages.history import Past
from homeroom.serving.pages.strings import Strings
from homeroom.settings import HomeroomError
from homeroom.workspace import Feedback

Outcome = Literal["writing", "stop", "length", "cancelled", "failed"]
COPY = "(event) => homeroom.copy(event.currentTarget)"
SAVE = "(event) => emit(event.currentTarget.closest('form').querySelector('textarea').value)"


class Turn:
    """`regenerate` is called when the person asks for another answer."""

    def __init__(
        self, question: str, words: Words, feedback: Feedback, user: str, regenerate: Callable[[], Awaitable[None]]
    ) -> None:
        self.question, self.answer = question, ""
        self.message_id: str | None = None  # once the answer is stored
        self.model_id = ""
        self.outcome: Outcome = "writing"
        self._reason, self._forgot = "", False
        self._vote: Literal[1, -1, 0] = 0
        self._saving = False
        self._words, self._feedback, self._user = words, feedback, user
        self._build(regenerate)

    @property
    def messages(self) -> list[dict[str, str]]:
        """What later answers are to read of this turn. An answer that was not stored cannot be built upon."""
        if self.message_id is None:
            return []
        return [{"role": "user", "content": self.question}, {"role": "assistant", "content": self.answer}]

    def begin(self) -> None:
        """Empty, and waiting for the first piece of a new answer."""
        self.answer, self.message_id, self.outcome = "", None, "writing"
        self._vote, self._reason, self._forgot = 0, "", False
        self._text.set_text("")
        self._better_text.set_text("")
        set_class(self._better_form, "hidden", True)
        self._refresh()

    def add(self, text: str) -> None:
        if not self.answer:
            set_class(self._answer, "waiting", False)
        self.answer += text
        self._text.set_text(self.answer)

    def end(self, reply: Reply) -> None:
        self.outcome = reply.finish_reason or "stop"
        self.message_id = reply.id if reply.stored else None
        self.model_id, self._forgot = reply.model_id, reply.forgot
        self._refresh()

    def fail(self, reason: str) -> None:
        self.outcome, self._reason = "failed", reason
        self._refresh()

    def restore(self, past: Past) -> None:
        """Show what was stored earlier."""
        answer, self._vote = past.answer, past.vote
        self.message_id, self.answer, self.model_id = answer.id, answer.text, answer.model_id or ""
        self._better_text.set_text(past.better)
        endings: dict[str | None, Outcome] = {"cancelled": "cancelled", "length": "length"}
        self.outcome = endings.get(answer.finish_reason, "stop")
        self._text.set_text(answer.text)
        self._refresh()

    async def vote(self, value: Literal[1, -1]) -> None:
        if self._saving or self.message_id is None or self._vote == value:
            return
        if await self._save(self._feedback.vote, value):
            self._vote = value
            set_class(self._better_form, "hidden", value == 1)
        self._refresh()

    async def edit(self, text: str) -> None:
        if self._saving or self.message_id is None or not text.strip() or text.strip() == self.answer.strip():
            return
        if await self._save(self._feedback.edit, text.strip()):
            self._better_text.set_text(text.strip())
            set_class(self._better_form, "hidden", True)
        self._refresh()

    async def _save(self, record: Callable[..., object], value: object) -> bool:
        """True once it is in the database; only then may the page say that it counts."""
        self._saving, self._reason = True, ""
        self._refresh()
        try:
            await asyncio.to_thread(record, self.message_id, value, user=self._user)
        except HomeroomError as error:
            self._reason = str(error)
            return False
        finally:
            self._saving = False
        return True

    def _build(self, regenerate: Callable[[], Awaitable[None]]) -> None:
        words = self._words
        with element("article", "turn"):
            with element("div", "question"):
                words.text(element("span", "visually-hidden"), lambda s: s.you)
                element("div", "bubble", self.question, dir="auto")
            with element("div", "answer waiting") as self._answer:
                words.text(element("span", "visually-hidden"), lambda s: s.assistant)
                with element("div", "dots") as dots:
                    words.label(dots, lambda s: s.thinking)
                    for _ in range(3):
                        element("span")
                self._text = element("div", "answer-text", dir="auto")
                self._note = element("p", "note")
                words.bind(self._note, lambda strings: self._note.set_text(self._note_in(strings)))
                with element("div", "actions") as self._actions:
                    self._build_actions(regenerate)
                self._build_better()

    def _build_actions(self, regenerate: Callable[[], Awaitable[None]]) -> None:
        words = self._words
        copy = button("icon-button copy", "content_copy")
        copy.on("click", js_handler=COPY)
        words.bind(copy, lambda s: set_attribute(copy, "data-done", s.copied))
        words.label(copy, lambda s: s.copy)
        words.label(button("icon-button regenerate", "refresh", regenerate), lambda s: s.regenerate)
        self._up = button("icon-button up", "thumb_up", lambda: self.vote(1))
        words.label(self._up, lambda s: s.good)
        self._down = button("icon-button down", "thumb_down", lambda: self.vote(-1))
        words.label(self._down, lambda s: s.bad)
        edit = button("icon-button edit", "edit", lambda: set_class(self._better_form, "hidden", False))
        words.label(edit, lambda s: s.better)
        self._counted = element("span", "counted", role="status")
        words.bind(self._counted, lambda s: self._counted.set_text(s.counted if self._vote else ""))
        self._model = element("span", "answered-by")
        words.bind(self._model, self._name_model)

    def _build_better(self) -> None:
        words = self._words
        with element("form", "better hidden", onsubmit="return false") as self._better_form:
            with element("label"):
                words.text(element("strong"), lambda s: s.better_label)
                words.text(element("span"), lambda s: s.better_hint)
                element("textarea", rows="3", maxlength="20000", dir="auto")
            with element("div", "better-buttons"):
                cancel = button("quiet-button", on_click=lambda: set_class(self._better_form, "hidden", True))
                words.text(cancel, lambda s: s.cancel)
                save = button("solid-button")
                save.on("click", lambda event: self.edit(_text_of(event.args)), js_handler=SAVE)
                words.text(save, lambda s: s.save)
        with element("div", "better-saved"):
            words.text(element("strong"), lambda s: s.better_saved)
            self._better_text = element("div", dir="auto")

    def _refresh(self) -> None:
        """Bring every element in line with what is known. Elements stay, so that the keyboard keeps its place."""
        writing, strings = self.outcome == "writing", self._words.strings
        set_class(self._answer, "waiting", writing and not self.answer)
        set_class(self._answer, "writing", writing)
        set_attribute(self._answer, "aria-busy", "true" if writing else "false")
        set_class(self._actions, "hidden", writing)
        set_class(self._actions, "not-stored", self.message_id is None)
        for thumb, value in ((self._up, 1), (self._down, -1)):
            set_attribute(thumb, "aria-pressed", "true" if self._vote == value else "false")
            # Not `disabled`: that would take the keyboard's place away.
            set_attribute(thumb, "aria-disabled", "true" if self._saving else "false")
        self._counted.set_text(strings.counted if self._vote else "")
        self._model.set_text(self.model_id)
        self._name_model(strings)
        self._note.set_text(self._note_in(strings))

    def _name_model(self, strings: Strings) -> None:
        set_attribute(self._model, "title", strings.answered_by.format(model=self.model_id))

    def _note_in(self, strings: Strings) -> str:
        if self.outcome == "failed":
            return strings.failed.format(reason=self._reason)
        if self._reason:
            return strings.not_saved.format(reason=self._reason)
        notes = {"cancelled": strings.stopped, "length": strings.cut_short}
        return " ".join(filter(None, (notes.get(self.outcome), strings.forgotten if self._forgot else None)))


def _text_of(sent: Any) -> str:
    """A browser may send anything."""
    return sent if isinstance(sent, str) else ""
