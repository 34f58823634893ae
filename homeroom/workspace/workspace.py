"""The folder and database that hold all that a project made: the front door of this room.

<workspace>/homeroom.sqlite   what is recorded: artifacts, runs, decisions, conversations, votes, users, keys;
                              or elsewhere, or in PostgreSQL: see `Workspace.open`
<workspace>/artifacts/<id>/   what stages made, published whole
<workspace>/work/<id>/        what stages are making; waits there after a kill
<workspace>/set-aside/        damaged artifacts that were moved away
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from homeroom.progress import say
from homeroom.settings import Frozen
from homeroom.workspace import drafts
from homeroom.workspace.artifacts import Artifact, ArtifactStore, Damage, identity
from homeroom.workspace.database import Database
from homeroom.workspace.deletion import Forgotten, readers, remove_person
from homeroom.workspace.drafts import Draft, Unfinished
from homeroom.workspace.errors import DiskFull, NotServable, WorkspaceError, is_disk_full
from homeroom.workspace.exchange import Imported, import_file
from homeroom.workspace.feedback import Feedback
from homeroom.workspace.judged import judged_up_to
from homeroom.workspace.keys import Keys
from homeroom.workspace.names import MODEL_STAGES
from homeroom.workspace.pairs import Pairs
from homeroom.workspace.queue import Queue
from homeroom.workspace.registry import Decision, Registry
from homeroom.workspace.runs import Runs
from homeroom.workspace.sessions import Sessions
from homeroom.workspace.standings import Standings
from homeroom.workspace.traces import Judgement, learned_from, rows_of
from homeroom.workspace.users import Users

DATABASE = "homeroom.sqlite"
DATABASE_URL = "HOMEROOM_DATABASE_URL"  # of one workspace: two in one database would take each other's rows for theirs


class Workspace:
    """Open one with `Workspace.open`; any number of processes and threads may have the same one open."""

    def __init__(self, path: Path, database: Database) -> None:
        self.path, self.database_url, self._database = path, database.url, database
        self.artifacts = ArtifactStore(path / "artifacts", path / "set-aside", database)
        self.registry = Registry(database)
        self.feedback = Feedback(database)
        self.queue = Queue(database)
        self.standings = Standings(database)
        self.pairs = Pairs(database)
        self.runs = Runs(database)
        self.keys = Keys(database)
        self.users = Users(database)
        self.sessions = Sessions(database)

    @classmethod
    def open(cls, path: Path, database_url: str | None = None) -> Self:
        """Open the workspace, creating it or bringing its tables up to date where needed.

        Its database is at `database_url`, else at the URL in HOMEROOM_DATABASE_URL, else in the workspace.

        Raises WorkspaceTooNew, with nothing changed, when a later Homeroom made it.
        """
        path = Path(path).absolute()
        url = database_url or os.environ.get(DATABASE_URL) or f"sqlite:///{path / DATABASE}"
        database = Database(url, path)
        workspace = cls(path, database)
        try:
            lost = database.migrate()  # first, for it refuses what this version must not touch
            workspace.artifacts.folder.mkdir(parents=True, exist_ok=True)
            (path / "work").mkdir(exist_ok=True)
            found = workspace.artifacts.recover()
            if lost and found:
                say(
                    "workspace",
                    f"{database.name} was new. {found} artifacts were recorded anew; who was champion, "
                    "conversations and votes are lost. If there is a copy of it, put it back.",
                )
        except OSError as error:
            database.close()
            if is_disk_full(error):
                raise DiskFull(f"workspace {path}: the disk is full. Free some space.") from error
            raise WorkspaceError(f"workspace {path} cannot be opened: {error.strerror}.") from error
        except BaseException:
            database.close()
            raise
        return workspace

    def publish(
        self, stage: str, settings: Frozen, inputs: Sequence[Artifact] = (), version: int = 1
    ) -> AbstractContextManager[Draft]:
        """A draft that the `with` block fills and that is published when the block ends well: all or nothing.

        After an exception or a kill the same call finds the draft's folder as it was left (`draft.resumable`).
        """
        return drafts.publish(self.artifacts, self.runs, self.path / "work", stage, settings, inputs, version)

    def find(self, stage: str, settings: Frozen, inputs: Sequence[Artifact] = (), version: int = 1) -> Artifact | None:
        """The identical artifact, if it was published before; it becomes the latest of its stage again."""
        artifact = self.artifacts.find(identity(stage, settings, [a.id for a in inputs], version))
        if artifact:
            self.artifacts.record(artifact)
        return artifact

    def latest(self, stage: str) -> Artifact:
        """The stage's newest artifact. MissingArtifact says what to run."""
        return self.artifacts.latest(stage)

    def champion(self) -> Artifact | None:
        """The model that is served, whole. MissingArtifact and Damaged say that there is a way back."""
        name = self.registry.champion()
        if name is None:
            return None
        try:
            artifact = self.artifacts.get(name)
            artifact.check()
        except WorkspaceError as error:
            raise type(error)(
                f"{error} It is the champion: `homeroom rollback` makes the one before it champion again."
            ) from None
        return artifact

    def promote_by_hand(self, name: str, by: str, reason: str = "", *, over: str | None = None) -> Decision:
        """Make a model champion because a person says so. Raises for what is no model, damaged, or champion already."""
        artifact = self.artifacts.get(name)
        if artifact.stage not in MODEL_STAGES:
            raise NotServable(
                f"{name} was made by {artifact.stage} and is no language model, so it cannot answer. "
                f"Allowed: what was made by {', '.join(MODEL_STAGES)}; see `homeroom status`."
            )
        artifact.check()
        return self.registry.promote_by_hand(name, by, reason, over=over)

    def learned_from(self, artifact: Artifact, limit: int = 100) -> tuple[int, list[Judgement]]:
        """How many judgements an artifact read, and the first of them: see traces.py."""
        with self._database.read() as connection:
            return learned_from(connection, artifact.path, limit)

    def went_into(self, name: str) -> Forgotten | None:
        """What was made of a conversation, a message or a judgement, by its id; None: there is no such row."""
        with self._database.read() as connection:
            rows = rows_of(connection, name)
        return None if rows is None else readers(rows, self.artifacts.all, self.path / "work")

    def unfinished(self) -> list[Unfinished]:
        """What stages are making, or were when they were killed."""
        return drafts.unfinished(self.path / "work")

    def verify(self) -> list[Damage]:
        """Hash everything again and name what is damaged or missing."""
        return self.artifacts.verify()

    def tidy(self) -> list[str]:
        """Remove unfinished work that no process is at, such as that of settings nobody has any more; its names."""
        return drafts.tidy(self.path / "work")

    def judged_up_to(self) -> tuple[int, ...]:
        """Where judgements have got to: another answer than before says that there are new ones."""
        with self._database.read() as connection:
            return judged_up_to(connection)

    def only_watcher(self) -> AbstractContextManager[None]:
        """While it is held, another one raises WorkspaceBusy, in this process or any other."""
        busy = f"another `homeroom improve --watch` is at work on {self.path}. One is enough: stop it first."
        return drafts.only_one(self.path / "watch.lock", busy)

    def import_feedback(self, path: Path, user: str = "import") -> Imported:
        """Add the judgements of a JSONL file, whose formats are in exchange.py."""
        return import_file(self._database, path, user)

    def forget(self, user: str) -> Forgotten:
        """Delete all that a person said, in one transaction, and name what had been made of it: see deletion.py."""
        with self._database.write() as connection:
            removed = remove_person(connection, user)
        try:
            self._database.erase()
        except WorkspaceError as error:  # gone they are all the same, and what was made of them has to be told now
            say(
                "workspace",
                f"what was deleted may lie unreadable in the database's file until the next deletion: {error}",
            )
        return readers(removed, self.artifacts.all, self.path / "work")

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
