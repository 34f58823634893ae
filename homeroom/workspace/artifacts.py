"""Published artifacts: what they are, which is the latest, and whether their files are as they were made.

An artifact's folder is the truth and the database its index: a folder that is missing there is recorded again
when the workspace is opened. How a folder comes to be published is in drafts.py.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import func, insert, select, update

from homeroom.files import sha256, sync, walk
from homeroom.settings import Frozen, Json
from homeroom.workspace import tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import Damaged, MissingArtifact, WorkspaceError

MANIFEST = "manifest.json"
SCRATCH = "scratch-"  # names of what a stage needs to resume and nobody needs afterwards


@dataclass(frozen=True)
class FileRecord:
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Artifact:
    """What a stage made. Its identity says what it was made from, its manifest what it holds."""

    id: str
    stage: str
    path: Path
    settings: dict[str, Json]
    inputs: tuple[str, ...]
    metrics: dict[str, Json]
    files: dict[str, FileRecord]
    version: int
    created: str
    seconds: float
    peak_memory_bytes: int

    @property
    def size(self) -> int:
        """Of all its files, in bytes."""
        return sum(record.bytes for record in self.files.values())

    def check(self) -> None:
        """Raises Damaged unless its files are as they were published: for whoever is about to build upon them."""
        for name, record in self.files.items():
            path = self.path / name
            if not path.is_file() or sha256(path) != record.sha256:
                raise Damaged(f"{path} is not as it was published, so it is not used. See `homeroom verify`.")

    def manifest(self) -> dict[str, Any]:
        fields = asdict(self)
        del fields["path"]
        return fields | {"inputs": list(self.inputs)}

    @classmethod
    def from_manifest(cls, path: Path, manifest: dict[str, Any]) -> Self:
        files = {name: FileRecord(**record) for name, record in manifest["files"].items()}
        return cls(**manifest | {"path": path, "files": files, "inputs": tuple(manifest["inputs"])})


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was made. Where it belongs to no artifact, `artifact_id` is empty."""

    artifact_id: str
    file: str
    expected: str
    found: str


