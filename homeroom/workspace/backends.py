"""What SQLite and PostgreSQL each need to keep the promises of database.py, and what their errors mean to a person.

The promises: a transaction is all or nothing, no writer comes between another's reads and writes, a reader has one
view from its first look on, and what was committed is on the disk.
"""

from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, create_engine, event, text

from homeroom.workspace.errors import WorkspaceError, no_space_left

BUSY_SECONDS = 30
ONE_WRITER = 0x686F6D65  # names PostgreSQL's lock; any number that nobody else uses in this database


class Backend(Protocol):
    @property
    def engine(self) -> Engine: ...
    def exists(self) -> bool:
        """Whether connecting to it makes nothing new."""

    def prepare(self) -> None:
        """Before its first tables are made."""

    def erase(self) -> None:
        """Leave nothing of deleted rows on the disk, as far as that can be helped."""

    def damage(self, connection: Connection) -> str | None:
        """What it finds wrong with its own files."""

    def is_full(self) -> bool: ...
    def explain(self, reason: str) -> str | None:
        """What an error means to a person; None: it is to be told in its own words."""


def backend(place: URL, folder: Path) -> Backend:
    """Raises WorkspaceError for other databases."""
    if place.drivername in ("sqlite", "sqlite+pysqlite"):
        return Sqlite(place, folder)
    if place.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return Postgres(place, folder)
    raise WorkspaceError(
        f"database URL {place.render_as_string(hide_password=True)!r} cannot be used: sqlite:///PATH and "
        "postgresql://USER:PASSWORD@HOST/NAME are supported"
    )


class Sqlite:
    """The driver begins transactions late and ends them before DDL; SQLAlchemy's documented remedy is to take BEGIN
    over. A writer begins IMMEDIATE: one that reads first and then wants to write would fail at once when another was
    faster."""

    def __init__(self, place: URL, folder: Path) -> None:
        self._path, self._folder = Path(place.database or ""), folder
        self._name = place.render_as_string(hide_password=True)
        self.engine = create_engine(place, connect_args={"timeout": BUSY_SECONDS})

        @event.listens_for(self.engine, "connect")
        def _on_connect(connection: Any, record: Any) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA secure_delete=ON")  # what a person had deleted is not left in free pages
            connection.execute("PRAGMA synchronous=FULL")  # a vote shown as counted has reached the disk

        @event.listens_for(self.engine, "begin")
        def _on_begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get("homeroom_write", False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    def exists(self) -> bool:
        return self._path.exists()

    def prepare(self) -> None:
        """Readers and a writer need not wait for each other. The file remembers it."""
        self._execute("PRAGMA journal_mode=WAL")

    def erase(self) -> None:
        """Bring deletions from the log into the file. Where somebody reads now it happens with a later write."""
        self._execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def damage(self, connection: Connection) -> str | None:
        found = "; ".join(connection.execute(text("PRAGMA quick_check(5)")).scalars())
        return None if found == "ok" else found

    def is_full(self) -> bool:
        return no_space_left(self._folder)  # SQLite may call it an I/O error

    def explain(self, reason: str) -> str | None:
        if "locked" in reason:
            return f"another process has been writing to the database for {BUSY_SECONDS} s. Try again when it is done."
        if "malformed" in reason or "not a database" in reason:
            return (
                f"{self._name} is damaged ({reason}). Restore it from a backup, or move it away: artifacts are "
                "recorded again from their folders, but conversations, votes and decisions are only in it."
            )
        return None

    def _execute(self, statement: str) -> None:
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection  # below SQLAlchemy's BEGIN, where it is ignored
            driver.execute(statement)


class Postgres:
    """Writers take turns at a lock of the database. They read what is committed, statement by statement: with one
    writer that is one view, where a snapshot would be of the moment before the lock was had."""

    def __init__(self, place: URL, folder: Path) -> None:
        self._name = place.render_as_string(hide_password=True)
        settings = f"-c lock_timeout={BUSY_SECONDS * 1000} -c synchronous_commit=on -c timezone=UTC"
        try:
            self.engine = create_engine(
                place.set(drivername="postgresql+psycopg"),
                connect_args={"options": settings, "connect_timeout": BUSY_SECONDS},
                pool_pre_ping=True,  # a server that was restarted is not noticed otherwise
                isolation_level="REPEATABLE READ",
            )
        except ModuleNotFoundError as error:
            raise WorkspaceError(
                f"{self._name}: the driver of PostgreSQL is not installed. Run `pip install 'homeroom[postgres]'`."
            ) from error

        @event.listens_for(self.engine, "begin")
        def _on_begin(connection: Connection) -> None:
            if connection.get_execution_options().get("homeroom_write", False):
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ONE_WRITER})")

    def exists(self) -> bool:
        return True

    def prepare(self) -> None:
        pass

    def erase(self) -> None:
        pass  # its VACUUM reuses the space; what archives and backups hold is the administrator's business

    def damage(self, connection: Connection) -> str | None:
        connection.execute(text("SELECT 1"))  # it has page checksums of its own
        return None

    def is_full(self) -> bool:
        return False  # the workspace's disk is not the database's

    def explain(self, reason: str) -> str | None:
        reason = " ".join(reason.split())
        if "lock timeout" in reason:
            return f"another process has been writing to the database for {BUSY_SECONDS} s. Try again when it is done."
        if any(words in reason for words in ("connection failed", "failed to resolve", "closed the connection")):
            return f"{self._name} cannot be reached ({reason}). Start the server, or correct HOMEROOM_DATABASE_URL."
        return None
