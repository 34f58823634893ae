"""What people said: conversations, votes, better answers, rankings and comparisons.

Rows are only added and every call can be repeated: with the id that the caller gave, the second is answered with what
the first wrote. What alone changes is whether a conversation may be learned from, and what alone removes is
deletion.py. How judgements become training data is in judged.py, what a ranking has to be in rankings.py, how
conversations are found again in search.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, select, update

from homeroom.settings import Json
from homeroom.workspace import rankings, tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import FeedbackError
from homeroom.workspace.judged import (
    JudgedAnswer,
    JudgedComparison,
    JudgedRanking,
    changed_votes,
    judged_answers,
    judged_comparisons,
    judged_rankings,
)
from homeroom.workspace.rankings import Choice, Comparison, Flag, Kind, Ranking
from homeroom.workspace.rows import add, newest, read, require, require_answer, valid
from homeroom.workspace.search import Listed, search, titles

Role = Literal["system", "user", "assistant"]
Value = Literal[1, 0, -1]


@dataclass(frozen=True)
class Conversation:
    """`consent`: whether anybody may learn from it."""

    id: str
    user: str
    at: str
    consent: bool = True


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
    """The value 0 withdraws what the user voted before."""

    id: str
    message_id: str
    user: str
    value: Value
    at: str


@dataclass(frozen=True)
class Edit:
    """A better answer that a person wrote."""

    id: str
    message_id: str
    user: str
    text: str
    at: str


class Feedback:
    def __init__(self, database: Database) -> None:
        self._database = database

    def open_conversation(self, id: str | None = None, user: str = "local", *, consent: bool = True) -> Conversation:
        with self._database.write() as connection:
            given = {"id": id, "user": user}
            return add(connection, tables.conversations, Conversation, given, {"consent": consent})

    def set_consent(self, conversation_id: str, consent: bool) -> Conversation:
        """Whether anybody may learn from this conversation, from now on: what was learned before is not unlearned."""
        with self._database.write() as connection:
            require(connection, tables.conversations, conversation_id, "conversation", "conversation_id")
            conversations = tables.conversations
            connection.execute(
                update(conversations).where(conversations.c.id == conversation_id).values(consent=consent)
            )
            changed = require(connection, conversations, conversation_id, "conversation", "conversation_id")
            return read(Conversation, changed)

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
        given = {"id": id, "conversation_id": conversation_id, "role": role, "text": valid(text)}
        extra = {
            "model_id": model_id,
            "sampling": sampling,
            "token_ids": token_ids,
            "finish_reason": finish_reason,
        }
        with self._database.write() as connection:
            require(connection, tables.conversations, conversation_id, "conversation")
            if parent_id is not None:
                _require_in(connection, parent_id, conversation_id)
            else:
                parent_id = connection.execute(
                    select(tables.messages.c.id)
                    .where(tables.messages.c.conversation_id == conversation_id)
                    .order_by(tables.messages.c.number.desc())
                    .limit(1)
                ).scalar()
            return add(connection, tables.messages, Message, given, extra | {"parent_id": parent_id})

    def extend(self, id: str | None, user: str, said: Sequence[tuple[Role, str]]) -> tuple[str, str]:
        """Walk a conversation's tree along what was said and add what it lacks, all of it or nothing.

        Gives the ids of the conversation and of the last message. Without an id, or with a new one, it begins.
        """
        if not said:
            raise FeedbackError("nothing was said")
        with self._database.write() as connection:
            given = {"id": id, "user": user}
            conversation = add(connection, tables.conversations, Conversation, given, {"consent": True}).id
            message = tables.messages.c
            rows = select(message.id, message.parent_id, message.role, message.text)
            stored = connection.execute(rows.where(message.conversation_id == conversation)).all()
            known = {(row.parent_id, row.role, row.text): row.id for row in stored}
            parent_id: str | None = None
            for role, text in said:
                place = (parent_id, role, valid(text))
                if place not in known:
                    # Where nothing was answered yet (a first answer that was stopped, say), there is nothing to go on
                    # from.
                    if parent_id is None and any(row.role == "assistant" for row in stored):
                        raise FeedbackError(
                            f"conversation {conversation} begins with another message than this request. "
                            "Send the conversation from its beginning, or leave its id out to begin a new one."
                        )
                    message_given = {"id": None, "conversation_id": conversation, "role": role, "text": place[2]}
                    extra = dict.fromkeys(("model_id", "sampling", "token_ids", "finish_reason"))
                    added = add(connection, tables.messages, Message, message_given, extra | {"parent_id": parent_id})
                    known[place] = added.id
                parent_id = known[place]
        assert parent_id is not None
        return conversation, parent_id

    def ask(self, id: str | None, user: str, text: str, under: str | None, *, consent: bool = True) -> tuple[str, str]:
        """Add a question at a place of a conversation's tree, unless it is there: under a message, or (None) at its
        beginning, which may have been asked in several ways. `consent` is that of a conversation that begins with it.

        `extend` finds the place by what was said; where two answers are the same, only their ids tell them apart.
        Gives the ids of the conversation and of the question. Without an id, or with a new one, it begins.
        """
        with self._database.write() as connection:
            given = {"id": id, "user": user}
            conversation = add(connection, tables.conversations, Conversation, given, {"consent": consent}).id
            if under is not None:
                _require_in(connection, under, conversation)
            given = {"id": None, "conversation_id": conversation, "role": "user", "text": valid(text)}
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
            return conversation, add(connection, tables.messages, Message, given, extra | {"parent_id": under}).id

    def vote(self, message_id: str, value: Value, *, id: str | None = None, user: str = "local") -> Vote:
        """The newest vote of a user on a message counts; 0 withdraws it. When this returns, the vote is on the disk."""
        return self.vote_all([(message_id, value, id)], user=user)[0]

    def vote_all(self, votes: Iterable[tuple[str, Value, str | None]], *, user: str = "local") -> list[Vote]:
        """Several votes (message, value, id), as many answers to one question have: all are recorded, or none."""
        recorded = []
        with self._database.write() as connection:
            for message_id, value, id in votes:
                if value not in (1, 0, -1) or isinstance(value, bool):
                    raise FeedbackError(f"a vote is 1 or -1, or 0 to withdraw it, not {value!r}")
                require_answer(connection, message_id)
                given = {"id": id, "message_id": message_id, "user": user, "value": value}
                recorded.append(add(connection, tables.votes, Vote, given))
        return recorded

    def edit(self, message_id: str, text: str, *, id: str | None = None, user: str = "local") -> Edit:
        """Record a better answer than this message."""
        if not text.strip():
            raise FeedbackError("a better answer cannot be empty")
        with self._database.write() as connection:
            require_answer(connection, message_id)
            given = {"id": id, "message_id": message_id, "user": user, "text": valid(text)}
            return add(connection, tables.edits, Edit, given)

    def conversation(self, id: str) -> list[Message]:
        """Its messages in the order in which they were written."""
        with self._database.read() as connection:
            require(connection, tables.conversations, id, "conversation")
            rows = connection.execute(
                select(tables.messages)
                .where(tables.messages.c.conversation_id == id)
                .order_by(tables.messages.c.number)
            )
            return [read(Message, row) for row in rows]

    def conversations(self, limit: int = 100, user: str | None = None) -> list[Conversation]:
        """The newest first, a user's alone if asked."""
        latest = select(tables.conversations).order_by(tables.conversations.c.number.desc()).limit(limit)
        if user is not None:
            latest = latest.where(tables.conversations.c.user == user)
        with self._database.read() as connection:
            return [read(Conversation, row) for row in connection.execute(latest)]

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
            return str(
                require(connection, tables.conversations, conversation_id, "conversation", "conversation_id").user
            )

    def may_learn_from(self, conversation_id: str) -> bool:
        with self._database.read() as connection:
            return bool(require(connection, tables.conversations, conversation_id, "conversation").consent)

    def message(self, id: str) -> Message:
        with self._database.read() as connection:
            return read(Message, require(connection, tables.messages, id, "message"))

    def vote_on(self, message_id: str, user: str = "local") -> Vote | None:
        """The vote of this user that counts."""
        last = (
            select(tables.votes)
            .where(tables.votes.c.message_id == message_id, tables.votes.c.user == user)
            .order_by(tables.votes.c.number.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(last).one_or_none()
        return read(Vote, row) if row and row.value else None

    def votes_in(self, conversation_id: str, user: str = "local") -> dict[str, Literal[1, -1]]:
        """The votes of this user that count, by the messages of a conversation."""
        votes, messages = tables.votes.c, tables.messages.c
        of_it = select(messages.id).where(messages.conversation_id == conversation_id)
        rows = select(votes.message_id, votes.value).where(votes.user == user, votes.message_id.in_(of_it))
        with self._database.read() as connection:
            last = {row.message_id: row.value for row in connection.execute(rows.order_by(votes.number))}
        return {message_id: value for message_id, value in last.items() if value}

    def better_answers(self, conversation_id: str, user: str = "local") -> dict[str, str]:
        """What this user would have wanted to read instead, by the messages of a conversation."""
        edits, messages = tables.edits.c, tables.messages.c
        of_it = select(messages.id).where(messages.conversation_id == conversation_id)
        rows = select(edits.message_id, edits.text).where(edits.user == user, edits.message_id.in_(of_it))
        with self._database.read() as connection:
            return {row.message_id: row.text for row in connection.execute(rows.order_by(edits.number))}

    def rank(
        self,
        question_id: str,
        tiers: Sequence[Sequence[str]],
        *,
        flags: Mapping[str, Sequence[Flag]] | None = None,
        ideal_answer: str | None = None,
        id: str | None = None,
        user: str = "local",
    ) -> Ranking:
        """Record an order of answers to one question: tiers of messages' ids, best first, ties in one tier.

        The newest of a person on a question counts. `flags` are by answers' ids.
        """
        with self._database.write() as connection:
            return rankings.rank(connection, question_id, tiers, flags or {}, ideal_answer, id, user)

    def skip(self, question_id: str, *, id: str | None = None, user: str = "local") -> Ranking:
        """Record that the person will not rank the answers to this question."""
        with self._database.write() as connection:
            return rankings.skip(connection, question_id, id, user)

    def withdraw_ranking(self, question_id: str, *, id: str | None = None, user: str = "local") -> Ranking:
        """Take back what the person said last of this question: a ranking, or that it was skipped."""
        with self._database.write() as connection:
            return rankings.withdraw(connection, question_id, id, user)

    def ranking_by(self, question_id: str, user: str = "local") -> Ranking | None:
        """The person's ranking (or skip) of this question that counts."""
        with self._database.read() as connection:
            return rankings.ranking_by(connection, question_id, user)

    def compare(
        self,
        left_id: str,
        right_id: str,
        choice: Choice,
        *,
        kind: Kind = "samples",
        id: str | None = None,
        user: str = "local",
    ) -> Comparison:
        """Record a choice between two answers to one question, with the side that each was shown on.

        `kind` is "samples" of one model or "trial", of candidate against champion. The newest choice of a person
        between two answers counts.
        """
        with self._database.write() as connection:
            return rankings.compare(connection, left_id, right_id, choice, kind, id, user)

    def votes(self) -> list[JudgedAnswer]:
        """Every answer that was judged, once for each user who did, in the order of the judgements that count.

        Like `ranked` and `compared` without conversations that nobody may learn from.
        """
        with self._database.read() as connection:
            return judged_answers(connection)

    def changed(self) -> dict[str, tuple[int, int]]:
        """How many thumbs each user gave, and how many said the opposite of the one before it on the same answer.

        Like `votes` without conversations that nobody may learn from.
        """
        with self._database.read() as connection:
            return changed_votes(connection)

    def ranked(self) -> list[JudgedRanking]:
        """Every ranking that counts, with the question and the answers, in the order in which they came."""
        with self._database.read() as connection:
            return judged_rankings(connection)

    def compared(self) -> list[JudgedComparison]:
        """Every comparison that counts, with the question and the answers, in the order in which they came."""
        with self._database.read() as connection:
            return judged_comparisons(connection)

    def counts(self) -> dict[str, int]:
        """How much there is. Votes, rankings and comparisons are those that count."""
        votes = tables.votes
        with self._database.read() as connection:
            last = select(votes.c.value).where(newest(votes, "message_id", "user"))
            values = list(connection.execute(last).scalars())
            rows = {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (tables.conversations, tables.messages, tables.edits, tables.items)
            }
            ranked = {
                "rankings": len(rankings.counted_rankings(connection)),
                "comparisons": len(rankings.counted_comparisons(connection)),
            }
        up, down = values.count(1), values.count(-1)
        return rows | {"votes": up + down, "up": up, "down": down} | ranked


def _require_in(connection: Connection, message_id: str, conversation_id: str) -> None:
    if require(connection, tables.messages, message_id, "message").conversation_id != conversation_id:
        raise FeedbackError(f"message {message_id} is not in conversation {conversation_id}")
