"""Whom to ask to rank what: questions whose answers wait for an order.

A share of the items goes to several annotators, so that their agreement can be measured; every other goes to one. Who
was shown an item holds it for a while, so that no two work on it by accident. What a ranking is, is in rankings.py.
"""

import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, insert, or_, select

from homeroom.workspace import tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import FeedbackError, NotRecorded
from homeroom.workspace.judged import history_of
from homeroom.workspace.questions import NewAnswer, record_question
from homeroom.workspace.rankings import Ranking, withdraw
from homeroom.workspace.rows import newest, read, repeated, valid

HELD_SECONDS = 30 * 60
FIRST_DRAWN = 1000  # questions that become items in one call: the others wait for the next


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many answers an item made of a conversation has, which share of the items several people rank, and how
    many do."""

    answers: int = 4
    shared: float = 0.2
    annotators: int = 3

    def wanted(self, question_id: str) -> int:
        """How many people are to rank this question."""
        return self.annotators if _draw("shared", question_id) < self.shared * 2**64 else 1


@dataclass(frozen=True)
class Item:
    """A question and the answers to rank, by their messages' ids."""

    id: str
    question_id: str
    answer_ids: list[str]


@dataclass(frozen=True)
class ShownAnswer:
    id: str
    text: str


@dataclass(frozen=True)
class ShownItem:
    """An item as one person is to see it: not whose the answers are, and in an order of the person's own."""

    id: str
    question_id: str
    history: list[dict[str, str]]
    answers: list[ShownAnswer]


@dataclass(frozen=True)
class Progress:
    """What one person did, and how many items wait for this person."""

    ranked: int
    skipped: int
    waiting: int


PLAN = Plan()


class Queue:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._drawn: dict[int, int] = {}  # by a plan's `answers` the newest message that was looked at

    def add_item(
        self,
        messages: Sequence[Mapping[str, str]],
        answers: Iterable[NewAnswer | str],
        *,
        id: str | None = None,
        user: str = "local",
    ) -> Item:
        """Put a question (`messages`, role and content, the question last) with its answers into the queue.

        They become a conversation of `user`.
        """
        given = [NewAnswer(answer) if isinstance(answer, str) else answer for answer in answers]
        if len({valid(answer.text) for answer in given}) < max(2, len(given)):
            raise FeedbackError("an item has at least two answers, and no two that say the same")
        if id is not None and len(id) > 70:
            raise FeedbackError("an item's id has at most 70 characters")
        name = id or uuid.uuid4().hex
        with self._database.write() as connection:
            question_id, answer_ids = record_question(connection, f"item-{name}", user, messages, given)
            row = connection.execute(select(tables.items).where(tables.items.c.id == name)).one_or_none()
            if row is None:
                return _enter(connection, name, question_id, answer_ids)
            if (row.question_id, row.answer_ids) != (question_id, answer_ids):
                raise FeedbackError(f"id {name} in items was used before with other messages or answers")
            return Item(row.id, row.question_id, row.answer_ids)

    def next(self, user: str, plan: Plan = PLAN) -> ShownItem | None:
        """What this person is to rank now; the same until it is ranked or skipped. None: nothing waits.

        First what the person took back, then what was shown and not done, then what waits the longest.
        """
        with self._database.write() as connection:
            self._draw_items(connection, plan)
            claims = _claims(connection)
            waiting = _waiting(connection, user, plan, claims)
            if not waiting:
                return None
            chosen = waiting[0]
            if (chosen, user) not in claims:
                claim = {"item_id": chosen, "user": user, "at": tables.now()}
                connection.execute(insert(tables.claims).values(**claim))
            return _shown(connection, chosen, user)

    def progress(self, user: str, plan: Plan = PLAN) -> Progress:
        with self._database.write() as connection:
            self._draw_items(connection, plan)
            states = Counter(_said_by(connection, user).values())
            return Progress(
                states["ranked"], states["skipped"], len(_waiting(connection, user, plan, _claims(connection)))
            )

    def ranked_since(self, user: str, since: str) -> int:
        """How many rankings of this person that count were made since that moment."""
        rankings = tables.rankings.c
        counted = newest(tables.rankings, "question_id", "user"), rankings.user == user, rankings.state == "ranked"
        with self._database.read() as connection:
            of_it = select(func.count()).select_from(tables.rankings).where(*counted, rankings.at >= since)
            return int(connection.execute(of_it).scalar_one())

    def taken_back(self, question_id: str, user: str) -> Ranking | None:
        """The order that this person gave last and took back, to begin with when the item comes again."""
        rankings = tables.rankings.c
        given = select(tables.rankings).where(
            rankings.question_id == question_id, rankings.user == user, rankings.state == "ranked"
        )
        with self._database.read() as connection:
            row = connection.execute(given.order_by(rankings.number.desc()).limit(1)).one_or_none()
        return None if row is None else read(Ranking, row)

    def has(self, id: str) -> bool:
        """Whether there is an item of this id."""
        with self._database.read() as connection:
            return connection.execute(select(tables.items.c.id).where(tables.items.c.id == id)).first() is not None

    def undo(self, user: str, *, id: str | None = None) -> Ranking:
        """Take back what this person ranked or skipped last; `next` then shows it again."""
        rankings = tables.rankings
        with self._database.write() as connection:
            if id is not None:
                stored = connection.execute(select(rankings).where(rankings.c.id == id)).one_or_none()
                given = {"id": id, "user": user, "state": "withdrawn"}
                if stored and (done := repeated(connection, rankings, Ranking, given)):
                    return done
            counted = select(rankings.c.question_id).where(
                newest(rankings, "question_id", "user"), rankings.c.user == user, rankings.c.state != "withdrawn"
            )
            last = connection.execute(counted.order_by(rankings.c.number.desc()).limit(1)).scalar()
            if last is None:
                raise NotRecorded(f"there is nothing that {user!r} ranked or skipped to take back", "user")
            return withdraw(connection, last, id, user)

    def _draw_items(self, connection: Connection, plan: Plan) -> None:
        """Make items of questions in conversations that have answers enough by now."""
        messages, items = tables.messages.c, tables.items.c
        last = connection.execute(select(func.max(messages.number))).scalar() or 0
        seen = self._drawn.get(plan.answers, 0)
        if last <= seen:
            return
        finished = or_(messages.finish_reason.is_(None), messages.finish_reason != "cancelled")
        is_answer = (messages.role == "assistant") & (messages.text != "") & finished
        of_new = select(messages.parent_id).where(messages.number > seen, messages.parent_id.is_not(None))
        asked = select(messages.id).where(messages.role == "user", messages.id.in_(of_new))
        questions = connection.execute(
            select(messages.parent_id)
            .where(is_answer, messages.parent_id.in_(asked), messages.parent_id.not_in(select(items.question_id)))
            .group_by(messages.parent_id)
            .having(func.count(messages.text.distinct()) >= plan.answers)
            .order_by(func.min(messages.number))
            .limit(FIRST_DRAWN)
        ).scalars()
        names = list(questions)
        for question_id in names:
            rows = connection.execute(
                select(messages.id, messages.text).where(is_answer, messages.parent_id == question_id)
            )
            ids = list({row.text: row.id for row in rows}.values())
            ids.sort(key=lambda id: _draw("answers", question_id, id))
            _enter(connection, uuid.uuid4().hex, question_id, ids[: plan.answers])
        if len(names) < FIRST_DRAWN:
            self._drawn[plan.answers] = last


