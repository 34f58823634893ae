"""The tables of the workspace's database, as they are now; migrations/ says how older ones get there.

Rows that only ever grow (decisions, messages, and all that people say of them) have a `number` that orders them: clocks
can be set back.
Only plain SQLAlchemy types, which any database has.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    true,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


def now() -> str:
    """The present moment in UTC, ISO 8601, always as wide, so that text order is time order."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Moment(TypeDecorator[str]):
    """ISO 8601 text in Python, a timestamp in the database. SQLite forgets the zone, so it is always UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value).astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return aware.isoformat(timespec="microseconds")


def insert_numbered(connection: Connection, table: Table, row: dict[str, Any]) -> int:
    """Insert a row and return the number that it got."""
    number: int = connection.execute(insert(table).values(**row).returning(table.c.number)).scalar_one()
    return number


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _number() -> Column[Any]:
    return Column("number", Integer, primary_key=True, autoincrement=True)


def _id() -> Column[Any]:
    return Column("id", String(100), nullable=False, unique=True)


artifacts = Table(
    "artifacts",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("stage", String(50), nullable=False, index=True),
    Column("manifest", JSON, nullable=False),  # as in the folder's manifest.json; verify compares them
    Column("used", Integer, nullable=False),  # the highest of a stage is its latest
    Column("used_at", Moment, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    _number(),
    Column("stage", String(50), nullable=False),
    Column("artifact_id", String(100)),  # no foreign key: a run begins before its artifact exists
    Column("state", String(20), nullable=False),
    Column("started", Moment, nullable=False),
    Column("ended", Moment),
    Column("seconds", Float),
    Column("error", Text),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pid_started", Float, nullable=False),  # numbers of processes are used again
    CheckConstraint("state IN ('running', 'finished', 'failed')", name="state"),
    sqlite_autoincrement=True,
)

decisions = Table(
    "decisions",
    metadata,
    _number(),
    Column("kind", String(20), nullable=False),
    Column("artifact_id", String(100), ForeignKey("artifacts.id"), nullable=False),
    Column("previous_id", String(100), ForeignKey("artifacts.id")),
    Column("verdict", JSON, nullable=False),
    Column("at", Moment, nullable=False),
    CheckConstraint("kind IN ('promoted', 'refused', 'rolled_back', 'on_trial')", name="kind"),
    sqlite_autoincrement=True,
)

conversations = Table(
    "conversations",
    metadata,
    _number(),
    _id(),
    Column("user", String(200), nullable=False),
    Column("at", Moment, nullable=False),
    Column("consent", Boolean, nullable=False, server_default=true()),  # whether anybody may learn from it
    sqlite_autoincrement=True,
)

messages = Table(
    "messages",
    metadata,
    _number(),
    _id(),
    Column("conversation_id", String(100), ForeignKey("conversations.id"), nullable=False, index=True),
    Column("parent_id", String(100), ForeignKey("messages.id"), index=True),
    Column("role", String(20), nullable=False),
    Column("text", Text, nullable=False),
    Column("model_id", String(200)),
    Column("sampling", JSON(none_as_null=True)),
    Column("token_ids", JSON(none_as_null=True)),
    Column("finish_reason", String(20)),
    Column("at", Moment, nullable=False),
    CheckConstraint("role IN ('system', 'user', 'assistant')", name="role"),
    sqlite_autoincrement=True,
)

votes = Table(
    "votes",
    metadata,
    _number(),
    _id(),
    Column("message_id", String(100), ForeignKey("messages.id"), nullable=False, index=True),
    Column("user", String(200), nullable=False),
    Column("value", Integer, nullable=False),  # 0 withdraws
    Column("at", Moment, nullable=False),
    CheckConstraint("value IN (1, 0, -1)", name="value"),
    sqlite_autoincrement=True,
)

edits = Table(
    "edits",
    metadata,
    _number(),
    _id(),
    Column("message_id", String(100), ForeignKey("messages.id"), nullable=False, index=True),
    Column("user", String(200), nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)

rankings = Table(
    "rankings",
    metadata,
    _number(),
    _id(),
    Column("question_id", String(100), ForeignKey("messages.id"), nullable=False, index=True),
    Column("user", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("tiers", JSON, nullable=False),  # of answers' ids, best first
    Column("flags", JSON, nullable=False),  # by answers' ids
    Column("ideal_answer", Text),
    Column("at", Moment, nullable=False),
    CheckConstraint("state IN ('ranked', 'skipped', 'withdrawn')", name="state"),
    sqlite_autoincrement=True,
)

comparisons = Table(
    "comparisons",
    metadata,
    _number(),
    _id(),
    Column("question_id", String(100), ForeignKey("messages.id"), nullable=False, index=True),
    Column("left_id", String(100), ForeignKey("messages.id"), nullable=False),
    Column("right_id", String(100), ForeignKey("messages.id"), nullable=False),
    Column("user", String(200), nullable=False),
    Column("choice", String(20), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("at", Moment, nullable=False),
    CheckConstraint("choice IN ('left', 'right', 'tie')", name="choice"),
    CheckConstraint("kind IN ('samples', 'trial')", name="kind"),
    sqlite_autoincrement=True,
)

pairs = Table(
    "pairs",
    metadata,
    _number(),
    _id(),
    Column("question_id", String(100), ForeignKey("messages.id"), nullable=False, index=True),
    # No foreign keys: who stands on which side is on record before the answers are written.
    Column("left_id", String(100), nullable=False),
    Column("right_id", String(100), nullable=False),
    Column("trial", Integer, ForeignKey("decisions.number"), index=True),  # none: two samples of the champion
    Column("user", String(200), nullable=False),
    Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)

items = Table(
    "items",
    metadata,
    _number(),
    _id(),
    Column("question_id", String(100), ForeignKey("messages.id"), nullable=False, unique=True),
    Column("answer_ids", JSON, nullable=False),  # all of them follow the question
    Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)

claims = Table(
    "claims",
    metadata,
    _number(),
    Column("item_id", String(100), ForeignKey("items.id"), nullable=False, index=True),
    Column("user", String(200), nullable=False),
    Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)

standings = Table(
    "standings",
    metadata,
    _number(),
    Column("user", String(200), nullable=False, index=True),
    Column("word", String(20), nullable=False),  # an operator's; "judged" takes the one before back
    Column("said_by", String(200)),  # which operator's; none: it was said before that was kept
    Column("at", Moment, nullable=False),
    CheckConstraint("word IN ('restored', 'distrusted', 'judged')", name="word"),
    sqlite_autoincrement=True,
)

users = Table(
    "users",
    metadata,
    _number(),
    Column("name", String(100), nullable=False),
    Column("sign_in", String(100), nullable=False, unique=True),  # the name's one form: case and width folded
    Column("role", String(20), nullable=False),
    Column("password", String(200), nullable=False),  # argon2's hash, which names its parameters
    Column("generation", Integer, nullable=False),  # counted up where the user's sessions have to end
    Column("at", Moment, nullable=False),
    Column("disabled", Moment),
    CheckConstraint("role IN ('talk', 'annotate', 'operate')", name="role"),
    sqlite_autoincrement=True,
)

keys = Table(
    "keys",
    metadata,
    _number(),
    Column("user_number", Integer, ForeignKey("users.number")),  # none: the key is nobody's, and a user of its own
    Column("name", String(100), nullable=False),  # of those that are valid no two have the same
    Column("hash", String(64), nullable=False, unique=True),
    Column("at", Moment, nullable=False),
    Column("expires", Moment),
    Column("revoked", Moment),
    sqlite_autoincrement=True,
)

sessions = Table(
    "sessions",
    metadata,
    _number(),
    Column("hash", String(64), nullable=False, unique=True),
    Column("user_number", Integer, ForeignKey("users.number")),
    Column("key_number", Integer, ForeignKey("keys.number")),
    Column("generation", Integer),  # the user's when it began
    Column("at", Moment, nullable=False),
    Column("used", Moment, nullable=False),
    Column("expires", Moment, nullable=False),
    CheckConstraint("(user_number IS NULL) <> (key_number IS NULL)", name="holder"),
    sqlite_autoincrement=True,
)
