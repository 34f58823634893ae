"""vote: the scripted rater asks the served champion and votes on its answers, all through the HTTP API.

The rule is `homeroom.evaluation.rater.RULE`, how a server is asked is the business of `homeroom.serving.client`.
Everything that it causes is stored by the server as any user's doing; what a killed run had asked and voted is found
there again, so nothing is asked or counted twice.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import Field, PositiveInt

from homeroom.data.documents import read_documents
from homeroom.evaluation import rater
from homeroom.progress import progress, say
from homeroom.serving.app import serving
from homeroom.serving.client import Client, Said
from homeroom.serving.requests import MOST_ANSWERS
from homeroom.serving.settings import ServingSettings
from homeroom.settings import Frozen
from homeroom.stages.lookup import champion, made_before
from homeroom.tasks.base import Question, sample
from homeroom.tasks.questions import MIX, Mix, questions
from homeroom.workspace import Artifact, FeedbackError, Workspace

VERSION = 4
USER = "scripted-rater"


class Config(Frozen):
    """How much the scripted rater asks, and how the server samples for it."""

    round: PositiveInt = Field(1, description="another number asks the champion of that time anew")
    questions: PositiveInt = 300
    mix: Mix = MIX
    answers_per_question: Annotated[int, Field(ge=2)] = 2
    requests: PositiveInt = Field(64, description="questions under way at the same time")
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(
        1.0, description="higher than in conversation: answers that do not differ cannot be compared"
    )
    max_tokens: PositiveInt = 64
    seed: int = 1


@dataclass(frozen=True)
class Voted:
    question: Question
    answer: Said
    value: Literal[1, -1]
    reason: rater.Reason


def run(config: Config, workspace: Workspace) -> Artifact:
    """Ask and vote. Everything is in the database; votes.jsonl is a copy for people to read."""
    promoted = workspace.latest("promote")
    if done := made_before(workspace, "vote", config, promoted, VERSION):
        return done
    model, cleaned = champion(workspace), workspace.latest("clean")
    say("vote", f"the scripted rater's rule: {rater.RULE}")
    with workspace.publish("vote", config, inputs=[promoted, model, cleaned], version=VERSION) as out:
        began = time.monotonic()
        documents = read_documents(cleaned.path / "documents.parquet", split="train")
        asked = sample(questions(documents, "vote"), config.questions, f"vote {config.round} {config.seed}", config.mix)
        at_once = config.requests * min(config.answers_per_question, MOST_ANSWERS)
        # For this stage alone, on a port that nobody knows: keys are for people who come from elsewhere.
        settings = ServingSettings(port=0, slots=config.requests, max_waiting=at_once, require_key=False)
        with serving(workspace, settings) as url:
            votes = list(_ask_all(Client(url, model.id, USER), config, workspace, asked))
        with (out.path / "votes.jsonl").open("w", encoding="utf-8") as file:
            for vote in votes:
                file.write(json.dumps(_row(vote), ensure_ascii=False) + "\n")
        thumbs = Counter(vote.value for vote in votes)
        out.metrics = {
            "champion": model.id,
            "round": config.round,
            "questions": len(asked),
            "answers": len(votes),
            "up": thumbs[1],
            "down": thumbs[-1],
            "rule": rater.RULE,
            "seconds": time.monotonic() - began,
            "by_reason": dict(Counter(vote.reason for vote in votes if vote.value < 0).most_common()),
        }
    say("vote", f"{len(votes)} answers judged, {thumbs[1]} up and {thumbs[-1]} down → {out.artifact.id}")
    return out.artifact


def _ask_all(client: Client, config: Config, workspace: Workspace, asked: Sequence[Question]) -> Iterator[Voted]:
    total = len(asked) * config.answers_per_question
    thumbs: Counter[int] = Counter()
    with progress("Votes", total) as bar, ThreadPoolExecutor(config.requests) as pool:
        stop = threading.Event()
        futures = [pool.submit(_rate, client, config, workspace, q, stop) for q in asked]
        try:
            for future in futures:
                done = future.result()
                thumbs.update(vote.value for vote in done)
                bar.advance(len(done), up=str(thumbs[1]), down=str(thumbs[-1]))
                yield from done
        finally:
            # The first failure, or Ctrl-C, ends the others before the server goes away under them.
            stop.set()
            for future in futures:
                future.cancel()


def _rate(
    client: Client, config: Config, workspace: Workspace, question: Question, stop: threading.Event
) -> list[Voted]:
    """All answers to one question, in one conversation, then the votes on them."""
    # What changes an answer, or which answers stand beside each other, is another conversation.
    made_by = (config.round, config.seed, config.answers_per_question, config.temperature, config.max_tokens)
    key = hashlib.sha256("/".join(map(str, [client.model_id, *made_by, question.id])).encode()).hexdigest()[:24]
    conversation_id = f"rater-{key}"
    seeds = [int(key[:8], 16) + draw for draw in range(config.answers_per_question)]
    said = stored(workspace, conversation_id)
    for first, count in _runs([seed for seed in seeds if seed not in said]):
        if stop.is_set():
            return []
        answers = client.ask(
            question.prompt,
            conversation_id,
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            seed=first,
            count=count,
        )
        said |= zip(range(first, first + count), answers, strict=True)
    answers = [said[seed] for seed in seeds]
    grades = [
        rater.grade(answer.text, question.language, answer.ended, question.prompt, question.reference)
        for answer in answers
    ]
    voted = [
        Voted(question, answer, value, rater.reason(grade, max(grades)))
        for answer, grade, value in zip(answers, grades, rater.votes(grades), strict=True)
    ]
    client.vote((vote.answer.message_id, vote.value, f"rater-{vote.answer.message_id}") for vote in voted)
    return voted


def _runs(seeds: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Seeds that follow one another, as first and count: as many answers to one request as a server gives."""
    first, count = 0, 0
    for seed in seeds:
        if count and (seed != first + count or count == MOST_ANSWERS):
            yield first, count
            count = 0
        first, count = (seed, 1) if not count else (first, count + 1)
    if count:
        yield first, count


def stored(workspace: Workspace, conversation_id: str) -> dict[int, Said]:
    """What was answered before, by seed. Not what was cut short because nobody waited for it: it is asked again."""
    try:
        messages = workspace.feedback.conversation(conversation_id)
    except FeedbackError:  # not asked yet
        return {}
    return {
        cast(int, message.sampling["seed"]): Said(message.id, message.text, message.finish_reason == "stop")
        for message in messages
        if message.role == "assistant" and message.sampling and message.finish_reason != "cancelled"
    }


def _row(vote: Voted) -> dict[str, Any]:
    return {
        "question": vote.question.prompt,
        "answer": vote.answer.text,
        "ended": vote.answer.ended,
        "value": vote.value,
        "reason": vote.reason,
        "message_id": vote.answer.message_id,
    }
