"""OpenAI's chat completions and models, as their official client speaks them.

What is not supported is refused by name instead of being ignored: a client should know what it does not get.
An answer's `id` is its stored message's id, which votes name (feedback_api.py); of several, `homeroom.answer_ids` gives
each. The extra object `homeroom` of a request (`extra_body={"homeroom": {...}}`) says which conversation it continues
and who asks, if that is not `user`.
"""

import asyncio
import json
import unicodedata
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

import pydantic
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from homeroom.inference.request import Sampling
from homeroom.serving import schemas
from homeroom.serving.access import user_of
from homeroom.serving.chat import Chat, Reply, Stopping
from homeroom.serving.errors import ApiError, as_api_error
from homeroom.serving.settings import ServingSettings

API_USER = "api"  # who asks and votes when neither request nor key says; the pages' user is another
MOST_ANSWERS = 16  # to one request
MOST_MESSAGES = 2048
ALIAS = "homeroom"  # a name for whichever model is champion


def unicode_text(text: str) -> str:
    """JSON can carry half a surrogate pair, which is no text to databases and tokenizers."""
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("it holds half a surrogate pair, which is not Unicode text")
    return text


RecordId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
UserName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(unicode_text)]


def plain_text(content: object) -> object:
    """Content is text, or a list of text parts, which are joined. NUL is no text to some databases."""
    if isinstance(content, list):
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise ValueError('only text is supported: a string, or parts of the form {"type": "text", "text": …}')
        content = "".join(part["text"] for part in content)
    return content.replace("\0", "\ufffd") if isinstance(content, str) else content


TEXT: dict[str, Any] = {"type": "string"}
_PART = {"type": "object", "properties": {"type": {"const": "text"}, "text": TEXT}, "required": ["type", "text"]}
STOP: dict[str, Any] = {
    "anyOf": [
        TEXT | {"minLength": 1},
        {"type": "array", "items": TEXT | {"minLength": 1}, "maxItems": 4},
        {"type": "null"},
    ]
}
TEXT_OR_PARTS: dict[str, Any] = {"anyOf": [TEXT, {"type": "array", "items": _PART}]}


def is_blank(text: str) -> bool:
    """Nothing that could be read: spaces, controls, or marks without width."""
    return all(unicodedata.category(letter) in ("Zs", "Zl", "Zp", "Cc", "Cf") for letter in text)


class Strict(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Message(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(plain_text), AfterValidator(unicode_text), WithJsonSchema(TEXT_OR_PARTS)]
    name: None = None  # the chat template has no place for it


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class Extension(Strict):
    """What the API has beyond OpenAI's."""

    conversation_id: RecordId | None = None
    user: UserName | None = None
    top_k: Annotated[int, Field(ge=0)] = 0
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None


class TextFormat(Strict):
    type: Literal["text"]


class ChatRequest(Strict):
    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[
        Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=4)] | None,
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
        WithJsonSchema(STOP),
    ] = None
    n: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] | None = None
    user: UserName | None = None
    homeroom: Extension = Extension()

    # Known, but only with the value that changes nothing.
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    logprobs: Literal[False] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    response_format: TextFormat | None = None
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

    @pydantic.field_validator("n")
    @classmethod
    def _one_answer_a_stream(cls, n: int | None, others: pydantic.ValidationInfo) -> int | None:
        if others.data.get("stream") and (n or 1) > 1:
            raise ValueError("several answers come whole: leave stream out, or stream one")
        return n

    def chat_messages(self) -> list[dict[str, str]]:
        roles = {"developer": "system"}
        return [{"role": roles.get(each.role, each.role), "content": each.content} for each in self.messages]

    def sampling(self, default: Sampling) -> Sampling:
        max_tokens = self.max_completion_tokens or self.max_tokens
        return Sampling(
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_k=self.homeroom.top_k,
            top_p=default.top_p if self.top_p is None else self.top_p,
            repetition_penalty=self.homeroom.repetition_penalty or default.repetition_penalty,
            max_tokens=max_tokens or default.max_tokens,
            seed=None if self.seed is None else self.seed & (2**63 - 1),
        )


