"""Votes and better answers, each joined with the question and the history that the answer was given to."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, select

from homeroom.settings import Json
from homeroom.workspace import tables


@dataclass(frozen=True)
class JudgedAnswer:
    """What one user thinks of one answer. Who wrote a better answer and did not vote holds this one to be worse: -1.

    `token_ids` are the sampler's own, with the end token if it came; None for an answer that came without them.
    """

    question: str
    history: list[dict[str, str]]  # role and content, up to and including the question
    answer: str
    value: Literal[1, -1]
    better_answer: str | None
    message_id: str
    model_id: str | None
    user: str
    finish_reason: str | None
    token_ids: list[int] | None
    sampling: dict[str, Json] | None
    at: str


def judged_answers(connection: Connection) -> list[JudgedAnswer]:
    # Later rows overwrite earlier ones, so the newest of a user on a message stays, in its own place in the order.
    votes: dict[tuple[str, str], Row[Any]] = {}
    for row in connection.execute(select(tables.votes).order_by(tables.votes.c.number)):
        votes.pop((row.message_id, row.user), None)
        votes[row.message_id, row.user] = row
    edits: dict[tuple[str, str], Row[Any]] = {}
    for row in connection.execute(select(tables.edits).order_by(tables.edits.c.number)):
        edits[row.message_id, row.user] = row
    messages = _judged_conversations(connection)
    result = []
    for key in [*votes, *(key for key in edits if key not in votes)]:
        message_id, user = key
        answer, vote, edit = messages[message_id], votes.get(key), edits.get(key)
        history = _history(messages, answer.parent_id)
        questions = [turn["content"] for turn in history if turn["role"] == "user"]
        result.append(
            JudgedAnswer(
                question=questions[-1] if questions else "",
                history=history,
                answer=answer.text,
                value=vote.value if vote else -1,
                better_answer=edit.text if edit else None,
                message_id=message_id,
                model_id=answer.model_id,
                user=user,
                finish_reason=answer.finish_reason,
                token_ids=answer.token_ids,
                sampling=answer.sampling,
                at=vote.at if vote else edit.at if edit else answer.at,
            )
        )
    return result


def _judged_conversations(connection: Connection) -> dict[str, Row[Any]]:
    """All messages of the conversations in which an answer was judged."""
    columns = tables.messages.c
    wanted = [columns.id, columns.conversation_id, columns.parent_id, columns.role, columns.text]
    wanted += [columns.model_id, columns.finish_reason, columns.sampling, columns.token_ids, columns.at]
    judged = select(tables.votes.c.message_id).union(select(tables.edits.c.message_id))
    conversations = select(columns.conversation_id).where(columns.id.in_(judged))
    rows = connection.execute(select(*wanted).where(columns.conversation_id.in_(conversations)))
    return {row.id: row for row in rows}


def _history(messages: dict[str, Row[Any]], message_id: str | None) -> list[dict[str, str]]:
    turns = []
    while message_id is not None:
        message = messages[message_id]
        turns.append({"role": message.role, "content": message.text})
        message_id = message.parent_id
    return turns[::-1]
