"""How answers of both kinds of completion end, and are streamed: in OpenAI's words."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from fastapi.responses import StreamingResponse

from homeroom.inference.request import FinishReason, TokenScore
from homeroom.serving.chat import Stopping
from homeroom.serving.errors import as_api_error
from homeroom.serving.requests import event


class Ended(Protocol):
    """An answer, as far as it was written; without a finish reason it failed, or goes on."""

    finish_reason: FinishReason | None
    prompt_tokens: int
    tokens: list[TokenScore]


class Stoppable(Ended, Protocol):
    stop: Callable[[], None]


class Growing(Ended, Protocol):
    """Iterate for its text, once."""

    def __aiter__(self) -> AsyncIterator[str]: ...


def finish_reason_of(answer: Ended) -> str:
    return "length" if answer.finish_reason == "length" else "stop"


def not_cut_short(answers: Sequence[Ended]) -> None:
    """Who still reads did not cancel: the server did, at its end. That must not look like a whole answer."""
    if any(answer.finish_reason == "cancelled" for answer in answers):
        raise Stopping


def usage(answers: Sequence[Ended], prompts: Sequence[Ended]) -> dict[str, int]:
    """A prompt counts once, however many answers were written to it: `prompts` are one answer to each."""
    prompt = sum(answer.prompt_tokens for answer in prompts)
    completion = sum(len(answer.tokens) for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def as_they_come(answers: Sequence[Growing]) -> AsyncIterator[tuple[int, str | None, int]]:
    """The number of an answer, what it grew by (None when it has ended), and how many tokens it had then.

    Raises what any of the answers raises.
    """
    arrived: asyncio.Queue[tuple[int, str | Exception | None, int]] = asyncio.Queue()

    async def read(number: int, answer: Growing) -> None:
        try:
            async for text in answer:
                arrived.put_nowait((number, text, len(answer.tokens)))
            arrived.put_nowait((number, None, len(answer.tokens)))
        except Exception as error:
            arrived.put_nowait((number, error, 0))

    readers = [asyncio.create_task(read(*each)) for each in enumerate(answers)]
    try:
        going = len(readers)
        while going:
            number, text, tokens = await arrived.get()
            if isinstance(text, Exception):
                raise text
            going -= text is None
            yield number, text, tokens
    finally:
        for reader in readers:
            reader.cancel()


def event_stream(
    chunks: AsyncIterator[str],
    answers: Sequence[Stoppable],
    last: Callable[[], str] | None,
    ended: Callable[[], None] = lambda: None,
) -> StreamingResponse:
    """The answers' chunks as Server-Sent Events, then what `last` gives, then the end that clients wait for.

    A client that leaves stops the answers; `ended` is told in any case.
    """

    async def whole() -> AsyncIterator[str]:
        failed = False
        try:
            async for chunk in chunks:
                yield chunk
            if last is not None:
                yield last()
            yield "data: [DONE]\n\n"
        except Exception as error:  # the status line is gone already; the client reads the error from the stream
            failed = True
            yield event(as_api_error(error).body())
        finally:
            for answer in answers:
                if answer.finish_reason is None:
                    answer.stop()
                    if not failed:  # the client left, and nobody reads the last piece, which would say so
                        answer.finish_reason = "cancelled"
            ended()

    # They must reach the client as they come, through proxies too.
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(whole(), media_type="text/event-stream", headers=headers)