def router(chat: Chat, settings: ServingSettings) -> APIRouter:
    routes = APIRouter(prefix="/v1", responses=schemas.REFUSALS)

    @routes.get("/models", response_model=schemas.Models)
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(name) for name in (chat.assistant.model_id, ALIAS)]}

    @routes.get("/models/{name}", response_model=schemas.Model)
    async def retrieve_model(name: str) -> dict[str, Any]:
        return _model(_served(name, chat))

    @routes.post("/chat/completions", response_model=None, responses=schemas.COMPLETION)
    async def create_completion(body: ChatRequest, request: Request) -> Response:
        _served(body.model, chat)
        asked = body.chat_messages(), body.sampling(settings.sampling(chat.assistant.advice))
        place: dict[str, Any] = {
            "stop": body.stop or (),
            "conversation_id": body.homeroom.conversation_id,
            "user": body.homeroom.user or body.user or user_of(request.scope["state"], API_USER),
        }
        if body.stream:
            reply = await chat.reply(*asked, **place)
            usage = body.stream_options is not None and body.stream_options.include_usage
            # A stream of Server-Sent Events must reach the client as it grows, through proxies too.
            headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            return StreamingResponse(_events(reply, usage), media_type="text/event-stream", headers=headers)
        replies = await chat.replies(*asked, body.n or 1, **place)
        if not await _finished_before_the_client_left(replies, request):
            return Response(status_code=499)
        _not_cut_short(replies)
        return JSONResponse(_completion(replies))

    return routes


def _served(name: str, chat: Chat) -> str:
    current = chat.assistant.model_id
    if name not in (current, ALIAS):
        raise ApiError(
            404,
            f"The model '{name}' does not exist or is not served now. Served is '{current}', also called '{ALIAS}'.",
            param="model",
            code="model_not_found",
        )
    return name


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "homeroom"}


async def _finished_before_the_client_left(replies: Sequence[Reply], request: Request) -> bool:
    finished = asyncio.ensure_future(asyncio.gather(*(reply.finished() for reply in replies)))
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((finished, left), return_when=asyncio.FIRST_COMPLETED)
        if not finished.done():
            return False
        finished.result()
        return True
    finally:
        for reply in replies:
            if reply.finish_reason is None:
                reply.stop()
        for task in (finished, left):
            task.cancel()


def _not_cut_short(replies: Sequence[Reply]) -> None:
    """Who still reads did not cancel: the server did, at its end. That must not look like a whole answer."""
    if any(reply.finish_reason == "cancelled" for reply in replies):
        raise Stopping


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _completion(replies: Sequence[Reply]) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": reply.text, "refusal": None},
            "logprobs": None,
            "finish_reason": _finish_reason(reply),
        }
        for index, reply in enumerate(replies)
    ]
    extension = _extension(replies[0]) | {"answer_ids": [reply.id for reply in replies]}
    return _head(replies[0], "chat.completion") | {"choices": choices, "usage": _usage(replies), "homeroom": extension}


async def _events(reply: Reply, include_usage: bool) -> AsyncIterator[str]:
    head = _head(reply, "chat.completion.chunk")
    no_usage_yet = {"usage": None} if include_usage else {}

    def event(delta: dict[str, str], finish_reason: str | None = None, **more: object) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event(head | {"choices": [choice]} | no_usage_yet | more)

    try:
        yield event({"role": "assistant", "content": ""}, homeroom=_extension(reply))
        async for text in reply:
            yield event({"content": text})
        _not_cut_short([reply])
        yield event({}, _finish_reason(reply))
        if include_usage:
            yield _event(head | {"choices": [], "usage": _usage([reply])})
        yield "data: [DONE]\n\n"
    except Exception as error:  # the status line is gone already; the client reads the error from the stream
        yield _event(as_api_error(error).body())
    finally:
        if reply.finish_reason is None:
            reply.stop()


def _event(value: object) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _head(reply: Reply, kind: str) -> dict[str, Any]:
    return {"id": reply.id, "object": kind, "created": reply.created, "model": reply.model_id}


def _finish_reason(reply: Reply) -> str:
    return "length" if reply.finish_reason == "length" else "stop"


def _usage(replies: Sequence[Reply]) -> dict[str, int]:
    """The prompt counts once, however many answers were written to it."""
    prompt, completion = replies[0].prompt_tokens, sum(len(reply.token_ids) for reply in replies)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _extension(reply: Reply) -> dict[str, Any]:
    return {"conversation_id": reply.conversation_id, "question_id": reply.question_id}
