"""Votes and better answers by message id, for raters that are programs.

Every request may carry an `id` of its own making; sent again after a lost reply, it counts once. A reply means that
the row is in the database. Votes on several answers can be sent together: they are recorded all or not at all.
"""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BeforeValidator, Field

from homeroom.serving import schemas
from homeroom.serving.access import recorded_as
from homeroom.serving.forms import Strict
from homeroom.serving.openai_api import API_USER
from homeroom.serving.requests import RecordId, UserName, plain_text, unicode_text
from homeroom.workspace.feedback import Feedback

MOST_VOTES = 1000


def _number(value: object) -> object:
    if isinstance(value, bool):  # Python holds True to be 1
        raise ValueError("Input should be 1 or -1")
    return value


class OneVote(Strict):
    message_id: RecordId
    value: Annotated[Literal[1, -1], BeforeValidator(_number)]
    id: RecordId | None = None


class VoteRequest(OneVote):
    user: UserName | None = None  # the account's or the key's name, or "api"


class VotesRequest(Strict):
    votes: Annotated[list[OneVote], Field(min_length=1, max_length=MOST_VOTES)]
    user: UserName | None = None


class EditRequest(Strict):
    message_id: RecordId
    text: Annotated[str, BeforeValidator(plain_text), AfterValidator(unicode_text), Field(pattern=r"\S")]
    id: RecordId | None = None
    user: UserName | None = None


def router(feedback: Feedback) -> APIRouter:
    routes = APIRouter(prefix="/v1/feedback", responses=schemas.REFUSALS)

    def voter(body: VoteRequest | VotesRequest | EditRequest, request: Request) -> str:
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

    @routes.get("/counts", response_model=schemas.Counts)
    async def counts() -> dict[str, Any]:
        return {"object": "feedback.counts"} | await asyncio.to_thread(feedback.counts)

    return routes
