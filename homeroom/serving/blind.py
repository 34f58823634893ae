"""Blind pairs: now and then a question gets two answers, and the person who asked says which is better.

Two samples of the model that answers; while a candidate is on trial, one of each, and who stands on which side is drawn
and on record before a word is written. Showing them is the page's business (pages/pair.py), what a choice decides the
stages'.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from homeroom.inference.request import Sampling
from homeroom.serving.assistant import AssistantStopped, ContextTooLong, TooBusy, TooMany
from homeroom.serving.chat import Chat, Reply, Under
from homeroom.serving.prompts import ChatMessage
from homeroom.workspace import Pair, Pairs, Registry


@dataclass(frozen=True, eq=False)
class Two:
    """A pair as it is written. `ended` is done when both answers are stored, or failed."""

    pair: Pair
    left: Reply
    right: Reply
    question: str
    under: str | None
    ended: "asyncio.Task[None]" = field(repr=False)

    @property
    def conversation_id(self) -> str:
        return self.left.conversation_id

    def stop(self) -> None:
        self.left.stop()
        self.right.stop()


class Blind:
    """`share` of the questions get a pair, as far as there are slots free for it: nobody waits for a second answer."""

    def __init__(self, chat: Chat, pairs: Pairs, registry: Registry, share: float) -> None:
        self._chat, self.pairs, self._registry, self._share = chat, pairs, registry, share
        self._drawn = random.SystemRandom()  # sides must not be guessed
        self._writing: dict[str, Two] = {}

    def writing(self, conversation_id: str, user: str) -> Two | None:
        """The pair that is being written in this conversation, such as when its page was reloaded."""
        two = self._writing.get(conversation_id)
        return two if two is not None and two.pair.user == user else None

    async def begin(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        conversation_id: str | None,
        user: str,
        under: Under,
    ) -> Two | None:
        """A pair of answers to the last message. None: this question gets one answer."""
        assistant = self._chat.assistant
        if self._drawn.random() >= self._share or assistant.unfinished + 2 > assistant.slots:
            return None
        trial = await asyncio.to_thread(self._registry.trial)
        tried = None if trial is None else (trial.previous_id, trial.artifact_id)
        with_candidate = tried is not None and tried == (assistant.loaded_id, assistant.candidate_id)
        if not with_candidate and sampling.temperature == 0:
            return None  # the same answer twice
        try:
            replies = await self._chat.two_replies(
                messages,
                sampling,
                with_candidate=with_candidate,
                conversation_id=conversation_id,
                user=user,
                under=under,
            )
        except (AssistantStopped, ContextTooLong, TooBusy, TooMany):
            return None  # one answer may do, and says what is wrong if it does not
        number = trial.id if trial is not None and with_candidate else None
        self._drawn.shuffle(replies)
        left, right = replies
        try:
            pair = await asyncio.to_thread(
                self.pairs.show, left.question_id, left.id, right.id, trial=number, user=user
            )
        except BaseException:
            for reply in replies:
                reply.stop()
            raise
        ended = asyncio.create_task(self._end(left, right))
        two = Two(pair, left, right, messages[-1]["content"], under.message_id, ended)
        self._writing[two.conversation_id] = two

        def forget(_: object) -> None:
            if self._writing.get(two.conversation_id) is two:
                del self._writing[two.conversation_id]

        ended.add_done_callback(forget)
        return two

    async def _end(self, left: Reply, right: Reply) -> None:
        await asyncio.gather(left.finished(), right.finished(), return_exceptions=True)
