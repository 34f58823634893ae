"""Questions for the annotators: the champion answers each several times, and the answers wait to be put in order.

What a file of questions may hold is workspace/exchange.py's business, who is asked to rank what workspace/queue.py's.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from homeroom.inference.request import Sampling, draws
from homeroom.progress import progress
from homeroom.serving.answers import Answer, Order
from homeroom.serving.app import load_champion
from homeroom.serving.assistant import Assistant
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.workspace import NewAnswer, Workspace
from homeroom.workspace.exchange import Asked, read_questions

USER = "queue"  # whose the questions' conversations are
ATTEMPTS = 3  # of as many answers as are wanted: a sure model says the same again and again


@dataclass(frozen=True)
class Queued:
    """How many items were new and how many were there already; what was wrong, by line number."""

    added: int
    known: int
    bad: dict[int, str]


def queue_file(
    workspace: Workspace, settings: ServingSettings, path: Path, *, answers: int = 4, temperature: float = 1.0
) -> Queued:
    """Queue every question of the file. What was queued before by the same model is not asked again, so that a run
    that was stopped goes on."""
    asked, bad = read_questions(path)
    assistant = Assistant(settings)
    try:
        if any(one.answers is None for one in asked):
            load_champion(workspace, assistant)
        sampling = settings.sampling(assistant.advice if assistant.loaded_id else None)
        sampling = sampling.model_copy(update={"temperature": temperature})
        return asyncio.run(_queue_all(workspace, assistant, settings.slots, asked, bad, answers, sampling))
    finally:
        assistant.close()


async def _queue_all(
    workspace: Workspace,
    assistant: Assistant,
    slots: int,
    asked: Sequence[Asked],
    bad: dict[int, str],
    count: int,
    sampling: Sampling,
) -> Queued:
    places = asyncio.Semaphore(max(1, slots // count))
    added = known = 0

    async def queue(one: Asked) -> None:
        nonlocal added, known
        async with places:
            made_by = [assistant.model_id, count, sampling.model_dump(mode="json")] if one.answers is None else []
            id = _name([one.messages, one.answers, *made_by])
            if await asyncio.to_thread(workspace.queue.has, id):
                known += 1
                return
            try:
                given: Sequence[NewAnswer | str] | None = one.answers
                if given is None:
                    given = await _sampled(assistant, one.messages, count, sampling, int(id[-8:], 16))
                await asyncio.to_thread(workspace.queue.add_item, one.messages, given, id=id, user=USER)
                added += 1
            except (HomeroomError, ValueError) as error:  # ValueError: roles that the model's template does not know
                bad[one.line] = str(error)

    with progress("Questions", len(asked)) as bar:
        for done in asyncio.as_completed([queue(one) for one in asked]):
            await done
            bar.advance()
    return Queued(added, known, dict(sorted(bad.items())))


async def _sampled(
    assistant: Assistant, messages: Sequence[dict[str, str]], count: int, sampling: Sampling, seed: int
) -> list[NewAnswer]:
    """So many answers that differ, or as many as could be had."""
    found: dict[str, NewAnswer] = {}
    for attempt in range(ATTEMPTS):
        wanted = draws(sampling.model_copy(update={"seed": seed + attempt * count}), count)
        begun = await assistant.begin_all(messages, wanted, Order(whole=True))
        for made in [await _written(answer, used) for answer, used in zip(begun, wanted, strict=True)]:
            if made.text.strip():
                found.setdefault(made.text.strip(), made)
        if len(found) >= count:
            break
    if len(found) < 2:
        raise HomeroomError(f"{ATTEMPTS * count} answers all say the same, so there is nothing to rank")
    return list(found.values())[:count]


async def _written(answer: Answer, sampling: Sampling) -> NewAnswer:
    text, token_ids, finish_reason = "", list[int](), None
    async for piece in answer:
        text, finish_reason = text + piece.text, piece.finish_reason
        token_ids += [token.token_id for token in piece.tokens]
    return NewAnswer(text, answer.model_id, sampling.model_dump(mode="json"), token_ids, finish_reason)


def _name(content: object) -> str:
    return f"queued-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]}"
