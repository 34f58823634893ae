"""One turn on the chat page: the question, in the words that are shown, and below it what was answered.

What can be done with an answer is answer.py's business. `answers` has one, or the two of a blind pair, side by side.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from homeroom.serving.blind import Two
from homeroom.serving.pages.answer import AnswerView, Desk
from homeroom.serving.pages.elements import button, element, set_attribute, set_class
from homeroom.serving.pages.history import OpenPair, Past
from homeroom.serving.pages.pair import PairBar
from homeroom.serving.pages.switcher import Switcher
from homeroom.workspace import Chosen

LONG, LONG_LINES = 200, 9  # characters, lines: on the narrowest phone, less than that does not fill a bubble
OPEN = "(event) => homeroom.editQuestion(event.currentTarget.closest('.turn'), true)"
CLOSE = "(event) => homeroom.editQuestion(event.currentTarget.closest('.turn'), false)"
SEND = "(event) => homeroom.sendQuestion(event.currentTarget.closest('.turn'), emit)"
KEYS = "(event) => homeroom.questionKeys(event, emit)"


@dataclass(frozen=True)
class Steps:
    """What the thread does for a turn."""

    regenerate: Callable[["Turn"], Awaitable[None]]
    ask_again: Callable[["Turn", Any], Awaitable[None]]  # with what the browser sent
    switch: Callable[[str], Awaitable[None]]  # to the message of this id
    choose: Callable[["Turn", Chosen], Awaitable[None]]


class Turn:
    """`under` is the stored message that the question follows; None: the conversation begins with it."""

    def __init__(self, question: str, under: str | None, desk: Desk, steps: Steps) -> None:
        self.question, self.under = question, under
        self.question_id: str | None = None  # once it is stored
        self.pair: OpenPair | None = None  # while the person may choose between its answers
        self.answers: list[AnswerView] = []
        self._desk, self._words, self._steps = desk, desk.words, steps
        self._build()

    @property
    def answer(self) -> AnswerView:
        """The one that later questions build upon."""
        return self.answers[0]

    @property
    def shows(self) -> tuple[str | None, bool]:
        """The answer that is built upon, and whether it is one of two to choose from."""
        return self.answer.message_id, self.pair is not None

    @property
    def messages(self) -> list[dict[str, str]]:
        """What later answers are to read of this turn. An answer that was not stored cannot be built upon."""
        if self.answer.message_id is None:
            return []
        return [{"role": "user", "content": self.question}, {"role": "assistant", "content": self.answer.text}]

    def restore(self, past: Past) -> None:
        """Show what was stored earlier."""
        self.question, self.question_id, self.under = past.question.text, past.question.id, past.question.parent_id
        self._show_question()
        self.versions.show(past.questions, past.question.id)
        self.bar.close()
        if past.pair is None:
            self.settle()
            self.answer.restore(past)
            return
        self.pair = past.pair
        self._set_sides()
        for view, message in zip(self.answers, (past.pair.left, past.pair.right), strict=True):
            view.restore(replace(past, answer=message, answers=(message.id,), better="", vote=0))
        self.bar.ask()

    def begin_pair(self) -> None:
        """Two empty answers, which will be written at once."""
        self._set_sides()
        for view in self.answers:
            view.begin()

    def grow(self, two: Two) -> None:
        """Show both as far as they are written."""
        for view, reply in zip(self.answers, (two.left, two.right), strict=True):
            if len(reply.text) > len(view.text):
                view.add(reply.text[len(view.text) :])

    def settle(self, stays: int = 0) -> None:
        """One answer stays, the left one if nothing was chosen."""
        self.pair = None
        kept = self.answers[stays if len(self.answers) > 1 else 0]
        for view in self.answers:
            if view is not kept:
                view.delete()
        self.answers = [kept]
        set_class(self._holder, "pair", False)
        self.answer.set_side("")
        self.bar.close()

    def _set_sides(self) -> None:
        if len(self.answers) == 1:
            self.answers.append(self._new_answer())
        set_class(self._holder, "pair", True)
        for view, side in zip(self.answers, "AB", strict=True):
            view.set_side(side)

    def number(self, past: Past) -> None:
        """It is stored now and has its place among the versions."""
        self.question_id = past.question.id
        self.versions.show(past.questions, past.question.id)
        self.answer.versions.show(past.answers, past.answer.id)

    def delete(self) -> None:
        self._article.delete()

    def _build(self) -> None:
        words, steps = self._words, self._steps
        with element("article", "turn", tabindex="-1") as self._article:
            with element("div", "question"):
                words.text(element("span", "visually-hidden"), lambda s: s.you)
                self._bubble = element("div", "bubble", dir="auto")
                self._show_question()
                self._build_form()
                with element("div", "question-actions"):
                    self.versions = Switcher(words, lambda s: s.question_versions, steps.switch)
                    edit = button("icon-button edit-question", "edit")
                    edit.on("click", js_handler=OPEN)
                    words.label(edit, lambda s: s.edit_question)
            self._holder = element("div", "answers")
            self.answers = [self._new_answer()]
            self.bar = PairBar(words, lambda chosen: steps.choose(self, chosen))

    def _new_answer(self) -> AnswerView:
        with self._holder:
            return AnswerView(self._desk, lambda: self._steps.regenerate(self), self._steps.switch)

    def _show_question(self) -> None:
        """A long one scrolls within its bubble, which the keyboard must then be able to reach."""
        may_scroll = len(self.question) > LONG or self.question.count("\n") > LONG_LINES
        self._bubble.set_text(self.question)
        set_attribute(self._bubble, "tabindex", "0" if may_scroll else False)

    def _build_form(self) -> None:
        words = self._words
        with element("form", "question-form", onsubmit="return false"):
            area = element("textarea", rows="1", dir="auto")
            area.on("keydown", self._ask_again, js_handler=KEYS)
            words.bind(area, lambda s: set_attribute(area, "aria-label", s.edited_question))
            with element("div", "better-buttons"):
                cancel = button("quiet-button")
                cancel.on("click", js_handler=CLOSE)
                words.text(cancel, lambda s: s.cancel)
                ask = button("solid-button ask-again")
                ask.on("click", self._ask_again, js_handler=SEND)
                words.text(ask, lambda s: s.ask_again)

    async def _ask_again(self, event: Any) -> None:
        await self._steps.ask_again(self, event.args)
