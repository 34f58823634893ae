"""OpenAI's completions: how a text goes on, without a chat template; with `echo` and `logprobs`, how likely it is.

That is what `lm-eval`'s local-completions asks. Nothing of it is stored: it is nobody's conversation. And /v1/tokenize,
which says what a text is to the model.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, Field

from homeroom.inference.request import FinishReason, TokenScore, draws
from homeroom.serving import schemas
from homeroom.serving.answers import Answer, Order
from homeroom.serving.chat import Chat
from homeroom.serving.ending import as_they_come, event_stream, finish_reason_of, not_cut_short, usage
from homeroom.serving.errors import ApiError
from homeroom.serving.forms import Strict
from homeroom.serving.leaving import done_before_the_client_left
from homeroom.serving.requests import (
    MOST_ALTERNATIVES,
    Asked,
    Extension,
    event,
    served,
    text_logprobs,
    unicode_text,
)
from homeroom.serving.settings import ServingSettings
from homeroom.text.tokenizer import Tokenizer

MOST_PROMPTS = 128  # in one request
DEFAULT_TOKENS = 16  # as OpenAI has it
Text = Annotated[str, AfterValidator(unicode_text)]
Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class TextExtension(Extension):
    token_ids: bool = Field(False, description="give each choice's token ids as well")


class CompletionRequest(Asked):
    prompt: Text | Ids | Annotated[list[Text | Ids], Field(min_length=1, max_length=MOST_PROMPTS)]
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] | None = None
    echo: bool | None = False
    homeroom: TextExtension = TextExtension()

    # Known, but only with the value that changes nothing.
    suffix: None = None
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        if isinstance(self.prompt, str) or isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)


class TokenizeRequest(Strict):
    text: Text
    model: str | None = None


class Written:
    """One answer, gathered."""

    def __init__(self, answer: Answer) -> None:
        self._answer, self._began = answer, time.monotonic()
        self.prompt_tokens, self.prompt_ids = answer.prompt_tokens, answer.prompt_ids
        self.text = ""
        self.tokens: list[TokenScore] = []
        self.prompt: list[TokenScore] = []
        self.finish_reason: FinishReason | None = None
        self.first_seconds: float | None = None
        self.stop = answer.cancel

    async def __aiter__(self) -> AsyncIterator[str]:
        async for piece in self._answer:
            if self.first_seconds is None and piece.text:
                self.first_seconds = time.monotonic() - self._began
            self.text += piece.text
            self.tokens += piece.tokens
            self.prompt += piece.prompt
            self.finish_reason = piece.finish_reason
            yield piece.text

    async def finished(self) -> None:
        async for _ in self:
            pass


def router(chat: Chat, settings: ServingSettings, ended: Callable[[Written], None]) -> APIRouter:
    """`ended` is told of every answer."""
    routes = APIRouter(prefix="/v1", responses=schemas.REFUSALS)
    assistant = chat.assistant

    @routes.post("/completions", response_model=None, responses=schemas.TEXT_COMPLETION)
    async def complete(body: CompletionRequest, request: Request) -> Response:
        served(body.model, assistant)
        chat.refuse_when_stopping()
        prompts, count = body.prompts, body.n or 1
        if body.stream and body.echo:
            raise ApiError(400, "A stream has no echo.", param="stream", code="invalid_value")
        if body.max_tokens == 0 and not body.echo:
            raise ApiError(400, "max_tokens = 0 goes with echo = true.", param="max_tokens", code="invalid_value")
        most = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
        sampling = body.sampling_by(settings.sampling(assistant.advice), body.homeroom, most)
        order = Order(
            stop=body.stop or (),
            whole=not body.stream,
            top=body.logprobs or 0,
            score_from=1 if body.echo and body.logprobs is not None else None,
            form=body.form,
        )
        try:
            answers = await assistant.continue_all(prompts, draws(sampling, count), order)
        except ValueError as error:
            raise ApiError(400, f"{error}.", param="prompt", code="invalid_value") from error
        written = [Written(answer) for answer in answers]
        head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": answers[0].model_id,
        }

        def all_ended() -> None:
            for one in written:
                ended(one)

        if body.stream:
            last = partial(_last, written, count, head) if body.wants_usage else None
            chunks = _chunks(written, body, head, assistant.tokenizer)
            return event_stream(chunks, written, last, all_ended)
        try:
            if not await done_before_the_client_left(written, request):
                return Response(status_code=499)
        finally:
            all_ended()
        not_cut_short(written)
        return JSONResponse(
            head
            | {
                "choices": [_choice(i, one, body, assistant.tokenizer) for i, one in enumerate(written)],
                "usage": usage(written, written[::count]),
            }
        )

    @routes.post("/tokenize", response_model=schemas.Tokens)
    async def tokenize(body: TokenizeRequest) -> dict[str, Any]:
        """The text's token ids, as a completion of it would read them, and what each stands for."""
        if body.model is not None:
            served(body.model, assistant)
        tokenizer = assistant.tokenizer
        ids = await asyncio.to_thread(tokenizer.encode, body.text)
        texts = [tokenizer.shown(token) for token in ids]
        return {"object": "tokens", "tokens": ids, "texts": texts, "count": len(ids)}

    return routes


def _choice(index: int, written: Written, body: CompletionRequest, tokenizer: Tokenizer) -> dict[str, Any]:
    text = written.text
    logprobs = None
    scored: list[TokenScore | int] = list(written.tokens)
    if body.echo:
        text = tokenizer.decode(written.prompt_ids) + text
        scored = [written.prompt_ids[0], *written.prompt, *scored]
    if body.logprobs is not None:
        logprobs = text_logprobs(scored, tokenizer, body.logprobs, echo=bool(body.echo))
    told = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason_of(written)}
    return told | _ids(written.tokens, body)


async def _chunks(
    written: Sequence[Written], body: CompletionRequest, head: dict[str, Any], tokenizer: Tokenizer
) -> AsyncIterator[str]:
    told = [0] * len(written)

    def chunk(index: int, text: str, upto: int, finish_reason: str | None) -> str:
        tokens, before = written[index].tokens, told[index]
        logprobs, new = None, tokens[before:upto]
        if body.logprobs is not None:
            logprobs = text_logprobs(new, tokenizer, body.logprobs, [token.token_id for token in tokens[:before]])
        told[index] = upto
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
        return event(head | {"choices": [choice | _ids(new, body)]} | ({"usage": None} if body.wants_usage else {}))

    async for index, text, upto in as_they_come(written):
        not_cut_short([written[index]])
        if text is not None:
            yield chunk(index, text, upto, None)
        else:
            yield chunk(index, "", upto, finish_reason_of(written[index]))


def _last(written: Sequence[Written], count: int, head: dict[str, Any]) -> str:
    return event(head | {"choices": [], "usage": usage(written, written[::count])})


def _ids(tokens: Sequence[TokenScore], body: CompletionRequest) -> dict[str, list[int]]:
    return {"token_ids": [token.token_id for token in tokens]} if body.homeroom.token_ids else {}
