"""Which judgements an artifact learned from, and which artifacts and models a judgement or a conversation went into.

Both are read off the lists that stages leave of what they read, which deletion.py describes; nothing is guessed.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Row, Table, select

from homeroom.workspace import tables
from homeroom.workspace.deletion import COLUMNS, SOURCES, Removed

Kind = Literal["vote", "edit", "ranking", "comparison"]
# The column of a list that names a row, the table that it is in, and what the row says of an answer.
_KINDS: dict[Kind, tuple[str, Table, str]] = {
    "vote": ("vote_id", tables.votes, "message_id"),
    "edit": ("edit_id", tables.edits, "message_id"),
    "ranking": ("ranking_id", tables.rankings, "question_id"),
    "comparison": ("comparison_id", tables.comparisons, "question_id"),
}


@dataclass(frozen=True)
class Judgement:
    """One line of what an artifact read. Of a row that was deleted since, nothing but its id is left (`gone`)."""

    id: str
    kind: Kind
    gone: bool = True
    conversation_id: str | None = None
    question: str = ""
    answer: str = ""  # of a ranking or a comparison empty: there are several
    user: str = ""
    value: int | None = None  # 1 or -1, where the person voted
    written: str = ""  # the better or ideal answer
    at: str = ""


def learned_from(connection: Connection, folder: Path, limit: int) -> tuple[int, list[Judgement]]:
    """How many judgements the list in this folder names, and the first `limit` of them."""
    try:
        lines = (folder / SOURCES).read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return 0, []
    listed = [row for line in lines if line.endswith("\n") and _kind(row := json.loads(line)) is not None]
    return len(listed), [_judgement(connection, row) for row in listed[:limit]]


def rows_of(connection: Connection, name: str) -> Removed | None:
    """All rows that a conversation, a message or a judgement stands for, by table; None: there is none of this id.

    Of a conversation and a message, that is also all that was said of them.
    """
    ids: dict[str, set[str]] = {table: set() for table in (*COLUMNS.values(), "conversations")}
    for table in (tables.votes, tables.edits, tables.rankings, tables.comparisons):
        if (row := _row(connection, table, name)) is not None:
            return Removed(ids | {table.name: {name}}, row.at)
    messages, begun = tables.messages.c, _row(connection, tables.conversations, name)
    wanted = messages.id == name if begun is None else messages.conversation_id == name
    found = connection.execute(select(messages.id, messages.at).where(wanted)).all()
    if not found and begun is None:
        return None
    ids["conversations"] = {name} if begun is not None else set()
    ids["messages"] = {row.id for row in found}
    said = select(messages.id).where(wanted)
    for _, table, column in _KINDS.values():
        about = select(table.c.id).where(table.c[column].in_(said))
        ids[table.name] = set(connection.execute(about).scalars())
    return Removed(ids, min((row.at for row in found), default=None))


def _kind(row: dict[str, Any]) -> Kind | None:
    """Who voted and wrote a better answer as well said one thing, which goes by its vote."""
    return next((kind for kind, (column, _, _) in _KINDS.items() if row.get(column)), None)


def _judgement(connection: Connection, row: dict[str, Any]) -> Judgement:
    kind = _kind(row)
    assert kind is not None
    column, table, about = _KINDS[kind]
    stored = _row(connection, table, row[column])
    message = None if stored is None else _row(connection, tables.messages, getattr(stored, about))
    if stored is None or message is None:
        return Judgement(row[column], kind)
    question: Row[Any] | None = message
    if message.role == "assistant":
        question = None if message.parent_id is None else _row(connection, tables.messages, message.parent_id)
    return Judgement(
        row[column],
        kind,
        gone=False,
        conversation_id=message.conversation_id,
        question="" if question is None else question.text,
        answer=message.text if message.role == "assistant" else "",
        user=stored.user,
        value=stored.value if kind == "vote" else None,
        written=_written(connection, row),
        at=stored.at,
    )


def _written(connection: Connection, row: dict[str, Any]) -> str:
    edit = _row(connection, tables.edits, row.get("edit_id"))
    ranking = _row(connection, tables.rankings, row.get("ranking_id"))
    if edit is not None:
        return str(edit.text)
    return (ranking.ideal_answer or "") if ranking is not None else ""


def _row(connection: Connection, table: Table, name: str | None) -> Row[Any] | None:
    if name is None:
        return None
    return connection.execute(select(table).where(table.c.id == name)).one_or_none()
