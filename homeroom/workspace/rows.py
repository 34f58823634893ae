"""How rows of feedback are written once and read: an id that comes again is answered with what it wrote first.

Which rows there are, and what they mean, is the business of feedback.py, rankings.py and queue.py.
"""

import uuid
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import Connection, Row, Table, func, insert, select

from homeroom.settings import whole_characters
from homeroom.workspace import tables
from homeroom.workspace.errors import FeedbackError, NotRecorded

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RowType = TypeVar("RowType", bound="DataclassInstance")


def repeated(connection: Connection, table: Table, kind: type[RowType], given: dict[str, Any]) -> RowType | None:
    """The row with the given id, provided that it says the same as `given`. None: the id is new."""
    row = connection.execute(select(table).where(table.c.id == given["id"])).one_or_none()
    if row is None:
        return None
    if differing := [key for key, value in given.items() if getattr(row, key) != value]:
        raise FeedbackError(
            f"id {given['id']} in {table.name} was used before with another {', '.join(differing)}. "
            "An id may be sent again only with the same content; leave it out to have one made."
        )
    return read(kind, row)


def add(
    connection: Connection,
    table: Table,
    kind: type[RowType],
    given: dict[str, Any],
    extra: dict[str, Any] | None = None,
) -> RowType:
    """Insert, unless a row has the given id: then that row, provided that it says the same as `given`."""
    if given["id"] is not None and (row := repeated(connection, table, kind, given)):
        return row
    values = given | (extra or {}) | {"id": given["id"] or uuid.uuid4().hex, "at": tables.now()}
    connection.execute(insert(table).values(**values))
    return cast(RowType, cast(Any, kind)(**values))


def read(kind: type[RowType], row: Row[Any]) -> RowType:
    return cast(RowType, cast(Any, kind)(**{field.name: getattr(row, field.name) for field in fields(kind)}))


def require(connection: Connection, table: Table, id: str, noun: str, param: str = "message_id") -> Row[Any]:
    row = connection.execute(select(table).where(table.c.id == id)).one_or_none()
    if row is None:
        raise NotRecorded(f"there is no {noun} {id!r}", param)
    return row


def require_answer(connection: Connection, message_id: str, param: str = "message_id") -> Row[Any]:
    message = require(connection, tables.messages, message_id, "message", param)
    if message.role != "assistant":
        raise FeedbackError(f"message {message_id} is the {message.role}'s: only the assistant's answers are judged")
    return message


def newest(table: Table, *of: str) -> Any:
    """A condition: the rows of which there is no later one with the same of these columns."""
    return table.c.number.in_(select(func.max(table.c.number)).group_by(*(table.c[name] for name in of)))


def valid(text: str) -> str:
    """As a database takes it, and without NUL, which ends a text for many a program."""
    return whole_characters(text).replace("\0", "\ufffd")
