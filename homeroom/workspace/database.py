"""The workspace's database: connections, transactions and the version of its tables.

SQLite in WAL mode, in the workspace or by URL elsewhere; no other database keeps these promises yet, so none is
taken. What the tables hold is the business of the files that use them.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, InterfaceError

from homeroom.workspace.errors import DiskFull, WorkspaceError, WorkspaceTooNew, free_space, is_disk_full, no_space_left

# The newest file in migrations/versions. Kept here so that opening a workspace that is up to date need not import
# Alembic, which takes longer than all the rest; a test holds that the two agree.
HEAD = "0004"
BUSY_SECONDS = 30
MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Transactions on one database, from any number of threads and processes."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        try:
            place = make_url(url)
        except ArgumentError as error:
            raise WorkspaceError(f"database URL {url!r} cannot be used: {error}") from error
        self.name = place.render_as_string(hide_password=True)
        if place.drivername not in ("sqlite", "sqlite+pysqlite"):
            raise WorkspaceError(f"database URL {self.name!r} cannot be used: only sqlite:///PATH is supported")
        self._engine = create_engine(place, connect_args={"timeout": BUSY_SECONDS})
        # SQLite's own waiting is polling with growing pauses: writers of one process take turns at a lock instead.
        self._turn = threading.Lock()
        _let_sqlite_keep_promises(self._engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view."""
        with self._errors_explained(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: all of the block or nothing. No other writer comes between its reads and its writes."""
        writing = self._engine.execution_options(homeroom_write=True)
        with self._turn, self._errors_explained(), writing.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def migrate(self) -> None:
        """Bring the tables to this version of Homeroom. Costs one query when they are."""
        if self._version() == HEAD:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Two may open a new workspace at once, and a change to WAL answers "locked" without waiting.
        with FileLock(self.folder / "migrate.lock"):
            self._use_wal()
            # DDL is transactional here: killed half-way is not migrated at all.
            with self.write() as connection:
                _upgrade(connection)

    def damage(self) -> str | None:
        """What the database finds wrong with its own file."""
        try:
            with self.read() as connection:
                found = "; ".join(connection.execute(text("PRAGMA quick_check(5)")).scalars())
        except WorkspaceError as error:
            return str(error)
        return None if found == "ok" else found

    def _use_wal(self) -> None:
        """Readers and a writer need not wait for each other. The file remembers it."""
        with self._errors_explained(), self._engine.connect() as connection:
            driver: Any = connection.connection.driver_connection  # below SQLAlchemy's BEGIN, where it is ignored
            driver.execute("PRAGMA journal_mode=WAL")

    def _version(self) -> str | None:
        if not Path(make_url(self.url).database or "").exists():
            return None  # connecting would create it
        with self.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if version is not None and str(version) > HEAD:
            raise WorkspaceTooNew(
                f"workspace {self.folder}: a newer Homeroom made it (its schema is {version}, this one knows up "
                f"to {HEAD}). Nothing was changed. Upgrade with `pip install --upgrade homeroom`, or name another "
                "workspace."
            )
        return None if version is None else str(version)

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except (DatabaseError, InterfaceError, sqlite3.Error) as error:
            reason = str(getattr(error, "orig", error))
            if is_disk_full(error) or no_space_left(self.folder):  # SQLite may call it an I/O error
                raise DiskFull(
                    f"workspace {self.folder}: the disk is full ({free_space(self.folder)}), so nothing of this was "
                    "written. All that was recorded before is still there. Free some space and try again."
                ) from error
            if "locked" in reason:
                raise WorkspaceError(
                    f"workspace {self.folder}: another process has been writing to the database for "
                    f"{BUSY_SECONDS} s. Try again when it is done."
                ) from error
            if "malformed" in reason or "not a database" in reason:
                raise WorkspaceError(
                    f"workspace {self.folder}: {self.name} is damaged ({reason}). Restore it from a backup, or move "
                    "it away: artifacts are recorded again from their folders, but conversations, votes and "
                    "decisions are only in it."
                ) from error
            raise WorkspaceError(f"workspace {self.folder}: {self.name} answered: {reason}") from error


def _let_sqlite_keep_promises(engine: Engine) -> None:
    """Real transactions, foreign keys, and commits that survive a power cut.

    The driver begins transactions late and ends them before DDL; SQLAlchemy's documented remedy is to take BEGIN
    over. A writer begins IMMEDIATE: one that reads first and then wants to write would fail at once when another
    was faster.
    """

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=FULL")  # a vote shown as counted has reached the disk

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("homeroom_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")
