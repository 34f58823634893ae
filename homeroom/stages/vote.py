"""vote: the scripted rater asks the served champion and votes on its answers, all through the HTTP API.

The rule is `homeroom.evaluation.rater.RULE`. Everything that it causes is stored by the server as any user's doing;
what a killed run had asked and voted is found there again, so nothing is asked or counted twice.
"""

import hashlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from homeroom.data.documents import read_documents
from homeroom.evaluation import rater
from homeroom.progress import progress, say
from homeroom.serving.app import serving
from homeroom.serving.settings import ServingSettings
from homeroom.settings import Frozen, HomeroomError
from homeroom.stages.lookup import champion, made_before
from homeroom.tasks.base import Question, sample
from homeroom.tasks.questions import MIX, Mix, questions
from homeroom.workspace import Artifact, FeedbackError, Workspace

VERSION = 2
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
class Said:
    """An answer as the rater saw it."""

    message_id: str
    text: str
    ended: bool


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
        settings = ServingSettings(port=0, slots=config.requests, max_waiting=4 * config.requests)
        with serving(workspace, settings) as url:
            votes = list(_ask_all(_Client(url), config, workspace, model.id, asked))
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


def _ask_all(
    client: "_Client", config: Config, workspace: Workspace, model_id: str, asked: Sequence[Question]
) -> Iterator[Voted]:
    total = len(asked) * config.answers_per_question
    thumbs: Counter[int] = Counter()
    with progress("Votes", total) as bar, ThreadPoolExecutor(config.requests) as pool:
        stop = threading.Event()
        futures = [pool.submit(_rate, client, config, workspace, model_id, q, stop) for q in asked]
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
            wait(futures, return_when=FIRST_EXCEPTION)


def _rate(
    client: "_Client",
    config: Config,
    workspace: Workspace,
    model_id: str,
    question: Question,
    stop: threading.Event,
) -> list[Voted]:
    """All answers to one question, in one conversation, then the votes on them."""
    # What changes an answer, or which answers stand beside each other, is another conversation.
    asked = [model_id, config.round, config.seed, config.answers_per_question, config.temperature, config.max_tokens]
    key = hashlib.sha256("/".join(map(str, [*asked, question.id])).encode()).hexdigest()[:24]
    conversation_id = f"rater-{key}"
    said = _stored(workspace, conversation_id)[: config.answers_per_question]
    for draw in range(len(said), config.answers_per_question):
        if stop.is_set():
            return []
        body = {
            "model": "homeroom",
            "messages": [{"role": "user", "content": question.prompt}],
            "temperature": config.temperature,
            "top_p": 1.0,
            "max_tokens": config.max_tokens,
            "seed": int(key[:8], 16) + draw,
            "homeroom": {"conversation_id": conversation_id, "user": USER},
        }
        reply = client.post("/v1/chat/completions", body)
        choice = reply["choices"][0]
        said.append(Said(reply["id"], choice["message"]["content"], choice["finish_reason"] == "stop"))
    grades = [rater.grade(answer.text, question.language, answer.ended, question.prompt) for answer in said]
    voted = []
    for answer, grade, value in zip(said, grades, rater.votes(grades), strict=True):
        vote = {"id": f"rater-{answer.message_id}", "message_id": answer.message_id, "value": value, "user": USER}
        client.post("/v1/feedback/votes", vote)
        voted.append(Voted(question, answer, value, rater.reason(grade, max(grades))))
    return voted


def _stored(workspace: Workspace, conversation_id: str) -> list[Said]:
    try:
        messages = workspace.feedback.conversation(conversation_id)
    except FeedbackError:  # not asked yet
        return []
    return [Said(m.id, m.text, m.finish_reason == "stop") for m in messages if m.role == "assistant"]


class _Client:
    """JSON over HTTP to one server. Retries what a busy server asks to retry; every request can be repeated."""

    def __init__(self, url: str) -> None:
        self._url = url
        # A proxy of the environment is not meant for a server in this very process.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def post(self, path: str, body: dict[str, Any], attempts: int = 6) -> dict[str, Any]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        for attempt in range(attempts):
            try:
                with self._opener.open(request, timeout=300) as response:
                    reply: dict[str, Any] = json.load(response)
                    return reply
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503) or attempt == attempts - 1:
                    raise HomeroomError(f"{path} answered {error.code}: {_message(error)}") from error
            time.sleep(0.2 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return error.reason


def _row(vote: Voted) -> dict[str, Any]:
    return {
        "question": vote.question.prompt,
        "answer": vote.answer.text,
        "ended": vote.answer.ended,
        "value": vote.value,
        "reason": vote.reason,
        "message_id": vote.answer.message_id,
    }
