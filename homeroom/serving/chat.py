"""One turn of a conversation: the question is stored, the answer is written, and stored before its end is announced.

Used by the API, the chat page and the terminal alike, so that a vote can name any answer that anybody has seen.
Votes themselves are between their callers and the workspace.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from homeroom.inference.request import FinishReason, Sampling, TokenScore, draws
from homeroom.serving.answers import Answer, Order, Piece
from homeroom.serving.assistant import Assistant, TooBusy
from homeroom.serving.forms import Form
from homeroom.serving.limits import Pace
from homeroom.serving.prompts import ChatMessage
from homeroom.settings import HomeroomError, Json
from homeroom.workspace import Feedback
from homeroom.workspace.feedback import Role


class Stopping(HomeroomError):
    """The server ends: what runs is finished, what is new is refused."""

    def __init__(self, retry_after: float = 1) -> None:
        self.retry_after = retry_after
        super().__init__("The server is stopping and takes nothing new. Try again when it is back.")


@dataclass(frozen=True)
class Under:
    """The place of a question in its conversation: under this message. None: at its beginning, maybe once more.

    `consent` says whether a conversation that begins with it may be learned from."""

    message_id: str | None
    consent: bool = True


class Reply:
    """An answer with the place it has in its conversation. Iterate for its text; `stop` frees the slot."""

    def __init__(self, answer: Answer, conversation_id: str, question_id: str, began: float) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"  # the stored message's id as well
        self.conversation_id, self.question_id = conversation_id, question_id
        self.model_id, self.prompt_tokens = answer.model_id, answer.prompt_tokens
        self.created = int(time.time())
        self.text = ""
        self.tokens: list[TokenScore] = []
        self.finish_reason: FinishReason | None = None
        # Seconds from the question to the first text, unless the answer comes whole, and to the end.
        self.first_seconds: float | None = None
        self.seconds = 0.0
        self._began = began
        self.stored = False
        self.forgot = False  # the conversation had outgrown the context, so its first turns were not read
        self.stop = answer.cancel
        self._arrived: asyncio.Queue[str | Exception | None] = asyncio.Queue()

    def __aiter__(self) -> "Reply":
        return self

    async def __anext__(self) -> str:
        arrived = await self._arrived.get()
        if arrived is None or isinstance(arrived, Exception):
            self._arrived.put_nowait(arrived)  # whoever asks again gets the same
            raise StopAsyncIteration if arrived is None else arrived
        return arrived

    def _grew(self, piece: Piece, whole: bool) -> None:
        self.seconds = time.monotonic() - self._began
        if self.first_seconds is None and not whole and piece.text:
            self.first_seconds = self.seconds
        self.text += piece.text
        self.tokens += piece.tokens
        self.finish_reason = piece.finish_reason

    async def finished(self) -> "Reply":
        async for _ in self:
            pass
        return self


class Chat:
    """`ended` is told of every answer, also of one that failed, which has no finish reason."""

    def __init__(
        self, assistant: Assistant, feedback: Feedback, ended: Callable[[Reply], None] = lambda reply: None
    ) -> None:
        self.assistant, self.feedback = assistant, feedback
        self._ended, self._pace, self._stopping = ended, Pace(), False
        self._writing: dict[asyncio.Task[None], Reply] = {}

    @property
    def writing(self) -> int:
        """Answers that are not stored yet."""
        return len(self._writing)

    def take_no_more(self) -> None:
        """The next question is refused with Stopping; what was begun goes on."""
        self._stopping = True

    def refuse_when_stopping(self) -> None:
        """Raises Stopping."""
        if self._stopping:
            raise Stopping

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        stop: Sequence[str] = (),
        top: int = 0,
        form: Form | None = None,
        conversation_id: str | None = None,
        user: str = "local",
        forget_oldest: bool = False,
        under: Under | None = None,
        by: str | None = None,
    ) -> Reply:
        """Begin to answer the last message. With `forget_oldest` a conversation may outgrow the context.

        `by` names another model than the one that answers, which was loaded for who chose it.

        Where the question stands in its conversation is found by the messages, unless it is said with `under`.

        Raises what Assistant.begin raises; nothing is stored then.
        """
        read = await self.assistant.newest_that_fit(messages, by=by) if forget_oldest else messages
        order = Order(stop=stop, top=top, form=form)
        (reply,) = await self._begin(messages, read, [sampling], order, conversation_id, user, under, by=by)
        return reply

    async def replies(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        count: int,
        *,
        whole: bool = True,
        stop: Sequence[str] = (),
        top: int = 0,
        form: Form | None = None,
        conversation_id: str | None = None,
        user: str = "local",
    ) -> list[Reply]:
        """Several answers to the last message; with a seed, the next one has the next seed. Raises as `reply`."""
        order = Order(stop=stop, whole=whole, top=top, form=form)
        return await self._begin(messages, messages, draws(sampling, count), order, conversation_id, user)

    async def two_replies(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        with_candidate: bool,
        conversation_id: str | None,
        user: str,
        under: Under,
    ) -> list[Reply]:
        """Two answers to the last message: samples of the model that answers, or one of it and one of the candidate.

        Raises as `reply`; a conversation may outgrow the context.
        """
        read = await self.assistant.newest_that_fit(messages)
        both = (sampling, sampling) if with_candidate else draws(sampling, 2)
        place = conversation_id, user, under
        return await self._begin(messages, read, both, Order(), *place, with_candidate=with_candidate)

    async def _begin(
        self,
        messages: Sequence[ChatMessage],
        read: Sequence[ChatMessage],
        samplings: Sequence[Sampling],
        order: Order,
        conversation_id: str | None,
        user: str,
        under: Under | None = None,
        *,
        with_candidate: bool = False,
        by: str | None = None,
    ) -> list[Reply]:
        self.refuse_when_stopping()
        began = time.monotonic()
        begin = self.assistant.begin_both if with_candidate else partial(self.assistant.begin_all, by=by)
        try:
            answers = await begin(read, samplings, order)
        except TooBusy as error:
            error.retry_after = self._pace.until_room(self.assistant.unfinished, self.assistant.slots)
            raise
        try:
            # The template has accepted the roles.
            said = [(cast(Role, message["role"]), message["content"]) for message in messages]
            store = (
                partial(self.feedback.extend, conversation_id, user, said)
                if under is None
                else partial(
                    self.feedback.ask, conversation_id, user, said[-1][1], under.message_id, consent=under.consent
                )
            )
            place = await asyncio.to_thread(store)
        except BaseException:
            for answer in answers:
                answer.cancel()
            raise
        replies = []
        for answer, sampling in zip(answers, samplings, strict=True):
            reply = Reply(answer, *place, began)
            reply.forgot = len(read) < len(messages)
            used = sampling.model_dump(mode="json") | {"stop": list(order.stop), "messages_read": len(read)}
            # A task of its own: a client that leaves cancels the request's, and what was written is stored even then.
            task = asyncio.create_task(self._write(reply, answer, used, order.whole))
            self._writing[task] = reply
            task.add_done_callback(self._writing.pop)
            replies.append(reply)
        return replies

    async def drain(self) -> None:
        """Wait until everything begun is stored."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _write(self, reply: Reply, answer: Answer, sampling: dict[str, Json], whole: bool) -> None:
        try:
            async for piece in answer:
                reply._grew(piece, whole)
                if piece.text:
                    reply._arrived.put_nowait(piece.text)
            if reply.text or reply.finish_reason != "cancelled":
                await asyncio.to_thread(self._store_answer, reply, sampling)
                reply.stored = True
            reply._arrived.put_nowait(None)
        except Exception as error:
            reply._arrived.put_nowait(error)
        if reply.finish_reason is not None:
            self._pace.ended(reply.seconds)
        self._ended(reply)

    def _store_answer(self, reply: Reply, sampling: dict[str, Json]) -> None:
        self.feedback.add_message(
            reply.conversation_id,
            "assistant",
            reply.text,
            id=reply.id,
            parent_id=reply.question_id,
            model_id=reply.model_id,
            sampling=sampling,
            token_ids=[token.token_id for token in reply.tokens],
            finish_reason=reply.finish_reason,
        )
