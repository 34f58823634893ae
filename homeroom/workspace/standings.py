"""Whose votes may teach, as far as an operator said so; and who said what a harvest set aside.

Words are only ever added, the newest of a person holds until another takes it back, and the next harvest obeys. What
is set aside without an operator's word is the business of the harvest, whose artifact lists rows without names: here
they get their names back, those that nobody has deleted meanwhile.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from sqlalchemy import Connection, insert, select, union

from homeroom.workspace import tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import FeedbackError

SET_ASIDE = "set_aside.jsonl"
Word = Literal["restored", "distrusted", "judged"]
# What people say, by the key that a row of a harvest names it with.
SAID = {
    "vote_id": tables.votes,
    "edit_id": tables.edits,
    "ranking_id": tables.rankings,
    "comparison_id": tables.comparisons,
}
AT_ONCE = 500  # ids in one query: some databases take no more than a thousand
NAMED = 20  # people in an error


@dataclass(frozen=True)
class Said:
    """A word that holds, and who said it; of words from before that was kept, nobody knows."""

    word: Word
    by: str | None
    at: str


@dataclass(frozen=True)
class SetAside:
    """One judgement that a harvest did not learn from, or not from all of it (`share`), and the text it is about."""

    user: str
    kind: str  # vote, edit, ranking, comparison
    reason: str
    share: float
    text: str
    at: str


class Standings:
    def __init__(self, database: Database) -> None:
        self._database = database

    def say(self, user: str, word: Word, *, by: str = "local") -> None:
        """All that this person says counts whole ("restored"), for nothing ("distrusted"), or as it is found."""
        self.say_all([(user, word)], by=by)

    def say_all(self, words: Sequence[tuple[str, Word]], *, by: str = "local") -> None:
        """Several words of one operator: all are recorded, or none."""
        if strange := {word for _, word in words} - set(get_args(Word)):
            raise FeedbackError(f"a word is one of {', '.join(get_args(Word))}, not {', '.join(sorted(strange))}")
        if twice := sorted(user for user, count in Counter(user for user, _ in words).items() if count > 1):
            raise FeedbackError(f"one word about each person: there are several about {', '.join(twice)}")
        with self._database.write() as connection:
            people = _people(connection) if words else set()
            if unknown := sorted({user for user, _ in words} - people):
                known = ", ".join(sorted(people)[:NAMED]) or "nobody yet"
                more = f" and {len(people) - NAMED:,} more" if len(people) > NAMED else ""
                raise FeedbackError(
                    f"nobody called {', '.join(unknown)} has judged an answer here. Who has: {known}{more}."
                )
            for user, word in words:
                row = {"user": user, "word": word, "said_by": by, "at": tables.now()}
                connection.execute(insert(tables.standings).values(**row))

    def all(self) -> dict[str, Word]:
        """The word that holds, of everybody about whom one does."""
        return {user: said.word for user, said in self.said().items()}

    def said(self) -> dict[str, Said]:
        """The same, with who said it and when."""
        rows = select(tables.standings).order_by(tables.standings.c.number)
        with self._database.read() as connection:
            last = {row.user: Said(row.word, row.said_by, row.at) for row in connection.execute(rows)}
        return {user: said for user, said in last.items() if said.word != "judged"}

    def people(self, word: Word) -> set[str]:
        """Of whom this was said last."""
        return {name for name, said in self.all().items() if said == word}

    def set_aside(self, harvest: Path) -> list[SetAside]:
        """What the harvest in this folder set aside, in the order in which it lists it."""
        path = harvest / SET_ASIDE
        if not path.is_file():  # of before votes were weighed
            return []
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found: dict[tuple[str, str], Any] = {}
        with self._database.read() as connection:
            for key, table in SAID.items():
                columns = select(table.c.id, table.c.user, table.c.at)
                found |= {(key, row.id): row for row in _by_id(connection, columns, table.c.id, _ids(rows, key))}
            messages = tables.messages.c
            asked = select(messages.id, messages.text)
            texts = {row.id: row.text for row in _by_id(connection, asked, messages.id, _ids(rows, "message_id"))}
        made = []
        for row in rows:
            key = next(key for key in SAID if row.get(key) is not None)
            if said := found.get((key, row[key])):
                kind, text = key.removesuffix("_id"), texts.get(row["message_id"], "")
                made.append(SetAside(said.user, kind, row["reason"], row["share"], text, said.at))
        return made


def _ids(rows: Iterable[dict[str, Any]], key: str) -> list[str]:
    return sorted({row[key] for row in rows if row.get(key) is not None})


def _by_id(connection: Connection, rows: Any, id: Any, ids: Sequence[str]) -> Iterable[Any]:
    for start in range(0, len(ids), AT_ONCE):
        yield from connection.execute(rows.where(id.in_(ids[start : start + AT_ONCE])))


def _people(connection: Connection) -> set[str]:
    return set(connection.execute(union(*(select(table.c.user) for table in SAID.values()))).scalars())
