"""Votes and better answers by message id, for raters that are programs.

Every request may carry an `id` of its own making; sent again after a lost reply, it counts once. A reply means that
the row is in the database.
"""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, BeforeValidator, Field

from homeroom.serving.errors import ApiError
from homeroom.serving.openai_api import API_USER, RecordId, Strict, UserName, plain_text, unicode_text
from homeroom.workspace.errors import FeedbackError
from homeroom.workspace.feedback import Feedback


def _number(value: object) -> object:
    if isinstance(value, bool):  # Python holds True to be 1
        raise ValueError("Input should be 1 or -1")
    return value


class VoteRequest(Strict):
    message_id: RecordId
    value: Annotated[Literal[1, -1], BeforeValidator(_number)]
    id: RecordId | None = None
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
        await _known(body.message_id, feedback)
        row = await asyncio.to_thread(feedback.vote, body.message_id, body.value, id=body.id, user=body.user)
        return {"object": "vote"} | asdict(row)

    @routes.post("/edits")
    async def edit(body: EditRequest) -> dict[str, Any]:
        await _known(body.message_id, feedback)
        row = await asyncio.to_thread(feedback.edit, body.message_id, body.text, id=body.id, user=body.user)
        return {"object": "edit"} | asdict(row)

    @routes.get("/counts")
    async def counts() -> dict[str, Any]:
        return {"object": "feedback.counts"} | await asyncio.to_thread(feedback.counts)

    return routes


async def _known(message_id: str, feedback: Feedback) -> None:
    try:
        await asyncio.to_thread(feedback.message, message_id)
    except FeedbackError as error:
        raise ApiError(404, str(error), param="message_id", code="message_not_found") from error
