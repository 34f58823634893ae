"""Ids of judgements that stand in no row of their own: what export makes pairs of, out of orders, better answers and
thumbs. They follow from the rows' ids, so that an import knows what went out of the same workspace.

What else an exported line holds is in exchange.py.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, select

from homeroom.workspace import tables


def short_hash(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def pair_of_ranking(ranking_id: str, better: int, worse: int) -> str:
    """Of two answers in a ranking, by their places in it."""
    return short_hash(ranking_id, better, worse)


def pair_of_edit(edit_id: str) -> str:
    """Of a better answer and the one that it is better than."""
    return short_hash(edit_id, "edit")


def pair_of_votes(up_id: str, down_id: str) -> str:
    """Of two answers to one question; `down_id` may be that of a better answer, whose writer did not vote."""
    return short_hash(up_id, down_id)


def thumb_of_edit(edit_id: str) -> str:
    """Of an answer that a better one was written for, without a vote."""
    return short_hash(edit_id, "thumb")


class Known:
    """Which judgements a workspace holds, in a row or derived from some. The latter are collected when they are first
    asked for, also of what was changed or taken back since: it may have gone out before."""

    def __init__(self) -> None:
        self._derived: dict[str, frozenset[str]] = {}

    def holds(self, connection: Connection, table: Table, id: str) -> bool:
        if connection.execute(select(table.c.id).where(table.c.id == id)).first() is not None:
            return True
        if table.name not in self._derived:
            self._derived[table.name] = frozenset(_derived(connection, table))
        return id in self._derived[table.name]


def _derived(connection: Connection, table: Table) -> Iterator[str]:
    """Ids that lines have which an import would write into this table."""
    if table is tables.comparisons:
        yield from _of_rankings(connection)
        yield from map(pair_of_edit, connection.execute(select(tables.edits.c.id)).scalars())
        yield from _of_votes(connection)
    elif table is tables.votes:
        yield from map(thumb_of_edit, connection.execute(select(tables.edits.c.id)).scalars())


def _of_rankings(connection: Connection) -> Iterator[str]:
    for row in connection.execute(select(tables.rankings.c.id, tables.rankings.c.tiers)):
        tier_of = [tier for tier, answers in enumerate(row.tiers) for _ in answers]
        for better, worse in combinations(range(len(tier_of)), 2):
            if tier_of[better] < tier_of[worse]:
                yield pair_of_ranking(row.id, better, worse)


def _of_votes(connection: Connection) -> Iterator[str]:
    """Of whatever one person said of answers to questions of the same words: more than was ever exported, not less."""
    ups, downs = defaultdict[Any, list[str]](list), defaultdict[Any, list[str]](list)
    for row in connection.execute(_judged(tables.votes, tables.votes.c.value)):
        if row.value:
            (ups if row.value > 0 else downs)[row.user, row.question].append(row.id)
    for row in connection.execute(_judged(tables.edits)):
        downs[row.user, row.question].append(row.id)
    for key, some in ups.items():
        yield from (pair_of_votes(*both) for both in product(some, downs[key]))


def _judged(table: Table, *more: ColumnElement[Any]) -> Select[Any]:
    answer, asked = tables.messages.alias("answer"), tables.messages.alias("asked")
    return (
        select(table.c.id, table.c.user, asked.c.text.label("question"), *more)
        .join(answer, answer.c.id == table.c.message_id)
        .join(asked, asked.c.id == answer.c.parent_id, isouter=True)
    )
