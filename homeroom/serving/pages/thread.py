"""The thread of the chat page: its turns, and everything that makes one or shows another branch of the conversation.

What surrounds it (the box, the side, the address) hears of it through `Surroundings`; what is shown of a turn is
turn.py's business.
"""

import asyncio
from typing import Any, Protocol

from nicegui import ui

from homeroom.inference.request import Sampling
from homeroom.serving.assistant import ContextTooLong
from homeroom.serving.blind import Two
from homeroom.serving.chat import Chat, Reply, Stopping, Under
from homeroom.serving.pages.answer import DRAW_SECONDS, Desk
from homeroom.serving.pages.elements import element, set_attribute
from homeroom.serving.pages.history import Past, past
from homeroom.serving.pages.switcher import UNSTORED
from homeroom.serving.pages.turn import Steps, Turn
from homeroom.settings import HomeroomError
from homeroom.workspace import Chosen

LONGEST_MESSAGE = 100_000  # characters; the page's connection carries no more than a megabyte at once


class Surroundings(Protocol):
    def sampling(self) -> Sampling: ...

    def consents(self) -> bool:
        """Whether a conversation that begins may be learned from."""

    async def model(self) -> str | None:
        """Another one than the champion that is to answer, loaded. Raises HomeroomError where that cannot be."""

    def busy(self, busy: bool) -> None: ...

    def too_long(self, length: int) -> None: ...

    async def began(self, conversation_id: str, consents: bool) -> None:
        """The question is stored, in this conversation, which began with that consent if it did; nothing of the answer
        yet."""

    async def arrived(self, conversation_id: str) -> None:
        """The conversation is stored under this id."""

    def changed(self) -> None:
        """Turns came or went."""

    def chosen(self) -> None:
        """One of two answers was."""


