"""The workspace's database: connections, transactions and the version of its tables.

SQLite in WAL mode in the workspace, or SQLite or PostgreSQL by URL; what each needs is in backends.py. What the tables
hold is the business of the files that use them.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, InterfaceError

from homeroom.workspace.backends import backend
from homeroom.workspace.errors import DiskFull, WorkspaceError, WorkspaceTooNew, free_space, is_disk_full

# The newest file in migrations/versions. Kept here so that opening a workspace that is up to date need not import
# Alembic, which takes longer than all the rest; a test holds that the two agree.
HEAD = "0007"
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
        self._backend = backend(place, folder)
        self._engine = self._backend.engine
        # Waiting inside the database is polling with growing pauses: writers of one process take turns at a lock.
        self._turn = threading.Lock()

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

    def migrate(self) -> bool:
        """Bring the tables to this version of Homeroom; whether there were none. Costs one query when they are."""
        version = self._version()
        if version == HEAD:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        # Two may open a new workspace at once, and a change to WAL answers "locked" without waiting.
        with FileLock(self.folder / "migrate.lock"):
            with self._errors_explained():
                self._backend.prepare()
            # DDL is transactional here: killed half-way is not migrated at all.
            with self.write() as connection:
                _upgrade(connection)
        return version is None

    def erase(self) -> None:
        """Leave nothing of deleted rows on the disk, as far as that can be helped."""
        with self._errors_explained():
            self._backend.erase()

    def damage(self) -> str | None:
        """What the database finds wrong with its own files."""
        try:
            with self.read() as connection:
                return self._backend.damage(connection)
        except WorkspaceError as error:
            return str(error)

    def _version(self) -> str | None:
        if not self._backend.exists():
            return None
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
            if is_disk_full(error) or self._backend.is_full():
                raise DiskFull(
                    f"workspace {self.folder}: the disk is full ({free_space(self.folder)}), so nothing of this was "
                    "written. All that was recorded before is still there. Free some space and try again."
                ) from error
            if explained := self._backend.explain(reason):
                raise WorkspaceError(f"workspace {self.folder}: {explained}") from error
            raise WorkspaceError(f"workspace {self.folder}: {self.name} answered: {reason}") from error


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")
