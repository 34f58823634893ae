"""A client that leaves does not want its answers any more: their slots are freed within a step."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from fastapi import Request

from homeroom.inference.request import FinishReason


class Unfinished(Protocol):
    finish_reason: FinishReason | None
    stop: Callable[[], None]

    def finished(self) -> Awaitable[object]: ...


async def done_before_the_client_left(answers: Sequence[Unfinished], request: Request) -> bool:
    """Wait for all of them, or until nobody does; then they are stopped."""
    finished = asyncio.ensure_future(asyncio.gather(*(answer.finished() for answer in answers)))
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((finished, left), return_when=asyncio.FIRST_COMPLETED)
        if not finished.done():
            for answer in answers:
                if answer.finish_reason is None:
                    answer.stop()
                    answer.finish_reason = "cancelled"  # nobody reads the last piece, which would say so
            return False
        finished.result()
        return True
    finally:
        for answer in answers:
            if answer.finish_reason is None:
                answer.stop()
        for task in (finished, left):
            task.cancel()
        await asyncio.gather(finished, left, return_exceptions=True)  # or their ends would be logged as errors


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
