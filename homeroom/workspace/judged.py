"""What people said of answers, each judgement joined with the question, its history and the answers' texts and tokens.

A conversation that nobody may learn from is left out here, which is the only door to training and to export.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, func, select

from homeroom.settings import Json
from homeroom.workspace import tables
from homeroom.workspace.rankings import Choice, Flag, Kind, counted_comparisons, counted_rankings


@dataclass(frozen=True)
class JudgedAnswer:
    """What one user thinks of one answer. Who wrote a better answer and did not vote holds this one to be worse: -1.

    `token_ids` are the sampler's own, with the end token if it came; None for an answer that came without them.
    `vote_id` and `edit_id` are the rows that this was read from.
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
    vote_id: str | None = None
    edit_id: str | None = None
    written = False  # `better_answer` is; this one a model sampled, or it was imported


@dataclass(frozen=True)
class GivenAnswer:
    """An answer as it was given; `token_ids` as those of JudgedAnswer."""

    message_id: str
    text: str
    model_id: str | None
    finish_reason: str | None
    token_ids: list[int] | None
    sampling: dict[str, Json] | None


@dataclass(frozen=True)
class JudgedRanking:
    """The order that one user puts answers to one question in. `answers` are best first, `flags` beside them;
    `tiers` are places in `answers`, those in one tier equally good."""

    id: str
    question: str
    history: list[dict[str, str]]
    answers: list[GivenAnswer]
    tiers: list[list[int]]
    flags: list[list[Flag]]
    ideal_answer: str | None
    question_id: str
    user: str
    at: str


@dataclass(frozen=True)
class JudgedComparison:
    """Which of two answers to one question one user chose, blind, and on which side each was shown."""

    id: str
    question: str
    history: list[dict[str, str]]
    left: GivenAnswer
    right: GivenAnswer
    choice: Choice
    kind: Kind
    question_id: str
    user: str
    at: str


def judged_answers(connection: Connection) -> list[JudgedAnswer]:
    # Later rows overwrite earlier ones, so the newest of a user on a message stays, in its own place in the order.
    votes: dict[tuple[str, str], Row[Any]] = {}
    for row in connection.execute(select(tables.votes).order_by(tables.votes.c.number)):
        votes.pop((row.message_id, row.user), None)
        if row.value:
            votes[row.message_id, row.user] = row
    edits: dict[tuple[str, str], Row[Any]] = {}
    for row in connection.execute(select(tables.edits).order_by(tables.edits.c.number)):
        edits[row.message_id, row.user] = row
    messages = _messages(connection, select(tables.votes.c.message_id).union(select(tables.edits.c.message_id)))
    result = []
    for key in [*votes, *(key for key in edits if key not in votes)]:
        message_id, user = key
        vote, edit = votes.get(key), edits.get(key)
        if message_id not in messages:
            continue
        answer = messages[message_id]
        history = _history(messages, answer.parent_id)
        result.append(
            JudgedAnswer(
                question=_question(history),
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
                vote_id=vote.id if vote else None,
                edit_id=edit.id if edit else None,
            )
        )
    return result


def judged_rankings(connection: Connection) -> list[JudgedRanking]:
    messages = _messages(connection, select(tables.rankings.c.question_id))
    result = []
    for row in counted_rankings(connection):
        if row.question_id not in messages:
            continue
        history = _history(messages, row.question_id)
        ids = [name for tier in row.tiers for name in tier]
        places = iter(range(len(ids)))
        result.append(
            JudgedRanking(
                id=row.id,
                question=_question(history),
                history=history,
                answers=[_given(messages[name]) for name in ids],
                tiers=[[next(places) for _ in tier] for tier in row.tiers],
                flags=[row.flags.get(name, []) for name in ids],
                ideal_answer=row.ideal_answer,
                question_id=row.question_id,
                user=row.user,
                at=row.at,
            )
        )
    return result


def judged_comparisons(connection: Connection) -> list[JudgedComparison]:
    messages = _messages(connection, select(tables.comparisons.c.question_id))
    result = []
    for row in counted_comparisons(connection):
        if row.question_id not in messages:
            continue
        history = _history(messages, row.question_id)
        result.append(
            JudgedComparison(
                id=row.id,
                question=_question(history),
                history=history,
                left=_given(messages[row.left_id]),
                right=_given(messages[row.right_id]),
                choice=row.choice,
                kind=row.kind,
                question_id=row.question_id,
                user=row.user,
                at=row.at,
            )
        )
    return result


def judged_up_to(connection: Connection) -> tuple[int, ...]:
    """Another answer than before says that somebody judged meanwhile; cheap, for who asks often."""
    said = tables.votes, tables.edits, tables.rankings, tables.comparisons
    return tuple(connection.execute(select(func.max(table.c.number))).scalar() or 0 for table in said)


def history_of(connection: Connection, message_id: str) -> list[dict[str, str]]:
    """What was said up to and including this message, whoever may learn from it."""
    turns: list[dict[str, str]] = []
    up: str | None = message_id
    while up is not None:
        message = connection.execute(select(tables.messages).where(tables.messages.c.id == up)).one()
        turns.append({"role": message.role, "content": message.text})
        up = message.parent_id
    return turns[::-1]


def _messages(connection: Connection, of: Any) -> dict[str, Row[Any]]:
    """All messages of the conversations that these are in and that may be learned from."""
    columns, conversations = tables.messages.c, tables.conversations.c
    wanted = [columns.id, columns.conversation_id, columns.parent_id, columns.role, columns.text]
    wanted += [columns.model_id, columns.finish_reason, columns.sampling, columns.token_ids, columns.at]
    judged = select(columns.conversation_id).where(columns.id.in_(of))
    allowed = select(conversations.id).where(conversations.consent, conversations.id.in_(judged))
    rows: Select[Any] = select(*wanted).where(columns.conversation_id.in_(allowed))
    return {row.id: row for row in connection.execute(rows)}


def changed_votes(connection: Connection) -> dict[str, tuple[int, int]]:
    """By user, how many thumbs, and how many said the opposite of the one before it on the same answer."""
    votes, messages, conversations = tables.votes.c, tables.messages.c, tables.conversations.c
    rows = (
        select(votes.user, votes.message_id, votes.value)
        .join(tables.messages, messages.id == votes.message_id)
        .join(tables.conversations, conversations.id == messages.conversation_id)
        .where(votes.value != 0, conversations.consent)
        .order_by(votes.number)
    )
    last: dict[tuple[str, str], int] = {}
    found: dict[str, tuple[int, int]] = {}
    for row in connection.execute(rows):
        key, (given, turned) = (row.user, row.message_id), found.get(row.user, (0, 0))
        found[row.user] = given + 1, turned + (last.get(key, row.value) != row.value)
        last[key] = row.value
    return found


def _given(message: Row[Any]) -> GivenAnswer:
    made = message.model_id, message.finish_reason, message.token_ids, message.sampling
    return GivenAnswer(message.id, message.text, *made)


def _history(messages: dict[str, Row[Any]], message_id: str | None) -> list[dict[str, str]]:
    turns = []
    while message_id is not None:
        message = messages[message_id]
        turns.append({"role": message.role, "content": message.text})
        message_id = message.parent_id
    return turns[::-1]


def _question(history: Sequence[dict[str, str]]) -> str:
    questions = [turn["content"] for turn in history if turn["role"] == "user"]
    return questions[-1] if questions else ""