def _waiting(connection: Connection, user: str, plan: Plan, claims: Mapping[tuple[str, str], int]) -> list[str]:
    """The ids of the items that this person may be shown, the first one first.

    Who skipped an item and takes that back may find that somebody else holds it as well: who came first goes first.
    """
    items, conversations, messages = tables.items, tables.conversations.c, tables.messages.c
    said = _said_by(connection, user)
    holders: dict[str, set[str]] = defaultdict(set)
    for (item_id, holder), number in claims.items():
        if number < claims.get((item_id, user), number + 1):
            holders[item_id].add(holder)
    rankings = tables.rankings
    ranked: dict[str, set[str]] = defaultdict(set)
    counted = newest(rankings, "question_id", "user"), rankings.c.state == "ranked"
    for row in connection.execute(select(rankings.c.question_id, rankings.c.user).where(*counted)):
        ranked[row.question_id].add(row.user)
    allowed = (
        select(items.c.id, items.c.question_id)
        .join(tables.messages, messages.id == items.c.question_id)
        .join(tables.conversations, conversations.id == messages.conversation_id)
        .where(conversations.consent)
        .order_by(items.c.number)
    )
    waiting = []
    taken_back = {question_id: place for place, question_id in enumerate(said)}  # the newest has the highest
    for item_id, question_id in connection.execute(allowed):
        if said.get(question_id, "withdrawn") != "withdrawn":
            continue
        others = (ranked.get(question_id, set()) | holders.get(item_id, set())) - {user}
        if not others or len(others) < plan.wanted(question_id):
            waiting.append((-taken_back.get(question_id, -1), (item_id, user) not in claims, item_id))
    return [item_id for _, _, item_id in sorted(waiting, key=lambda one: one[:2])]


def _said_by(connection: Connection, user: str) -> dict[str, str]:
    """What counts of what this person said: the state by question, the oldest first."""
    rankings = tables.rankings
    said = select(rankings.c.question_id, rankings.c.state).where(
        newest(rankings, "question_id", "user"), rankings.c.user == user
    )
    return {row.question_id: row.state for row in connection.execute(said.order_by(rankings.c.number))}


def _claims(connection: Connection) -> dict[tuple[str, str], int]:
    """Which items are held by whom, without those that the holder has ranked or skipped; a lower number came first."""
    rankings, claims, items = tables.rankings, tables.claims.c, tables.items.c
    since = (datetime.now(UTC) - timedelta(seconds=HELD_SECONDS)).isoformat(timespec="microseconds")
    done = select(rankings.c.number).where(
        newest(rankings, "question_id", "user"),
        rankings.c.state != "withdrawn",
        rankings.c.question_id == items.question_id,
        rankings.c.user == claims.user,
    )
    held = select(claims.item_id, claims.user, claims.number).join(tables.items, items.id == claims.item_id)
    rows = connection.execute(held.where(claims.at > since, ~done.exists()).order_by(claims.number.desc()))
    return {(row.item_id, row.user): row.number for row in rows}


def _shown(connection: Connection, item_id: str, user: str) -> ShownItem:
    messages, item = (
        tables.messages.c,
        connection.execute(select(tables.items).where(tables.items.c.id == item_id)).one(),
    )
    rows = connection.execute(select(messages.id, messages.text).where(messages.id.in_(item.answer_ids)))
    answers = [ShownAnswer(row.id, row.text) for row in rows]
    answers.sort(key=lambda answer: _draw("order", user, item.question_id, answer.id))
    return ShownItem(item.id, item.question_id, history_of(connection, item.question_id), answers)


def _enter(connection: Connection, id: str, question_id: str, answer_ids: list[str]) -> Item:
    row = {"id": id, "question_id": question_id, "answer_ids": answer_ids, "at": tables.now()}
    connection.execute(insert(tables.items).values(**row))
    return Item(id, question_id, answer_ids)


def _draw(*names: str) -> int:
    """A number below 2**64 that follows from the names: the same for everybody, at any time."""
    return int.from_bytes(hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).digest()[:8], "big")