class Thread:
    def __init__(self, chat: Chat, desk: Desk, around: Surroundings) -> None:
        self._chat, self._desk, self._around = chat, desk, around
        self.turns: list[Turn] = []
        self.conversation_id: str | None = None
        self._reply: Reply | Two | None = None  # what is being written
        self._busy = False
        self._client = ui.context.client
        self._steps = Steps(self._regenerate, self._ask_again, self._switch, self._choose)
        self._element = element("div", "thread", role="log")
        desk.words.bind(self._element, lambda s: set_attribute(self._element, "aria-label", s.thread))

    async def open(self, conversation_id: str) -> None:
        """Show its newest branch. One that there is not, or that is another's, is shown as a new one."""
        branch = await asyncio.to_thread(self._read, conversation_id)
        if branch is not None:
            self.conversation_id = conversation_id
            self._show(branch)
            two = self._desk.blind.writing(conversation_id, self._desk.user)
            if two is not None:
                self._resume(two)

    async def sent(self, arguments: object) -> None:
        """What the browser sent from the box."""
        question = self._admitted(arguments)
        if question is not None:
            ui.run_javascript("homeroom.clear()")
            await self.ask(question)

    async def ask(self, question: str) -> None:
        if not self._busy:
            if self.turns and self.turns[-1].pair is not None:
                self.turns[-1].settle()  # who goes on without a choice keeps the left answer
            stored = [turn.answer.message_id for turn in self.turns if turn.answer.message_id is not None]
            turn = self._add_turn(_storable(question), stored[-1] if stored else self._beginning())
            await self._answer(turn)

    def stop(self) -> None:
        if self._reply is not None:
            self._reply.stop()

    def left(self) -> None:
        """Nobody reads what is being written. A pair goes on, for whoever left may only have loaded the page again."""
        if isinstance(self._reply, Reply):
            self._reply.stop()

    async def _ask_again(self, turn: Turn, arguments: object) -> None:
        """The question in other words: the conversation forks here, and what followed the old one stays with it."""
        question = self._admitted(arguments)
        if question is None or turn not in self.turns:
            return
        question = _storable(question)
        if turn.question_id is not None and question == turn.question:
            await self._regenerate(turn)
            return
        versions = turn.versions.ids
        self._cut(self.turns.index(turn))
        asked = self._add_turn(question, turn.under)
        if any(id != UNSTORED for id in versions):
            asked.versions.show([*(id for id in versions if id != UNSTORED), UNSTORED], UNSTORED)
        await self._answer(asked)

    async def _regenerate(self, turn: Turn) -> None:
        if not self._busy and turn in self.turns:
            self._cut(self.turns.index(turn) + 1)
            turn.settle()
            await self._answer(turn, again=True)

    async def _switch(self, message_id: str) -> None:
        if self._busy or self.conversation_id is None or message_id == UNSTORED:
            return
        branch = await asyncio.to_thread(self._read, self.conversation_id, message_id)
        if branch and not self._busy:
            self._show(branch)

    def _beginning(self) -> str | None:
        """What first questions follow: nothing, or what a program said to the model before."""
        return self.turns[0].under if self.turns else None

    def _read(self, conversation_id: str, through: str | None = None) -> list[Past] | None:
        branch = past(self._desk.feedback, self._desk.user, conversation_id, through, self._desk.blind.pairs)
        for each in branch or ():
            if each.answer.model_id:
                self._desk.names(each.answer.model_id)  # from now on it is known without reading
        return branch

    def _show(self, branch: list[Past]) -> None:
        """Turns that stay are kept, so that the keyboard keeps its place."""
        self._cut(len(branch))
        for index, each in enumerate(branch):
            if index == len(self.turns):
                self._add_turn(each.question.text, each.question.parent_id).restore(each)
            elif self.turns[index].shows != (each.answer.id, each.pair is not None):
                self.turns[index].restore(each)
            else:
                self.turns[index].number(each)
        self._around.changed()

    def _cut(self, count: int) -> None:
        for turn in self.turns[count:]:
            turn.delete()
        del self.turns[count:]

    def _add_turn(self, question: str, under: str | None) -> Turn:
        with self._element:
            turn = Turn(question, under, self._desk, self._steps)
        self.turns.append(turn)
        self._around.changed()
        return turn

    async def _answer(self, turn: Turn, *, again: bool = False) -> None:
        """It is the last turn. Only its first answers may come as a pair."""
        # What was pressed may be in a turn that is gone by now, where NiceGUI would run nothing for the page.
        with self._element:
            await self._write(turn, again=again)

    async def _write(self, turn: Turn, *, again: bool) -> None:
        answer, arrived = turn.answer, False
        self._set_busy(True)
        answer.begin()
        ui.run_javascript("homeroom.toEnd()")
        messages = [message for earlier in self.turns[:-1] for message in earlier.messages]
        asked = [*messages, {"role": "user", "content": turn.question}], self._around.sampling()
        place: dict[str, Any] = {"conversation_id": self.conversation_id, "user": self._desk.user}
        place["under"] = under = Under(turn.under, self._around.consents())
        try:
            by = await self._around.model()
            two = None if again or by else await self._desk.blind.begin(*asked, **place)
            if two is not None:
                await self._write_pair(turn, two, under.consent)
                return
            self._reply = await self._chat.reply(*asked, forget_oldest=True, by=by, **place)
            if self._client.is_deleted:
                self._reply.stop()
            await self._around.began(self._reply.conversation_id, under.consent)
            async for text in self._reply:
                answer.add(text)
            branch = await asyncio.to_thread(self._read_to, self._reply)
            answer.end(self._reply)
            self._number(branch)
            arrived = self.conversation_id != self._reply.conversation_id
            self.conversation_id = self._reply.conversation_id
        except ContextTooLong as error:
            strings = self._desk.words.strings
            answer.fail(strings.too_many_tokens.format(tokens=f"{error.prompt_tokens:,}", limit=error.max_length))
        except Stopping:
            answer.fail(self._desk.words.strings.stopping)
        except HomeroomError as error:
            answer.fail(str(error))
        except Exception:
            answer.fail("500")
            raise
        finally:
            self._reply = None
            self._set_busy(False)
        if arrived and self.conversation_id is not None:
            await self._around.arrived(self.conversation_id)

    async def _write_pair(self, turn: Turn, two: Two, consents: bool) -> None:
        """Show both as they grow. At once under its own address, so that a page that is loaded again finds them."""
        self._reply = two
        turn.begin_pair()
        await self._around.began(two.conversation_id, consents)
        if self.conversation_id != two.conversation_id:
            self.conversation_id = two.conversation_id
            await self._around.arrived(two.conversation_id)
        while not two.ended.done() and not self._client.is_deleted:
            turn.grow(two)
            await asyncio.wait({two.ended}, timeout=DRAW_SECONDS)
        if self._client.is_deleted:
            return
        stored = [reply for reply in (two.left, two.right) if reply.stored]
        if not stored:
            turn.settle()
            await two.left.finished()  # raises what it failed with
            turn.answer.end(two.left)
            return
        branch = await asyncio.to_thread(self._read, two.conversation_id, stored[0].id)
        if branch:
            turn.restore(branch[-1])
            self._number(branch)

    def _resume(self, two: Two) -> None:
        """Go on showing a pair that was begun on a page that is gone."""
        above = [turn.answer.message_id for turn in self.turns]
        self._cut(above.index(two.under) + 1 if two.under is not None and two.under in above else 0)
        turn = self._add_turn(two.question, two.under)

        async def resume() -> None:
            self._set_busy(True)
            try:
                await self._write_pair(turn, two, self._around.consents())
            except HomeroomError as error:
                turn.answer.fail(str(error))
            finally:
                self._reply = None
                self._set_busy(False)

        with self._element:
            ui.timer(0, resume, once=True)

    async def _choose(self, turn: Turn, chosen: Chosen) -> None:
        pair = turn.pair
        if self._busy or pair is None or turn not in self.turns or self.conversation_id is None:
            return
        self._busy = True  # a question must wait: what it follows is being chosen
        turn.bar.busy(True)
        stays = 1 if chosen == "right" else 0
        try:
            await asyncio.to_thread(self._desk.blind.pairs.choose, pair.pair.id, chosen, user=self._desk.user)
            models = list(dict.fromkeys(one.model_id or "" for one in (pair.left, pair.right)))
            names = {model: await asyncio.to_thread(self._desk.names, model) for model in models}
            stored = (pair.left, pair.right)[stays].id
            branch = await asyncio.to_thread(self._read, self.conversation_id, stored)
        except HomeroomError as error:
            turn.bar.fail(str(error))
            return
        finally:
            self._busy = False
            turn.bar.busy(False)
        turn.settle(stays)
        turn.bar.close(names)
        if branch:
            turn.answer.restore(branch[-1])
            self._number(branch)
        self._around.chosen()

    def _read_to(self, reply: Reply) -> list[Past]:
        self._desk.names(reply.model_id)
        return (self._read(reply.conversation_id, reply.id) or []) if reply.stored else []

    def _number(self, branch: list[Past]) -> None:
        """The answer is stored now, and has its place among its versions."""
        stored = {each.answer.id: each for each in branch}
        for turn in self.turns:
            if turn.answer.message_id in stored:
                turn.number(stored[turn.answer.message_id])

    def _set_busy(self, busy: bool) -> None:
        self._busy = busy
        self._around.busy(busy)

    def _admitted(self, arguments: object) -> str | None:
        """The question that the browser sent, if it can be asked now."""
        text, length = sent(arguments)
        if length > LONGEST_MESSAGE:
            self._around.too_long(length)
            return None
        return text.strip() if text.strip() and not self._busy else None


def sent(arguments: Any) -> tuple[str, int]:
    """From a box: {"text", "length"}; of a text that is too long only its length. Anybody can send anything."""
    given = arguments if isinstance(arguments, dict) else {}
    text, length = given.get("text"), given.get("length")
    text = text if isinstance(text, str) else ""
    return text, max(len(text), length if isinstance(length, int) else 0)


def _storable(text: str) -> str:
    """What the workspace will give back: half a surrogate pair and NUL are no text to databases."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
