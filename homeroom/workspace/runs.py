"""Which stage ran when, for how long, and how it ended. What it made is the artifacts' business."""

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psutil
from sqlalchemy import select, update

from homeroom.workspace import tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import WorkspaceError

State = Literal["running", "finished", "failed", "killed"]


@dataclass(frozen=True)
class Run:
    """One execution of a stage. One that is said to run, by a process that no longer does, was killed."""

    id: int
    stage: str
    artifact_id: str | None
    state: State
    started: str
    ended: str | None
    seconds: float | None
    pid: int
    error: str | None


class Runs:
    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def record(self, stage: str, artifact_id: str | None = None) -> Iterator[int]:
        """Record the block as a run: finished when it ends well, failed with its error otherwise."""
        began = time.monotonic()
        with self._database.write() as connection:
            beginning = {
                "stage": stage,
                "artifact_id": artifact_id,
                "state": "running",
                "started": tables.now(),
                "host": platform.node(),
                "pid": os.getpid(),
                "pid_started": psutil.Process().create_time(),
            }
            number = tables.insert_numbered(connection, tables.runs, beginning)
        try:
            yield number
        except BaseException as error:
            # On a full disk this cannot be written either, and the first error is the one to tell.
            with contextlib.suppress(WorkspaceError):
                self._end(number, "failed", began, f"{type(error).__name__}: {error}".removesuffix(": "))
            raise
        self._end(number, "finished", began, None)

    def _end(self, number: int, state: State, began: float, error: str | None) -> None:
        ending = {"state": state, "ended": tables.now(), "seconds": time.monotonic() - began, "error": error}
        with self._database.write() as connection:
            connection.execute(update(tables.runs).where(tables.runs.c.number == number).values(**ending))

    def recent(self, limit: int = 100) -> list[Run]:
        """The newest runs, newest first."""
        with self._database.read() as connection:
            newest = select(tables.runs).order_by(tables.runs.c.number.desc()).limit(limit)
            rows = connection.execute(newest).all()
        return [
            Run(
                id=row.number,
                stage=row.stage,
                artifact_id=row.artifact_id,
                state="killed" if row.state == "running" and not _alive(row) else row.state,
                started=row.started,
                ended=row.ended,
                seconds=row.seconds,
                pid=row.pid,
                error=row.error,
            )
            for row in rows
        ]


def _alive(row: Any) -> bool:
    if row.host != platform.node():
        return True  # shared by several machines: only its own can tell
    try:
        process = psutil.Process(row.pid)
        # Two seconds, since it is reckoned from the boot time, which drifts a little.
        return abs(process.create_time() - row.pid_started) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
