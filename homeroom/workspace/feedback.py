"""Conversations, votes and better answers. Nothing is ever changed or removed, and every call can be repeated:
with the id that the caller gave, the second is answered with what the first wrote.

How votes become training data is in judged.py, how conversations are found again in search.py.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Row, Table, func, insert, select

from homeroom.settings import Json, whole_characters
from homeroom.workspace import tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import FeedbackError, NotRecorded
from homeroom.workspace.judged import JudgedAnswer, judged_answers
from homeroom.workspace.search import Listed, search, titles

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Conversation:
    id: str
    user: str
    at: str


@dataclass(frozen=True)
class Message:
    """`parent_id` is the message that it follows; answers made again to one question have the same."""

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    text: str
    model_id: str | None
    sampling: dict[str, Json] | None
    token_ids: list[int] | None
    finish_reason: str | None
    at: str


@dataclass(frozen=True)
class Vote:
    id: str
    message_id: str
    user: str
    value: Literal[1, -1]
    at: str


@dataclass(frozen=True)
class Edit:
    """A better answer that a person wrote."""

    id: str
    message_id: str
    user: str
    text: str
    at: str


RowType = TypeVar("RowType", Conversation, Message, Vote, Edit)


class Feedback:
    def __init__(self, database: Database) -> None:
        self._database = database

    def open_conversation(self, id: str | None = None, user: str = "local") -> Conversation:
        with self._database.write() as connection:
            return _add(connection, tables.conversations, Conversation, {"id": id, "user": user})

    def add_message(
        self,
        conversation_id: str,
        role: Role,
        text: str,
        *,
        id: str | None = None,
        parent_id: str | None = None,
        model_id: str | None = None,
        sampling: dict[str, Json] | None = None,
        token_ids: list[int] | None = None,
        finish_reason: str | None = None,
    ) -> Message:
        """Without `parent_id` it follows the newest message of the conversation."""
        if role not in ("system", "user", "assistant"):
            raise FeedbackError(f"a message's role is 'system', 'user' or 'assistant', not {role!r}")
        given = {"id": id, "conversation_id": conversation_id, "role": role, "text": _valid(text)}
        extra = {
            "model_id": model_id,
            "sampling": sampling,
            "token_ids": token_ids,
            "finish_reason": finish_reason,
        }
        with self._database.write() as connection:
            _require(connection, tables.conversations, conversation_id, "conversation")
            if parent_id is not None:
                _require_in(connection, parent_id, conversation_id)
            else:
                parent_id = connection.execute(
                    select(tables.messages.c.id)
                    .where(tables.messages.c.conversation_id == conversation_id)
                    .order_by(tables.messages.c.number.desc())
                    .limit(1)
                ).scalar()
            return _add(connection, tables.messages, Message, given, extra | {"parent_id": parent_id})

    def extend(self, id: str | None, user: str, said: Sequence[tuple[Role, str]]) -> tuple[str, str]:
        """Walk a conversation's tree along what was said and add what it lacks, all of it or nothing.

        Gives the ids of the conversation and of the last message. Without an id, or with a new one, it begins.
        """
        if not said:
            raise FeedbackError("nothing was said")
        with self._database.write() as connection:
            conversation = _add(connection, tables.conversations, Conversation, {"id": id, "user": user}).id
            message = tables.messages.c
            rows = select(message.id, message.parent_id, message.role, message.text)
            stored = connection.execute(rows.where(message.conversation_id == conversation)).all()
            known = {(row.parent_id, row.role, row.text): row.id for row in stored}
            parent_id: str | None = None
            for role, text in said:
                place = (parent_id, role, _valid(text))
                if place not in known:
                    # Where nothing was answered yet (a first answer that was stopped, say), there is nothing to go on
                    # from.
                    if parent_id is None and any(row.role == "assistant" for row in stored):
                        raise FeedbackError(
                            f"conversation {conversation} begins with another message than this request. "
                            "Send the conversation from its beginning, or leave its id out to begin a new one."
                        )
                    given = {"id": None, "conversation_id": conversation, "role": role, "text": place[2]}
                    extra = dict.fromkeys(("model_id", "sampling", "token_ids", "finish_reason"))
                    added = _add(connection, tables.messages, Message, given, extra | {"parent_id": parent_id})
                    known[place] = added.id
                parent_id = known[place]
        assert parent_id is not None
        return conversation, parent_id

    def ask(self, id: str | None, user: str, text: str, under: str | None) -> tuple[str, str]:
        """Add a question at a place of a conversation's tree, unless it is there: under a message, or (None) at its
        beginning, which may have been asked in several ways.

        `extend` finds the place by what was said; where two answers are the same, only their ids tell them apart.
        Gives the ids of the conversation and of the question. Without an id, or with a new one, it begins.
        """
        with self._database.write() as connection:
            conversation = _add(connection, tables.conversations, Conversation, {"id": id, "user": user}).id
            if under is not None:
                _require_in(connection, under, conversation)
            given = {"id": None, "conversation_id": conversation, "role": "user", "text": _valid(text)}
            message = tables.messages.c
            stored = connection.execute(
                select(message.id).where(
                    message.conversation_id == conversation,
                    message.parent_id == under,
                    message.role == "user",
                    message.text == given["text"],
                )
            ).scalar()
            if stored is not None:
                return conversation, stored
            extra = dict.fromkeys(("model_id", "sampling", "token_ids", "finish_reason"))
            return conversation, _add(connection, tables.messages, Message, given, extra | {"parent_id": under}).id

    def vote(self, message_id: str, value: Literal[1, -1], *, id: str | None = None, user: str = "local") -> Vote:
        """The newest vote of a user on a message counts. When this returns, the vote is on the disk."""
        return self.vote_all([(message_id, value, id)], user=user)[0]

    def vote_all(self, votes: Iterable[tuple[str, Literal[1, -1], str | None]], *, user: str = "local") -> list[Vote]:
        """Several votes (message, value, id), as many answers to one question have: all are recorded, or none."""
        recorded = []
        with self._database.write() as connection:
            for message_id, value, id in votes:
                if value not in (1, -1) or isinstance(value, bool):
                    raise FeedbackError(f"a vote is 1 or -1, not {value!r}")
                _require_answer(connection, message_id)
                given = {"id": id, "message_id": message_id, "user": user, "value": value}
                recorded.append(_add(connection, tables.votes, Vote, given))
        return recorded

    def edit(self, message_id: str, text: str, *, id: str | None = None, user: str = "local") -> Edit:
        """Record a better answer than this message."""
        if not text.strip():
            raise FeedbackError("a better answer cannot be empty")
        with self._database.write() as connection:
            _require_answer(connection, message_id)
            given = {"id": id, "message_id": message_id, "user": user, "text": _valid(text)}
            return _add(connection, tables.edits, Edit, given)

    def conversation(self, id: str) -> list[Message]:
        """Its messages in the order in which they were written."""
        with self._database.read() as connection:
            _require(connection, tables.conversations, id, "conversation")
            rows = connection.execute(
                select(tables.messages)
                .where(tables.messages.c.conversation_id == id)
                .order_by(tables.messages.c.number)
            )
            return [_read(Message, row) for row in rows]

    def conversations(self, limit: int = 100, user: str | None = None) -> list[Conversation]:
        """The newest first, a user's alone if asked."""
        newest = select(tables.conversations).order_by(tables.conversations.c.number.desc()).limit(limit)
        if user is not None:
            newest = newest.where(tables.conversations.c.user == user)
        with self._database.read() as connection:
            return [_read(Conversation, row) for row in connection.execute(newest)]

    def titles(self, user: str, limit: int) -> list[Listed]:
        """A user's conversations by their first question, the newest first."""
        with self._database.read() as connection:
            return titles(connection, user, limit)

    def search(self, user: str, text: str, limit: int) -> list[Listed]:
        """A user's conversations in which every word of `text` was said, the newest first."""
        with self._database.read() as connection:
            return search(connection, user, text, limit)

    def user_of(self, conversation_id: str) -> str:
        """Whose conversation it is."""
        with self._database.read() as connection:
            return str(_require(connection, tables.conversations, conversation_id, "conversation").user)

    def message(self, id: str) -> Message:
        with self._database.read() as connection:
            return _read(Message, _require(connection, tables.messages, id, "message"))

    def vote_on(self, message_id: str, user: str = "local") -> Vote | None:
        """The vote of this user that counts."""
        newest = (
            select(tables.votes)
            .where(tables.votes.c.message_id == message_id, tables.votes.c.user == user)
            .order_by(tables.votes.c.number.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(newest).one_or_none()
        return _read(Vote, row) if row else None

    def votes_in(self, conversation_id: str, user: str = "local") -> dict[str, Literal[1, -1]]:
        """The votes of this user that count, by the messages of a conversation."""
        votes, messages = tables.votes.c, tables.messages.c
        of_it = select(messages.id).where(messages.conversation_id == conversation_id)
        rows = select(votes.message_id, votes.value).where(votes.user == user, votes.message_id.in_(of_it))
        with self._database.read() as connection:
            return {row.message_id: row.value for row in connection.execute(rows.order_by(votes.number))}

    def better_answers(self, conversation_id: str, user: str = "local") -> dict[str, str]:
        """What this user would have wanted to read instead, by the messages of a conversation."""
        edits, messages = tables.edits.c, tables.messages.c
        of_it = select(messages.id).where(messages.conversation_id == conversation_id)
        rows = select(edits.message_id, edits.text).where(edits.user == user, edits.message_id.in_(of_it))
        with self._database.read() as connection:
            return {row.message_id: row.text for row in connection.execute(rows.order_by(edits.number))}

    def votes(self) -> list[JudgedAnswer]:
        """Every answer that was judged, once for each user who did, in the order of the judgements that count."""
        with self._database.read() as connection:
            return judged_answers(connection)

    def counts(self) -> dict[str, int]:
        """How much there is. `votes` counts those that count: one for each user and message."""
        with self._database.read() as connection:
            values = list(connection.execute(select(tables.votes.c.value).where(_newest_votes())).scalars())
            rows = {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (tables.conversations, tables.messages, tables.edits)
            }
        return rows | {"votes": len(values), "up": values.count(1), "down": values.count(-1)}


def _newest_votes() -> Any:
    newest = select(func.max(tables.votes.c.number)).group_by(tables.votes.c.message_id, tables.votes.c.user)
    return tables.votes.c.number.in_(newest)


def _add(
    connection: Connection,
    table: Table,
    kind: type[RowType],
    given: dict[str, Any],
    extra: dict[str, Any] | None = None,
) -> RowType:
    """Insert, unless a row has the given id: then that row, provided that it says the same as `given`."""
    if given["id"] is not None:
        row = connection.execute(select(table).where(table.c.id == given["id"])).one_or_none()
        if row is not None:
            if differing := [key for key, value in given.items() if getattr(row, key) != value]:
                raise FeedbackError(
                    f"id {given['id']} in {table.name} was used before with another {', '.join(differing)}. "
                    "An id may be sent again only with the same content; leave it out to have one made."
                )
            return _read(kind, row)
    values = given | (extra or {}) | {"id": given["id"] or uuid.uuid4().hex, "at": tables.now()}
    connection.execute(insert(table).values(**values))
    return kind(**values)


def _read(kind: type[RowType], row: Row[Any]) -> RowType:
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)})


def _require(connection: Connection, table: Table, id: str, noun: str) -> Row[Any]:
    row = connection.execute(select(table).where(table.c.id == id)).one_or_none()
    if row is None:
        raise NotRecorded(f"there is no {noun} {id!r}")
    return row


def _require_in(connection: Connection, message_id: str, conversation_id: str) -> None:
    if _require(connection, tables.messages, message_id, "message").conversation_id != conversation_id:
        raise FeedbackError(f"message {message_id} is not in conversation {conversation_id}")


def _require_answer(connection: Connection, message_id: str) -> None:
    if (role := _require(connection, tables.messages, message_id, "message").role) != "assistant":
        raise FeedbackError(f"message {message_id} is the {role}'s: only the assistant's answers are judged")


def _valid(text: str) -> str:
    """As a database takes it, and without NUL, which ends a text for many a program."""
    return whole_characters(text).replace("\0", "\ufffd")
