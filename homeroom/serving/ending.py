"""How answers of both kinds of completion end, and are streamed: in OpenAI's words."""

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


def event_stream(
    chunks: AsyncIterator[str], answer: Stoppable, last: Callable[[], str] | None, ended: Callable[[], None]
) -> StreamingResponse:
    """An answer's chunks as Server-Sent Events, then what `last` gives, then the end that clients wait for.

    A client that leaves stops the answer; `ended` is told in any case.
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
            if answer.finish_reason is None:
                answer.stop()
                if not failed:  # the client left, and nobody reads the last piece, which would say so
                    answer.finish_reason = "cancelled"
            ended()

    # They must reach the client as they come, through proxies too.
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(whole(), media_type="text/event-stream", headers=headers)
