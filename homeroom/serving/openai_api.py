"""OpenAI's chat completions and models, as their official client speaks them.

What is not supported is refused by name instead of being ignored: a client should know what it does not get.
An answer's `id` is its stored message's id, which votes name (feedback_api.py); of several, `homeroom.answer_ids` gives
each. The extra object `homeroom` of a request (`extra_body={"homeroom": {...}}`) says which conversation it continues
and who asks, if that is not `user`.
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import pydantic
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from homeroom.inference.request import Sampling
from homeroom.serving import schemas
from homeroom.serving.access import recorded_as
from homeroom.serving.chat import Chat, Reply
from homeroom.serving.ending import as_they_come, event_stream, finish_reason_of, not_cut_short, usage
from homeroom.serving.forms import Strict
from homeroom.serving.leaving import done_before_the_client_left
from homeroom.serving.requests import (
    ALIAS,
    MOST_ALTERNATIVES,
    TEXT_OR_PARTS,
    Asked,
    Extension,
    RecordId,
    UserName,
    chat_logprobs,
    event,
    is_blank,
    plain_text,
    served,
    unicode_text,
)
from homeroom.serving.settings import ServingSettings
from homeroom.text.tokenizer import Tokenizer

API_USER = "api"  # who asks and votes when neither request nor key says; the pages' user is another
MOST_MESSAGES = 2048


class Message(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(plain_text), AfterValidator(unicode_text), WithJsonSchema(TEXT_OR_PARTS)]
    name: None = None  # the chat template has no place for it


class ChatExtension(Extension):
    conversation_id: RecordId | None = None
    user: UserName | None = None


class ChatRequest(Asked):
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] | None = None
    homeroom: ChatExtension = ChatExtension()

    # Known, but only with the value that changes nothing.
    tools: Annotated[list[object], Field(max_length=0)] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=0)] | None = None
    store: Literal[True] | None = None  # answers always are, so that votes can name them

    @pydantic.field_validator("messages")
    @classmethod
    def _answerable(cls, messages: list[Message]) -> list[Message]:
        if messages[-1].role != "user":
            raise ValueError("the last message has to be the user's")
        if is_blank(messages[-1].content):
            raise ValueError("the last message is blank, so there is nothing to answer")
        if any(message.role in ("system", "developer") for message in messages[1:]):
            raise ValueError("a system message has to be the first")
        return messages

    @pydantic.field_validator("top_logprobs")
    @classmethod
    def _with_logprobs(cls, top: int | None, others: pydantic.ValidationInfo) -> int | None:
        if top and not others.data.get("logprobs"):
            raise ValueError("it goes with logprobs = true")
        return top

    def chat_messages(self) -> list[dict[str, str]]:
        roles = {"developer": "system"}
        return [{"role": roles.get(each.role, each.role), "content": each.content} for each in self.messages]

    def sampling(self, default: Sampling) -> Sampling:
        return self.sampling_by(default, self.homeroom, self.max_completion_tokens or self.max_tokens)


def router(chat: Chat, settings: ServingSettings) -> APIRouter:
    routes = APIRouter(prefix="/v1", responses=schemas.REFUSALS)

    @routes.get("/models", response_model=schemas.Models)
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(name) for name in (chat.assistant.model_id, ALIAS)]}

    @routes.get("/models/{name}", response_model=schemas.Model)
    async def retrieve_model(name: str) -> dict[str, Any]:
        return _model(served(name, chat.assistant))

    @routes.post("/chat/completions", response_model=None, responses=schemas.COMPLETION)
    async def create_completion(body: ChatRequest, request: Request) -> Response:
        served(body.model, chat.assistant)
        asked = body.chat_messages(), body.sampling(settings.sampling(chat.assistant.advice))
        place: dict[str, Any] = {
            "stop": body.stop or (),
            "top": body.top_logprobs or 0,
            "form": body.form,
            "conversation_id": body.homeroom.conversation_id,
            "user": recorded_as(request.scope["state"], body.homeroom.user or body.user, API_USER),
        }
        if body.stream:
            replies = await chat.replies(*asked, body.n or 1, whole=False, **place)
            last = partial(_last, replies) if body.wants_usage else None
            return event_stream(_chunks(replies, body, chat.assistant.tokenizer), replies, last)
        replies = await chat.replies(*asked, body.n or 1, **place)
        if not await done_before_the_client_left(replies, request):
            return Response(status_code=499)
        not_cut_short(replies)
        return JSONResponse(_completion(replies, body, chat.assistant.tokenizer))

    return routes


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "homeroom"}


def _completion(replies: Sequence[Reply], body: ChatRequest, tokenizer: Tokenizer) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": reply.text, "refusal": None},
            "logprobs": chat_logprobs(reply.tokens, tokenizer) if body.logprobs else None,
            "finish_reason": finish_reason_of(reply),
        }
        for index, reply in enumerate(replies)
    ]
    return _head(replies[0], "chat.completion") | {
        "choices": choices,
        "usage": usage(replies, replies[:1]),
        "homeroom": _extension(replies),
    }


async def _chunks(replies: Sequence[Reply], body: ChatRequest, tokenizer: Tokenizer) -> AsyncIterator[str]:
    head = _head(replies[0], "chat.completion.chunk")
    no_usage_yet = {"usage": None} if body.wants_usage else {}
    told = [0] * len(replies)

    def chunk(
        index: int, delta: dict[str, str], upto: int = 0, finish_reason: str | None = None, **more: object
    ) -> str:
        # What an end token and a stop string's tokens weigh comes with the last piece.
        new = replies[index].tokens[told[index] : upto] if body.logprobs else []
        told[index] += len(new)
        logprobs = chat_logprobs(new, tokenizer) if new else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return event(head | {"choices": [choice]} | no_usage_yet | more)

    for index in range(len(replies)):
        more = {"homeroom": _extension(replies)} if index == 0 else {}
        yield chunk(index, {"role": "assistant", "content": ""}, 0, None, **more)
    async for index, text, upto in as_they_come(replies):
        if text is not None:
            yield chunk(index, {"content": text}, upto)
        else:
            not_cut_short([replies[index]])
            yield chunk(index, {}, upto, finish_reason_of(replies[index]))


def _last(replies: Sequence[Reply]) -> str:
    head = _head(replies[0], "chat.completion.chunk")
    return event(head | {"choices": [], "usage": usage(replies, replies[:1])})


def _head(reply: Reply, kind: str) -> dict[str, Any]:
    return {"id": reply.id, "object": kind, "created": reply.created, "model": reply.model_id}


def _extension(replies: Sequence[Reply]) -> dict[str, Any]:
    place = {"conversation_id": replies[0].conversation_id, "question_id": replies[0].question_id}
    return place | {"answer_ids": [reply.id for reply in replies]}
