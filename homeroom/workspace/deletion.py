"""What a person wants deleted: the rows go, and what was made of them is named.

What a stage read of people's rows, it lists in its artifact's sources.jsonl, one JSON object a line, with the keys of
COLUMNS. Nothing is unlearned here: whether the artifacts and models are kept is for whoever runs the workspace to say.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, or_, select

from homeroom.workspace import tables
from homeroom.workspace.artifacts import Artifact

SOURCES = "sources.jsonl"
READ = (SOURCES, "votes.jsonl")  # the second is the scripted rater's copy of its votes
COLUMNS = {
    "message_id": "messages",
    "vote_id": "votes",
    "edit_id": "edits",
    "ranking_id": "rankings",
    "comparison_id": "comparisons",
}


@dataclass(frozen=True)
class Forgotten:
    """How many rows went, by table; the artifacts that had read them, with all that was made of those at however many
    removes; and which of these are models."""

    rows: dict[str, int]
    artifacts: list[str]
    models: list[str]


@dataclass(frozen=True)
class Removed:
    """The ids of rows that are gone, by table, and when the first of them was written."""

    ids: dict[str, set[str]]
    since: str | None


def remove_person(connection: Connection, user: str) -> Removed:
    """Remove a person's conversations with all messages in them, and the person's votes, edits, rankings and
    comparisons.

    What others said of a message that goes (a vote on an answer in this person's conversation, say) goes too: without
    the message it would be about nothing.
    """
    conversations, messages, items = tables.conversations.c, tables.messages.c, tables.items.c
    own = select(conversations.id).where(conversations.user == user)
    gone = select(messages.id).where(messages.conversation_id.in_(own))
    by_or_on: dict[Table, ColumnElement[bool]] = {
        table: or_(table.c.user == user, table.c[column].in_(gone))
        for table, column in (
            (tables.votes, "message_id"),
            (tables.edits, "message_id"),
            (tables.rankings, "question_id"),
            (tables.comparisons, "question_id"),
        )
    }
    item_gone = items.question_id.in_(gone)
    claims = or_(tables.claims.c.user == user, tables.claims.c.item_id.in_(select(items.id).where(item_gone)))
    ids: dict[str, set[str]] = {}
    times: list[str] = []
    order: list[tuple[Table, Any]] = [*by_or_on.items(), (tables.items, item_gone)]
    order += [(tables.messages, messages.conversation_id.in_(own)), (tables.conversations, conversations.user == user)]
    connection.execute(delete(tables.claims).where(claims))
    connection.execute(delete(tables.standings).where(tables.standings.c.user == user))
    pairs = tables.pairs.c
    connection.execute(delete(tables.pairs).where(or_(pairs.user == user, pairs.question_id.in_(gone))))
    for table, which in order:  # what refers to a row goes before it
        rows = connection.execute(select(table.c.id, table.c.at).where(which)).all()
        ids[table.name] = {row.id for row in rows}
        times += [row.at for row in rows]
        connection.execute(delete(table).where(which))
    return Removed(ids, min(times, default=None))


def readers(removed: Removed, artifacts: Callable[[], Iterable[Artifact]], work: Path) -> Forgotten:
    """Which artifacts and models these rows went into, drafts in the work folder included.

    A harvest of before there were lists is taken to have read whatever was there when it was made.
    """
    rows = {table: len(found) for table, found in removed.ids.items() if found}
    # Drafts first: one that is published meanwhile is an artifact, of the same name, by the second look.
    touched = {path.name for path in sorted(work.iterdir()) if path.is_dir() and _lists(path, removed)}
    known = list(artifacts())
    touched |= {one.id for one in known if _has_read(one, removed)}
    grown = True
    while grown:
        further = {one.id for one in known if one.id not in touched and touched.intersection(one.inputs)}
        touched |= further
        grown = bool(further)
    models = {one.id for one in known if any(name.endswith(".safetensors") for name in one.files)}
    in_order = [one.id for one in known if one.id in touched]
    in_order += sorted(touched - set(in_order))
    return Forgotten(rows, in_order, [name for name in in_order if name in models])


def _has_read(artifact: Artifact, removed: Removed) -> bool:
    if artifact.stage == "harvest" and SOURCES not in artifact.files:
        return removed.since is not None and artifact.created >= removed.since
    return _lists(artifact.path, removed)


def _lists(folder: Path, removed: Removed) -> bool:
    for path in (folder / name for name in READ):
        try:
            file = path.open(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):  # it lists nothing, or is a draft that was published meanwhile
            continue
        with file:
            for line in file:  # not splitlines: texts hold other ends of lines as they are
                try:
                    row = json.loads(line)
                except ValueError:  # torn by a kill; that a list is damaged is for `homeroom verify` to say
                    continue
                if any(row.get(column) in removed.ids[table] for column, table in COLUMNS.items()):
                    return True
    return False
