"""Blind pairs: two answers that a person is shown side by side, the sides on record before anybody has seen them.

What is chosen is a comparison like any other (rankings.py). A trial counts only choices between answers that stand
here, by the person they were shown to, and of these the first: it alone was made blind. What follows from them is
evaluation's business.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from homeroom.workspace import tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import FeedbackError
from homeroom.workspace.feedback import Vote
from homeroom.workspace.rankings import Choice, Comparison, Kind, compare, require_question
from homeroom.workspace.rows import add, read, require

Chosen = Literal["left", "right", "same", "bad"]
MIRRORED: dict[Choice, Choice] = {"left": "right", "right": "left", "tie": "tie"}


@dataclass(frozen=True)
class Pair:
    """`trial` is the number of the decision that put a candidate on trial; None: two samples of one model."""

    id: str
    question_id: str
    left_id: str
    right_id: str
    trial: int | None
    user: str
    at: str

    @property
    def kind(self) -> Kind:
        return "samples" if self.trial is None else "trial"


@dataclass(frozen=True)
class Ballot:
    """One vote of a trial: who was asked what, `before` which answer's end, and which model was preferred (None:
    neither)."""

    user: str
    question: str
    before: str
    preferred: str | None


class Pairs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def show(
        self, question_id: str, left_id: str, right_id: str, *, trial: int | None = None, user: str = "local"
    ) -> Pair:
        """Record who stands where. The answers may be written after."""
        if left_id == right_id:
            raise FeedbackError(f"a pair has two answers, given {left_id} twice")
        given = {"id": None, "question_id": question_id, "left_id": left_id, "right_id": right_id}
        with self._database.write() as connection:
            require_question(connection, question_id)
            return add(connection, tables.pairs, Pair, given | {"trial": trial, "user": user})

    def choose(self, pair_id: str, chosen: Chosen, *, user: str = "local") -> Comparison:
        """Record the person's choice, once: sent again it changes nothing, and another one is refused.

        "bad" is a tie, and a thumb down for both.
        """
        if chosen not in get_args(Chosen):
            raise FeedbackError(f"of a pair left, right, same or bad is chosen, not {chosen!r}")
        with self._database.write() as connection:
            pair = read(Pair, require(connection, tables.pairs, pair_id, "pair", "pair_id"))
            if pair.user != user:
                raise FeedbackError(f"pair {pair_id} was shown to another person")
            choice: Choice = "left" if chosen == "left" else "right" if chosen == "right" else "tie"
            comparisons, votes = tables.comparisons.c, tables.votes.c
            before = connection.execute(select(comparisons.choice).where(comparisons.id == pair_id)).scalar()
            thumbs = connection.execute(select(votes.id).where(votes.id == f"{pair_id}-left")).scalar()
            if before == choice == "tie" and (thumbs is not None) != (chosen == "bad"):
                raise FeedbackError(f"of pair {pair_id} {'bad' if thumbs else 'same'} was chosen before")
            row = compare(connection, pair.left_id, pair.right_id, choice, pair.kind, pair_id, user)
            if chosen == "bad":
                for side, answer in (("left", pair.left_id), ("right", pair.right_id)):
                    vote = {"id": f"{pair_id}-{side}", "message_id": answer, "user": user, "value": -1}
                    add(connection, tables.votes, Vote, vote)
            return row

    def of_conversation(self, conversation_id: str, user: str = "local") -> list[tuple[Pair, Choice | None]]:
        """Those that were shown to this person, in the order in which they were, with what was chosen first."""
        pairs, messages = tables.pairs, tables.messages.c
        of_it = select(messages.id).where(messages.conversation_id == conversation_id)
        mine = and_(pairs.c.question_id.in_(of_it), pairs.c.user == user)
        with self._database.read() as connection:
            shown = [read(Pair, row) for row in connection.execute(select(pairs).where(mine).order_by(pairs.c.number))]
            chosen = {row.id: _choice(row) for row in _choices(connection, mine)}
        return [(pair, chosen.get(pair.id)) for pair in shown]

    def ballots(self, trial: int, candidate: str, champion: str) -> list[Ballot]:
        """The votes of a trial, in the order in which they were cast."""
        with self._database.read() as connection:
            rows = _choices(connection, tables.pairs.c.trial == trial)
        ballots = []
        for row in rows:
            if {row.left_model, row.right_model} == {candidate, champion}:
                preferred = {"left": row.left_model, "right": row.right_model, "tie": None}[_choice(row)]
                ballots.append(Ballot(row.user, row.question, row.before or "", preferred))
        return ballots


def _choices(connection: Connection, which: ColumnElement[bool]) -> list[Any]:
    """Each pair's first choice by the person that it was shown to, with the texts around it."""
    pairs, said = tables.pairs.c, tables.comparisons.c
    question, before, left, right = (tables.messages.alias(name) for name in ("question", "before", "left", "right"))
    same_side = and_(said.left_id == pairs.left_id, said.right_id == pairs.right_id)
    mirrored = and_(said.left_id == pairs.right_id, said.right_id == pairs.left_id)
    # By the question first: it has an index.
    of_pair = and_(said.question_id == pairs.question_id, said.user == pairs.user, or_(same_side, mirrored))
    rows = (
        select(
            pairs.id,
            pairs.user,
            pairs.left_id,
            said.left_id.label("named_left"),
            said.choice,
            question.c.text.label("question"),
            before.c.text.label("before"),
            left.c.model_id.label("left_model"),
            right.c.model_id.label("right_model"),
        )
        .select_from(tables.pairs)
        .join(tables.comparisons, of_pair)
        .join(question, question.c.id == pairs.question_id)
        .join(before, before.c.id == question.c.parent_id, isouter=True)
        .join(left, left.c.id == pairs.left_id)
        .join(right, right.c.id == pairs.right_id)
        .where(which)
        .order_by(said.number)
    )
    first: dict[str, Any] = {}
    for row in connection.execute(rows):
        first.setdefault(row.id, row)
    return list(first.values())


def _choice(row: Any) -> Choice:
    """As the pair was shown, however a program named its sides."""
    choice: Choice = row.choice
    return choice if row.named_left == row.left_id else MIRRORED[choice]
