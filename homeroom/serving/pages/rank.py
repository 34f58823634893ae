"""The page Rank: an annotator's queue, as InstructGPT's labellers had it. One item after another is put in order.

Which item comes next is the business of workspace/queue.py, what is shown of it of rank_item.py. The order is made in
the browser (rank.js) and kept there until it is sent; here it is checked and stored.
"""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pydantic
from fastapi import Request
from nicegui import ui
from nicegui.events import GenericEventArguments

from homeroom.serving.agreement import Agree, Agreement, sentences
from homeroom.serving.feedback_api import RankingRequest, record_ranking
from homeroom.serving.pages import help, rank_item
from homeroom.serving.pages.elements import button, element, icon, set_attribute, set_class
from homeroom.serving.pages.frame import VIEWPORT, Frame
from homeroom.serving.pages.strings import Strings
from homeroom.settings import HomeroomError
from homeroom.workspace import Feedback, FeedbackError, Progress, Queue, Ranking, ShownItem
from homeroom.workspace.errors import NotRecorded

STYLES = ("theme", "answer", "dialogs", "rank")
SCRIPTS = ("chat", "rank")
LOOK_SECONDS = 2.0  # between two looks for an item where nothing waited
AGREEMENT_SECONDS = 10.0  # at the least, between two measurements
COMMAND = "homeroom feedback queue FILE.jsonl"
SEND = "() => homeroom.ranking.send(emit)"
SKIP = "() => homeroom.ranking.skip(emit)"


def mount(feedback: Feedback, queue: Queue, agree: Agree | None) -> None:
    """Put the page at /rank. `agree` measures how far the annotators agree."""

    async def page(request: Request) -> None:
        await RankPage(feedback, queue, agree, Frame(request)).build()

    ui.page("/rank", viewport=VIEWPORT)(page)