def identity(stage: str, settings: Frozen, inputs: Sequence[str], version: int) -> str:
    """The same stage, settings, inputs (in their order) and stage version always have the same name."""
    if not stage.isidentifier():
        raise WorkspaceError(f"stage {stage!r}: a stage's name is letters, digits and underscores")
    described = {
        "stage": stage,
        "settings": settings.model_dump(mode="json"),
        "inputs": list(inputs),
        "version": version,
    }
    canonical = json.dumps(described, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"{stage}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


def ancestor(artifact: Artifact, stage: str, find: Callable[[str], Artifact | None]) -> Artifact | None:
    """The nearest artifact of `stage` that this one was made from, at however many removes. `find` knows them by id."""
    waiting = list(artifact.inputs)
    for name in waiting:
        found = find(name)
        if found is not None and found.stage == stage:
            return found
        waiting += [further for further in (found.inputs if found else ()) if further not in waiting]
    return None


class ArtifactStore:
    """The published artifacts of one workspace."""

    def __init__(self, folder: Path, set_aside_folder: Path, database: Database) -> None:
        self.folder, self._set_aside_folder, self._database = folder, set_aside_folder, database

    def find(self, artifact_id: str) -> Artifact | None:
        """The artifact, if it is published and its folder is there."""
        with self._database.read() as connection:
            row = connection.execute(
                select(tables.artifacts.c.manifest).where(tables.artifacts.c.id == artifact_id)
            ).one_or_none()
        path = self.folder / artifact_id
        return Artifact.from_manifest(path, row.manifest) if row and (path / MANIFEST).is_file() else None

    def get(self, artifact_id: str) -> Artifact:
        if artifact := self.find(artifact_id):
            return artifact
        stage = artifact_id.rpartition("-")[0]
        known = ", ".join(a.id for a in self.all() if a.stage == stage) or "none"
        raise MissingArtifact(f"artifact {artifact_id} is not in {self.folder}. Those of its stage: {known}.")

    def latest(self, stage: str) -> Artifact:
        """The stage's result that was made, or found again by a rerun, last."""
        with self._database.read() as connection:
            newest = connection.execute(
                select(tables.artifacts.c.id)
                .where(tables.artifacts.c.stage == stage)
                .order_by(tables.artifacts.c.used.desc(), tables.artifacts.c.used_at.desc())
                .limit(1)
            ).scalar()
        if newest is None:
            raise MissingArtifact(f"nothing was made by {stage} yet. Run `homeroom {stage}` first.")
        if artifact := self.find(newest):
            return artifact
        # Not the one before it: what was made from the missing one would silently belong to something else.
        raise MissingArtifact(
            f"{newest} is the latest of {stage}, but its folder {self.folder / newest} is gone or has lost its "
            f"{MANIFEST}. Run `homeroom {stage}` to make it again."
        )

    def made_of(self, artifact_id: str, stage: str) -> Artifact | None:
        """What a stage made of this artifact alone, the one used last."""
        made = (found for found in reversed(self.all()) if found.stage == stage and found.inputs == (artifact_id,))
        return next(made, None)

    def all(self) -> list[Artifact]:
        """All that are there, the one used last at the end."""
        in_order = select(tables.artifacts).order_by(tables.artifacts.c.used, tables.artifacts.c.used_at)
        with self._database.read() as connection:
            rows = connection.execute(in_order).all()
        paths = [(self.folder / row.id, row.manifest) for row in rows]
        return [Artifact.from_manifest(path, manifest) for path, manifest in paths if (path / MANIFEST).is_file()]

    def record(self, artifact: Artifact) -> None:
        """Make a published folder known, or one that a rerun found again, and so the latest of its stage."""
        row = {"id": artifact.id, "stage": artifact.stage, "manifest": artifact.manifest()}
        with self._database.write() as connection:
            changed = connection.execute(
                update(tables.artifacts).where(tables.artifacts.c.id == artifact.id).values(**row)
            )
            if not changed.rowcount:
                connection.execute(insert(tables.artifacts).values(**row, used=0, used_at=tables.now()))
            used = select(func.max(tables.artifacts.c.used) + 1).scalar_subquery()
            connection.execute(
                update(tables.artifacts)
                .where(tables.artifacts.c.id == artifact.id)
                .values(used=used, used_at=tables.now())
            )

    def recover(self) -> int:
        """Record what was published but not recorded, because a kill came between or the database was lost.

        Returns how many artifacts that were.
        """
        with self._database.read() as connection:
            known = set(connection.execute(select(tables.artifacts.c.id)).scalars())
        found = [path for path in self.folder.iterdir() if path.name not in known and path.is_dir()]
        artifacts = [artifact for path in found if (artifact := _read_folder(path))]
        for artifact in sorted(artifacts, key=lambda a: a.created):
            remove_scratch(artifact.path)
            self.record(artifact)
        return len(artifacts)

    def set_aside(self, artifact_id: str) -> Path:
        """Move a damaged artifact's folder away, so that its stage makes it again. Returns where it is now."""
        source = self.folder / artifact_id
        if not source.is_dir() or source.parent != self.folder:
            raise MissingArtifact(f"artifact {artifact_id} has no folder in {self.folder}")
        self._set_aside_folder.mkdir(exist_ok=True)
        number = 1
        while (target := self._set_aside_folder / f"{artifact_id}.{number}").exists():
            number += 1
        source.rename(target)
        sync(self.folder)
        return target

    def set_aside_all(self, damages: Sequence[Damage]) -> dict[str, Path]:
        """Move away whatever of these has a folder and is still damaged; where each is now."""
        names = dict.fromkeys(damage.artifact_id for damage in damages if damage.artifact_id)
        return {name: self.set_aside(name) for name in names if (self.folder / name).is_dir() and self._damages(name)}

    def verify(self) -> list[Damage]:
        """Hash every file of every artifact again, and name what is damaged or missing."""
        with self._database.read() as connection:
            known = list(connection.execute(select(tables.artifacts.c.id)).scalars())
        damages = [damage for name in known for damage in self._damages(name)]
        for path in sorted(self.folder.iterdir()):
            if path.name not in known:
                damages += self._damages(path.name)
        if found := self._database.damage():
            damages.append(Damage("", self._database.name, "a sound database", found))
        return damages

    def _damages(self, artifact_id: str) -> list[Damage]:
        """As it is now: hashing all takes minutes, in which other processes publish."""
        path = self.folder / artifact_id
        with self._database.read() as connection:
            manifest = connection.execute(
                select(tables.artifacts.c.manifest).where(tables.artifacts.c.id == artifact_id)
            ).scalar()
        # What is not recorded yet, a kill or a publisher's next step apart, says itself what it should be.
        artifact = Artifact.from_manifest(path, manifest) if manifest else _read_folder(path)
        if artifact is None:
            return [Damage(artifact_id, MANIFEST, "a readable manifest", "none")]
        return _verify_folder(artifact)


def remove_scratch(folder: Path) -> None:
    """Whoever opens the workspace tidies up after a kill, and may meet the publisher at the same work."""
    for root, folders, files in os.walk(folder):
        for name in [name for name in folders if name.startswith(SCRATCH)]:
            shutil.rmtree(Path(root, name), ignore_errors=True)
            folders.remove(name)
        for name in files:
            if name.startswith(SCRATCH):
                Path(root, name).unlink(missing_ok=True)


def is_scratch(name: str) -> bool:
    return any(part.startswith(SCRATCH) for part in name.split("/"))


def _read_folder(path: Path) -> Artifact | None:
    """The artifact of a folder, None where its manifest is damaged or another's."""
    try:
        artifact = Artifact.from_manifest(path, json.loads((path / MANIFEST).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return artifact if artifact.id == path.name else None


def _verify_folder(artifact: Artifact) -> list[Damage]:
    if not artifact.path.is_dir():
        return [Damage(artifact.id, ".", "the artifact's folder", "missing")]
    damages = []
    on_disk = _read_folder(artifact.path)
    if on_disk is None or on_disk.manifest() != artifact.manifest():
        present = (artifact.path / MANIFEST).exists()
        damages.append(Damage(artifact.id, MANIFEST, "as recorded", "changed" if present else "missing"))
    for name, expected in artifact.files.items():
        try:
            found = sha256(artifact.path / name)
        except FileNotFoundError:
            found = "missing"
        except OSError as error:
            found = f"unreadable: {error.strerror}"
        if found != expected.sha256:
            damages.append(Damage(artifact.id, name, expected.sha256, found))
    return damages


def files_of(folder: Path) -> list[tuple[str, Path]]:
    """The files that belong to an artifact: all but scratch ones and the manifest."""
    return [(name, path) for name, path in walk(folder) if name != MANIFEST and not is_scratch(name)]
