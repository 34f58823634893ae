"""Votes and better answers by message id, for raters that are programs.

Every request may carry an `id` of its own making; sent again after a lost reply, it counts once. A reply means that
the row is in the database. Votes on several answers can be sent together: they are recorded all or not at all.
"""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, BeforeValidator, Field

from homeroom.serving.openai_api import API_USER, RecordId, Strict, UserName, plain_text, unicode_text
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
    user: UserName = API_USER


class VotesRequest(Strict):
    votes: Annotated[list[OneVote], Field(min_length=1, max_length=MOST_VOTES)]
    user: UserName = API_USER


class EditRequest(Strict):
    message_id: RecordId
    text: Annotated[str, BeforeValidator(plain_text), AfterValidator(unicode_text), Field(pattern=r"\S")]
    id: RecordId | None = None
    user: UserName = API_USER


def router(feedback: Feedback) -> APIRouter:
    routes = APIRouter(prefix="/v1/feedback")

    @routes.post("/votes")
    async def vote(body: VoteRequest) -> dict[str, Any]:
        row = await asyncio.to_thread(feedback.vote, body.message_id, body.value, id=body.id, user=body.user)
        return {"object": "vote"} | asdict(row)

    @routes.post("/votes/batch")
    async def votes(body: VotesRequest) -> dict[str, Any]:
        given = [(one.message_id, one.value, one.id) for one in body.votes]
        rows = await asyncio.to_thread(feedback.vote_all, given, user=body.user)
        return {"object": "list", "data": [{"object": "vote"} | asdict(row) for row in rows]}

    @routes.post("/edits")
    async def edit(body: EditRequest) -> dict[str, Any]:
        row = await asyncio.to_thread(feedback.edit, body.message_id, body.text, id=body.id, user=body.user)
        return {"object": "edit"} | asdict(row)

    @routes.get("/counts")
    async def counts() -> dict[str, Any]:
        return {"object": "feedback.counts"} | await asyncio.to_thread(feedback.counts)

    return routes