class RankPage:
    """Of one visit; which item it shows, and no more: everything else is in the browser or in the database."""

    def __init__(self, feedback: Feedback, queue: Queue, agree: Agree | None, frame: Frame) -> None:
        self._feedback, self._queue, self._agree, self._frame = feedback, queue, agree, frame
        self._words, self._user = frame.words, frame.user
        self._item: ShownItem | None = None
        self._progress, self._today = Progress(0, 0, 0), 0
        self._agreement: Agreement | None = None
        self._measured = float("-inf")
        self._said: Callable[[Strings], str] = lambda s: ""
        self._busy = False

    async def build(self) -> None:
        self._frame.build_head(STYLES, SCRIPTS)
        with element("div", "page rank-page"):
            self._build_top()
            with element("div", "rank-scroller", tabindex="-1"), element("div", "rank-column"):
                self._stage = element("div", "rank-stage", data_user=self._user)
                self._words.bind(self._stage, self._hand_words)
                with self._stage:
                    element("div", "rank-live visually-hidden", role="status")
                    self._holder = element("div", "rank-holder")
                self._build_agreement()
            self._build_foot()
            help.build(self._words, lambda s: s.rank.shortcuts)
        await self._show_next()
        ui.timer(LOOK_SECONDS, self._look)
        ui.timer(0.1, self._measure, once=True)

    def _build_top(self) -> None:
        words = self._words
        with element("header", "rank-top"):
            with element("a", "icon-button back", href="/") as back:
                icon("arrow_back")
            words.label(back, lambda s: s.to_chat)
            words.text(element("h1"), lambda s: s.rank.title)
            with element("p", "rank-progress", role="status") as self._done:
                self._counts = element("span")
            words.bind(self._done, self._name_progress)
            help.build_button(words)
            self._frame.build_controls()

    def _build_agreement(self) -> None:
        words = self._words
        with element("section", "rank-agreement hidden", aria_labelledby="rank-agreement") as self._agreement_part:
            words.text(element("h2", id="rank-agreement"), lambda s: s.rank.agreement)
            self._sentences = element("div")
            words.bind(self._sentences, self._say_agreement)
            words.text(element("p", "rank-hint"), lambda s: s.rank.agreement_hint)

    def _build_foot(self) -> None:
        words = self._words
        with element("footer", "rank-foot"), element("div", "rank-foot-row"):
            undo = button("icon-button rank-undo", "undo", self._undo)
            words.label(undo, lambda s: s.rank.undo)
            with element("div", "rank-notes"):
                element("p", "rank-told", role="alert")
                note = element("p", "rank-note", role="status")
                words.bind(note, lambda s: note.set_text(self._said(s)))
                self._note = note
            self._skip = button("quiet-button rank-skip")
            self._skip.on("click", self._send, js_handler=SKIP)
            words.text(self._skip, lambda s: s.rank.skip)
            self._submit = button("solid-button rank-send")
            self._submit.on("click", self._send, js_handler=SEND)
            words.text(self._submit, lambda s: s.rank.send)

    async def _send(self, event: GenericEventArguments) -> None:
        """What the browser sent of the item: an order, or that it is skipped."""
        item = self._item
        if self._busy or item is None:
            return
        self._busy = True
        try:
            body = read(event.args, item)
            if body is None:
                return
            await asyncio.to_thread(record_ranking, self._feedback, body, self._user)
            is_ranked = body.state == "ranked"
            self._tell(lambda s: s.rank.counted if is_ranked else s.rank.skipped)
            await self._show_next(item.id if is_ranked else "")
        except HomeroomError as error:
            self._tell_not_saved(str(error))
        finally:
            self._busy = False
        await self._measure()

    async def _undo(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            await asyncio.to_thread(self._queue.undo, self._user)
            self._tell(lambda s: s.rank.undone)
            await self._show_next()
        except NotRecorded:
            self._tell(lambda s: s.rank.nothing_to_undo)
        except HomeroomError as error:
            self._tell_not_saved(str(error))
        finally:
            self._busy = False

    async def _look(self) -> None:
        """Where nothing waited, something may by now."""
        if self._item is None and not self._busy:
            progress = await asyncio.to_thread(self._queue.progress, self._user)
            if progress.waiting and self._item is None and not self._busy:
                self._tell(lambda s: "")
                await self._show_next()

    async def _show_next(self, counted: str = "") -> None:
        """`counted`: the item of which an order is in the database by now, so that the browser need not keep it."""
        item, said = await asyncio.to_thread(self._read)
        self._item = item
        self._holder.clear()
        with self._holder:
            if item is not None:
                rank_item.build(self._words, item, said)
            else:
                self._build_nothing()
        set_attribute(self._stage, "data-counted", counted)
        for only_with_item in (self._skip, self._submit):
            set_class(only_with_item, "hidden", item is None)
        self._name_progress(self._words.strings)

    def _read(self) -> tuple[ShownItem | None, Ranking | None]:
        item = self._queue.next(self._user)
        self._progress = self._queue.progress(self._user)
        self._today = self._queue.ranked_since(self._user, _midnight())
        return item, None if item is None else self._queue.taken_back(item.question_id, self._user)

    def _build_nothing(self) -> None:
        words = self._words
        with element("section", "rank-nothing"):
            element("div", "mark large", aria_hidden="true")
            words.text(element("h2"), lambda s: s.rank.nothing_waits)
            words.text(element("p"), lambda s: s.rank.nothing_waits_hint)
            element("code", text=COMMAND)

    async def _measure(self) -> None:
        if self._agree is None or time.monotonic() - self._measured < AGREEMENT_SECONDS:
            return
        self._measured = time.monotonic()
        self._agreement = await asyncio.to_thread(self._agree, self._user)
        self._say_agreement(self._words.strings)
        set_class(self._agreement_part, "hidden", False)

    def _say_agreement(self, strings: Strings) -> None:
        self._sentences.clear()
        if self._agreement is not None:
            with self._sentences:
                for sentence in sentences(self._agreement, strings):
                    element("p", text=sentence)

    def _name_progress(self, strings: Strings) -> None:
        rank, done = strings.rank, self._progress
        today, waiting = rank.today.format(count=self._today), rank.waiting.format(count=done.waiting)
        self._counts.set_text(f"{today} · {waiting}")
        set_attribute(self._done, "title", rank.in_all.format(ranked=done.ranked, skipped=done.skipped))

    def _hand_words(self, strings: Strings) -> None:
        rank = strings.rank
        said = {"place": rank.place, "placeTied": rank.place_tied, "untouched": rank.untouched}
        set_attribute(self._stage, "data-words", json.dumps(said))

    def _tell(self, say: Callable[[Strings], str]) -> None:
        self._said = say
        self._note.set_text(say(self._words.strings))

    def _tell_not_saved(self, reason: str) -> None:
        self._tell(lambda s: s.not_saved.format(reason=reason))


def read(arguments: object, item: ShownItem) -> RankingRequest | None:
    """What a browser sent of this item; None: it is of another, as the second of two clicks. Anybody can send anything,
    so it is refused with FeedbackError unless it is a skip, or an order of all answers."""
    try:
        body = RankingRequest.model_validate(arguments)
    except pydantic.ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        raise FeedbackError(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from error
    if body.question_id != item.question_id:
        return None
    if body.state == "withdrawn" or body.user is not None:
        raise FeedbackError("an item is ranked or skipped, by oneself")
    ranked = sorted(answer for tier in body.tiers for answer in tier)
    if body.state == "ranked" and ranked != sorted(answer.id for answer in item.answers):
        raise FeedbackError("an order holds each answer of the item once")
    return body


def _midnight() -> str:
    """When this day began, where the server is."""
    today = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    return today.astimezone(UTC).isoformat()
