"""One answer on the chat page, as it grows, and what a person can do with it. A turn holds one, or several to compare.

Keeps what is shown and sends votes to the workspace; generating is the page's business (thread.py).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from homeroom.serving.blind import Blind
from homeroom.serving.chat import Reply
from homeroom.serving.pages.elements import Blocks, Words, button, element, set_attribute, set_class
from homeroom.serving.pages.history import Past
from homeroom.serving.pages.markdown import blocks
from homeroom.serving.pages.strings import Strings, model_shown
from homeroom.serving.pages.switcher import Switcher
from homeroom.settings import HomeroomError
from homeroom.workspace import Feedback, ModelNames

Outcome = Literal["writing", "stop", "length", "cancelled", "failed"]
DRAW_SECONDS = 0.1
COPY = "(event) => homeroom.copy(event.currentTarget)"
SAVE = "(event) => emit(event.currentTarget.closest('form').querySelector('textarea').value)"


@dataclass(frozen=True)
class Desk:
    """What every answer of a page needs. `names` has read the names of the models that are shown."""

    words: Words
    feedback: Feedback
    user: str
    names: ModelNames
    blind: Blind


class AnswerView:
    """`regenerate` is called when the person asks for another answer, `switch` for one that was given before."""

    def __init__(
        self, desk: Desk, regenerate: Callable[[], Awaitable[None]], switch: Callable[[str], Awaitable[None]]
    ) -> None:
        self.text = ""
        self.message_id: str | None = None  # once the answer is stored
        self.model_id = ""
        self.outcome: Outcome = "writing"
        self._reason, self._forgot = "", False
        self._vote: Literal[1, -1, 0] = 0
        self._saving = False
        self._drawn, self._draw_after, self._later = "", 0.0, False
        self._side = ""
        self._desk, self._words = desk, desk.words
        self._build(regenerate, switch)

    def begin(self) -> None:
        """Empty, and waiting for the first piece of a new answer. What stood here stays within reach."""
        if self.message_id is not None:
            self.versions.add_unstored()
        self.text, self.message_id, self.outcome = "", None, "writing"
        self._vote, self._reason, self._forgot = 0, "", False
        self._better_text.set_text("")
        set_class(self._better_form, "hidden", True)
        self._draw()
        self._refresh()

    def add(self, text: str) -> None:
        if not self.text:
            set_class(self._answer, "waiting", False)
        self.text += text
        if not self._later:
            wait = self._draw_after - time.monotonic()
            if wait <= 0:
                self._draw()
            else:
                self._later = True
                asyncio.get_running_loop().call_later(wait, self._draw_later)

    def end(self, reply: Reply) -> None:
        self.outcome = reply.finish_reason or "stop"
        self.message_id = reply.id if reply.stored else None
        self.model_id, self._forgot = reply.model_id, reply.forgot
        self._draw()
        self._refresh()

    def set_side(self, side: str) -> None:
        """One of a pair, "A" or "B", by a model that is not named; "": an answer by itself."""
        self._side = side
        self._draw_side(self._words.strings)
        self._refresh()

    def delete(self) -> None:
        self._answer.delete()

    def fail(self, reason: str) -> None:
        self.outcome, self._reason = "failed", reason
        self._draw()
        self._refresh()

    def restore(self, past: Past) -> None:
        """Show what was stored earlier."""
        answer, self._vote = past.answer, past.vote
        self.message_id, self.text, self.model_id = answer.id, answer.text, answer.model_id or ""
        self._reason, self._forgot = "", False
        self._better_text.set_text(past.better)
        set_class(self._better_form, "hidden", True)
        endings: dict[str | None, Outcome] = {"cancelled": "cancelled", "length": "length"}
        self.outcome = endings.get(answer.finish_reason, "stop")
        self.versions.show(past.answers, answer.id)
        self._draw()
        self._refresh()

    async def vote(self, value: Literal[1, -1]) -> None:
        if self._saving or self.message_id is None or self._vote == value:
            return
        if await self._save(self._desk.feedback.vote, value):
            self._vote = value
            set_class(self._better_form, "hidden", value == 1)
        self._refresh()

    async def edit(self, text: str) -> None:
        if self._saving or self.message_id is None or not text.strip() or text.strip() == self.text.strip():
            return
        if await self._save(self._desk.feedback.edit, text.strip()):
            self._better_text.set_text(text.strip())
            set_class(self._better_form, "hidden", True)
        self._refresh()

    async def _save(self, record: Callable[..., object], value: object) -> bool:
        """True once it is in the database; only then may the page say that it counts."""
        of, self._saving, self._reason = self.message_id, True, ""
        self._refresh()
        try:
            await asyncio.to_thread(record, of, value, user=self._desk.user)
        except HomeroomError as error:
            self._reason = str(error)
            return False
        finally:
            self._saving = False
        return self.message_id == of  # meanwhile another version may be shown

    def _draw_later(self) -> None:
        self._later = False
        if self._drawn != self.text and not self._answer.is_deleted:
            self._draw()

    def _draw(self) -> None:
        """The Markdown as far as it was written. Long ones are drawn less often: a tenth of the time goes to it."""
        began = time.monotonic()
        self._drawn = self.text
        self._blocks.show(blocks(self.text, self._words.strings))
        self._draw_after = time.monotonic() + max(DRAW_SECONDS, 9 * (time.monotonic() - began))

    def _build(self, regenerate: Callable[[], Awaitable[None]], switch: Callable[[str], Awaitable[None]]) -> None:
        words = self._words
        with element("div", "answer waiting") as self._answer:
            words.text(element("span", "visually-hidden"), lambda s: s.assistant)
            self._label = element("p", "side")
            words.bind(self._label, self._draw_side)
            with element("div", "dots", role="img") as dots:
                words.label(dots, lambda s: s.thinking)
                for _ in range(3):
                    element("span")
            text = element("div", "answer-text", dir="auto")
            self._blocks = Blocks(text)
            words.bind(text, lambda s: self._draw())  # blocks of code say "copy"
            self._note = element("p", "note")
            words.bind(self._note, lambda strings: self._note.set_text(self._note_in(strings)))
            with element("div", "actions") as self._actions:
                self.versions = Switcher(words, lambda s: s.answer_versions, switch)
                self._build_actions(regenerate)
            self._build_better()

    def _build_actions(self, regenerate: Callable[[], Awaitable[None]]) -> None:
        words = self._words
        self._copy = copy = button("icon-button copy", "content_copy")
        copy.on("click", js_handler=COPY)
        words.bind(copy, lambda s: set_attribute(copy, "data-done", s.copied))
        words.bind(copy, lambda s: set_attribute(copy, "data-failed", s.not_copied))
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
        set_class(self._answer, "waiting", writing and not self.text)
        set_class(self._answer, "writing", writing)
        set_attribute(self._answer, "aria-busy", "true" if writing else "false")
        set_class(self._actions, "hidden", writing)
        set_class(self._actions, "not-stored", self.message_id is None)
        set_attribute(self._copy, "data-text", "" if writing else self.text)
        for thumb, value in ((self._up, 1), (self._down, -1)):
            set_attribute(thumb, "aria-pressed", "true" if self._vote == value else "false")
            # Not `disabled`: that would take the keyboard's place away.
            set_attribute(thumb, "aria-disabled", "true" if self._saving else "false")
        self._counted.set_text(strings.counted if self._vote else "")
        self._name_model(strings)
        self._note.set_text(self._note_in(strings))

    def _draw_side(self, strings: Strings) -> None:
        self._label.set_text(strings.pair.answer.format(side=self._side) if self._side else "")

    def _name_model(self, strings: Strings) -> None:
        known = bool(self.model_id) and not self._side  # what the page holds, a browser can show
        self._model.set_text(model_shown(self._desk.names(self.model_id), strings) if known else "")
        set_attribute(self._model, "title", known and strings.answered_by.format(model=self.model_id))

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
