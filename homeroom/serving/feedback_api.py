"""Votes, better answers, rankings and comparisons by message id, what is to be ranked next, and the end of all that one
said, for any program.

Every judgement may carry an `id` of its own making; sent again after a lost reply, it counts once. A reply means that
the row is in the database. Votes on several answers can be sent together: they are recorded all or not at all.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

import pydantic
from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BeforeValidator, Field

from homeroom.serving import schemas
from homeroom.serving.access import oneself, recorded_as
from homeroom.serving.errors import ApiError
from homeroom.serving.forms import Strict
from homeroom.serving.openai_api import API_USER
from homeroom.serving.requests import RecordId, UserName, plain_text, unicode_text
from homeroom.workspace.deletion import Forgotten
from homeroom.workspace.errors import NotRecorded
from homeroom.workspace.feedback import Feedback
from homeroom.workspace.queue import Queue
from homeroom.workspace.rankings import Choice, Flag, Kind, Ranking, State

MOST_VOTES = 1000
MOST_RANKED = 64  # answers in one ranking


def _number(value: object) -> object:
    if isinstance(value, bool):  # Python holds True to be 1
        raise ValueError("Input should be 1, 0 or -1")
    return value


class OneVote(Strict):
    message_id: RecordId
    value: Annotated[Literal[1, 0, -1], BeforeValidator(_number)]  # 0 withdraws
    id: RecordId | None = None


class VoteRequest(OneVote):
    user: UserName | None = None  # the account's or the key's name, or "api"


class VotesRequest(Strict):
    votes: Annotated[list[OneVote], Field(min_length=1, max_length=MOST_VOTES)]
    user: UserName | None = None


Written = Annotated[str, BeforeValidator(plain_text), AfterValidator(unicode_text), Field(pattern=r"\S")]


class EditRequest(Strict):
    message_id: RecordId
    text: Written
    id: RecordId | None = None
    user: UserName | None = None


class RankingRequest(Strict):
    """`tiers` are answers' ids, best first, ties in one tier; a question that is skipped or taken back has none."""

    question_id: RecordId
    state: State = "ranked"
    tiers: Annotated[
        list[Annotated[list[RecordId], Field(min_length=1, max_length=MOST_RANKED)]],
        Field(max_length=MOST_RANKED, default_factory=list),
    ]
    flags: Annotated[dict[RecordId, list[Flag]], Field(max_length=MOST_RANKED, default_factory=dict)]
    ideal_answer: Written | None = None
    id: RecordId | None = None
    user: UserName | None = None

    @pydantic.model_validator(mode="after")
    def _nothing_is_said_of_what_is_not_ranked(self) -> "RankingRequest":
        if self.state != "ranked" and (self.tiers or self.flags or self.ideal_answer):
            raise ValueError(f"what is {self.state} has no tiers, flags or ideal_answer")
        return self


class ComparisonRequest(Strict):
    """What was shown on the left and on the right, and which side was chosen."""

    left_id: RecordId
    right_id: RecordId
    choice: Choice
    kind: Kind = "samples"
    id: RecordId | None = None
    user: UserName | None = None


class ConsentRequest(Strict):
    """Whether a conversation may be learned from, from now on."""

    conversation_id: RecordId
    consent: bool
    user: UserName | None = None  # whose conversation it is


