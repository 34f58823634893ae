"""Orders that people put several answers to one question in, and their choices between two of them, blind.

Rows are only ever added: the newest of a person on a question counts, and one that withdraws takes back what was said.
How they are joined with the texts for training is in judged.py; who is asked to rank what, in queue.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, select

from homeroom.workspace import tables
from homeroom.workspace.errors import FeedbackError, NotRecorded
from homeroom.workspace.rows import add, newest, read, repeated, require, require_answer, valid

Flag = Literal["toxic", "untrue", "off-topic", "unhelpful"]
State = Literal["ranked", "skipped", "withdrawn"]
Choice = Literal["left", "right", "tie"]
Kind = Literal["samples", "trial"]
FLAGS: tuple[Flag, ...] = get_args(Flag)


@dataclass(frozen=True)
class Ranking:
    """`tiers` are answers' ids, best first, those in one tier equally good; empty unless `state` is "ranked"."""

    id: str
    question_id: str
    user: str
    state: State
    tiers: list[list[str]]
    flags: dict[str, list[Flag]]
    ideal_answer: str | None
    at: str


@dataclass(frozen=True)
class Comparison:
    """Two answers to one question that a person saw side by side without knowing whose they were.

    `kind`: "samples" of one model, or a "trial" of candidate against champion; which is which, the messages know.
    """

    id: str
    question_id: str
    left_id: str
    right_id: str
    user: str
    choice: Choice
    kind: Kind
    at: str


def rank(
    connection: Connection,
    question_id: str,
    tiers: Sequence[Sequence[str]],
    flags: Mapping[str, Sequence[Flag]],
    ideal_answer: str | None,
    id: str | None,
    user: str,
) -> Ranking:
    order = [list(tier) for tier in tiers]
    ranked = [answer for tier in order for answer in tier]
    if not all(order) or len(ranked) < 2:
        raise FeedbackError("a ranking has at least two answers, and at least one in every tier")
    if len(set(ranked)) < len(ranked):
        raise FeedbackError("a ranking has each answer once")
    if strange := sorted(flags.keys() - set(ranked)):
        raise FeedbackError(f"flags are for answers that are ranked, and {', '.join(strange)} is not")
    if unknown := sorted({flag for each in flags.values() for flag in each} - set(FLAGS)):
        raise FeedbackError(f"flags are {', '.join(FLAGS)}, not {', '.join(unknown)}")
    if ideal_answer is not None and not ideal_answer.strip():
        raise FeedbackError("an ideal answer cannot be empty; leave it out")
    given = {
        "id": id,
        "question_id": question_id,
        "user": user,
        "state": "ranked",
        "tiers": order,
        # In one order, so that a retry says the same.
        "flags": {one: [flag for flag in FLAGS if flag in flags[one]] for one in ranked if flags.get(one)},
        "ideal_answer": None if ideal_answer is None else valid(ideal_answer),
    }
    require_question(connection, question_id)
    for answer in ranked:
        if require_answer(connection, answer, "tiers").parent_id != question_id:
            raise FeedbackError(f"message {answer} is no answer to question {question_id}")
    return add(connection, tables.rankings, Ranking, given)


def skip(connection: Connection, question_id: str, id: str | None, user: str) -> Ranking:
    return _without_order(connection, question_id, "skipped", id, user)


def withdraw(connection: Connection, question_id: str, id: str | None, user: str) -> Ranking:
    """Take back the person's ranking, or that it was skipped. Raises NotRecorded where there is neither."""
    given = _nothing(question_id, "withdrawn", id, user)
    if id is not None and (row := repeated(connection, tables.rankings, Ranking, given)):
        return row
    counted = ranking_by(connection, question_id, user)
    if counted is None:
        raise NotRecorded(f"there is no ranking of question {question_id!r} by {user!r} to withdraw", "question_id")
    return add(connection, tables.rankings, Ranking, given)


def _without_order(connection: Connection, question_id: str, state: State, id: str | None, user: str) -> Ranking:
    require_question(connection, question_id)
    return add(connection, tables.rankings, Ranking, _nothing(question_id, state, id, user))


def require_question(connection: Connection, question_id: str) -> None:
    question = require(connection, tables.messages, question_id, "question", "question_id")
    if question.role != "user":
        raise FeedbackError(f"message {question_id} is the {question.role}'s: a question is the user's")


def _nothing(question_id: str, state: State, id: str | None, user: str) -> dict[str, Any]:
    said = {"id": id, "question_id": question_id, "user": user, "state": state}
    return said | {"tiers": [], "flags": {}, "ideal_answer": None}


def ranking_by(connection: Connection, question_id: str, user: str) -> Ranking | None:
    """What the person said last of this question, unless it was taken back."""
    rankings = tables.rankings.c
    said = select(tables.rankings).where(rankings.question_id == question_id, rankings.user == user)
    row = connection.execute(said.order_by(rankings.number.desc()).limit(1)).one_or_none()
    return None if row is None or row.state == "withdrawn" else read(Ranking, row)


def counted_rankings(connection: Connection) -> list[Row[Any]]:
    """Of each person and question the newest that ranks it, in the order in which they came."""
    rankings = tables.rankings
    said = select(rankings).where(newest(rankings, "question_id", "user"), rankings.c.state == "ranked")
    return list(connection.execute(said.order_by(rankings.c.number)))


def compare(
    connection: Connection, left_id: str, right_id: str, choice: Choice, kind: Kind, id: str | None, user: str
) -> Comparison:
    if choice not in get_args(Choice) or kind not in get_args(Kind):
        raise FeedbackError(f"a choice is left, right or tie, and its kind samples or trial; not {choice}, {kind}")
    left, right = (
        require_answer(connection, one, param) for one, param in ((left_id, "left_id"), (right_id, "right_id"))
    )
    if left_id == right_id or left.parent_id is None or left.parent_id != right.parent_id:
        raise FeedbackError(f"{left_id} and {right_id} are not two answers to one question")
    of_one_model = left.model_id == right.model_id
    if of_one_model != (kind == "samples"):
        what = f"both are of {left.model_id}" if of_one_model else f"they are of {left.model_id} and {right.model_id}"
        raise FeedbackError(f"samples are of one model, a trial is between two: {what}, so this is no {kind}")
    given = {"id": id, "question_id": left.parent_id, "left_id": left_id, "right_id": right_id}
    return add(connection, tables.comparisons, Comparison, given | {"user": user, "choice": choice, "kind": kind})


def counted_comparisons(connection: Connection) -> list[Row[Any]]:
    """Of each person and pair of answers the newest, whichever side each was on, in the order in which they came."""
    counted: dict[tuple[str, frozenset[str]], Row[Any]] = {}
    for row in connection.execute(select(tables.comparisons).order_by(tables.comparisons.c.number)):
        key = row.user, frozenset((row.left_id, row.right_id))
        counted.pop(key, None)
        counted[key] = row
    return list(counted.values())