def router(feedback: Feedback, queue: Queue, forget: Callable[[str], Forgotten]) -> APIRouter:
    """`forget` deletes all that a person said."""
    routes = APIRouter(prefix="/v1/feedback", responses=schemas.REFUSALS)

    def voter(
        body: VoteRequest | VotesRequest | EditRequest | RankingRequest | ComparisonRequest | ConsentRequest,
        request: Request,
    ) -> str:
        return recorded_as(request.scope["state"], body.user, API_USER)

    @routes.post("/votes", response_model=schemas.Vote)
    async def vote(body: VoteRequest, request: Request) -> dict[str, Any]:
        user = voter(body, request)
        row = await asyncio.to_thread(feedback.vote, body.message_id, body.value, id=body.id, user=user)
        return {"object": "vote"} | asdict(row)

    @routes.post("/votes/batch", response_model=schemas.Votes)
    async def votes(body: VotesRequest, request: Request) -> dict[str, Any]:
        given = [(one.message_id, one.value, one.id) for one in body.votes]
        rows = await asyncio.to_thread(feedback.vote_all, given, user=voter(body, request))
        return {"object": "list", "data": [{"object": "vote"} | asdict(row) for row in rows]}

    @routes.post("/edits", response_model=schemas.Edit)
    async def edit(body: EditRequest, request: Request) -> dict[str, Any]:
        user = voter(body, request)
        row = await asyncio.to_thread(feedback.edit, body.message_id, body.text, id=body.id, user=user)
        return {"object": "edit"} | asdict(row)

    @routes.post("/rankings", response_model=schemas.Ranking)
    async def ranking(body: RankingRequest, request: Request) -> dict[str, Any]:
        row = await asyncio.to_thread(record_ranking, feedback, body, voter(body, request))
        return {"object": "ranking"} | asdict(row)

    @routes.post("/comparisons", response_model=schemas.Comparison)
    async def comparison(body: ComparisonRequest, request: Request) -> dict[str, Any]:
        said: dict[str, Any] = {"kind": body.kind, "id": body.id, "user": voter(body, request)}
        row = await asyncio.to_thread(feedback.compare, body.left_id, body.right_id, body.choice, **said)
        return {"object": "comparison"} | asdict(row)

    @routes.post("/consent", response_model=schemas.Consent)
    async def consent(body: ConsentRequest, request: Request) -> dict[str, Any]:
        """Only whose conversation it is decides. What was learned before is not unlearned."""
        owner = await asyncio.to_thread(feedback.user_of, body.conversation_id)
        if owner != voter(body, request):
            raise NotRecorded(f"there is no conversation {body.conversation_id!r}", "conversation_id")
        await asyncio.to_thread(feedback.set_consent, body.conversation_id, body.consent)
        return {"object": "consent", "conversation_id": body.conversation_id, "consent": body.consent}

    @routes.delete("/mine", response_model=schemas.Deleted)
    async def delete_mine(request: Request) -> dict[str, Any]:
        """Deletes, for good, all that is recorded of who asks, and names what had been made of it.

        Where nobody has an account or a key, that is what was recorded without a user.
        """
        if request.query_params or await request.body():  # somebody may mean another person by it
            message = "This takes nothing: it deletes what who asks said themselves, and nobody else's."
            raise ApiError(400, f"{message} For others there is `homeroom feedback delete USER`.")
        user = oneself(request.scope["state"], API_USER)
        return {"object": "feedback.deleted", "user": user} | asdict(await asyncio.to_thread(forget, user))

    @routes.get("/next", response_model=schemas.Next)
    async def to_rank(request: Request, user: Annotated[UserName | None, Query()] = None) -> dict[str, Any]:
        """The same item until this user ranks or skips it; nobody else is shown it meanwhile."""
        name = recorded_as(request.scope["state"], user, API_USER)
        item = await asyncio.to_thread(queue.next, name)
        progress = await asyncio.to_thread(queue.progress, name)
        shown = None if item is None else asdict(item)
        return {"object": "feedback.next", "item": shown, "progress": asdict(progress)}

    @routes.get("/counts", response_model=schemas.Counts)
    async def counts() -> dict[str, Any]:
        return {"object": "feedback.counts"} | await asyncio.to_thread(feedback.counts)

    return routes


def record_ranking(feedback: Feedback, body: RankingRequest, user: str) -> Ranking:
    if body.state == "skipped":
        return feedback.skip(body.question_id, id=body.id, user=user)
    if body.state == "withdrawn":
        return feedback.withdraw_ranking(body.question_id, id=body.id, user=user)
    said: dict[str, Any] = {"flags": body.flags, "ideal_answer": body.ideal_answer, "id": body.id, "user": user}
    return feedback.rank(body.question_id, body.tiers, **said)
