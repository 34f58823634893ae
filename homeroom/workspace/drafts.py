"""Making an artifact: a work folder that survives a kill, then publication, whole or not at all.

The work folder's name is the artifact's identity, so a stage that was killed finds what it left there. The order
of publication makes a kill harmless at any point: manifest, fsync, rename (now it is published), scratch files
away, record. Opening the workspace does the last two when a kill came between.
"""

import contextlib
import json
import os
import resource
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from homeroom.files import is_aside, sha256, sync, walk, write_atomically
from homeroom.settings import Frozen, Json, as_json
from homeroom.workspace import tables
from homeroom.workspace.artifacts import (
    MANIFEST,
    SCRATCH,
    Artifact,
    ArtifactStore,
    FileRecord,
    files_of,
    identity,
    remove_scratch,
)
from homeroom.workspace.errors import (
    AlreadyPublished,
    DiskFull,
    WorkspaceBusy,
    WorkspaceError,
    free_space,
    is_disk_full,
)
from homeroom.workspace.runs import Runs

LOG = "progress.jsonl"
BEAT = 2.0  # seconds: what a kill may take from the time that an artifact's making is said to have lasted


class Draft:
    """An artifact in the making. What lies in `path` when the block ends well is published, except `scratch-…`."""

    def __init__(self, artifact_id: str, path: Path) -> None:
        self.id, self.path = artifact_id, path
        self.metrics: dict[str, Json] = {}
        self.published: Artifact | None = None
        self._trials: list[Draft] = []
        self.resumable = any(path.iterdir())  # what it is worth, the stage knows
        _drop_torn_line(path / LOG)
        self._log = (path / LOG).open("a", encoding="utf-8") if (path / LOG).exists() else None

    @property
    def artifact(self) -> Artifact:
        if self.published is None:
            raise WorkspaceError(f"{self.id} is published when its `with` block has ended, not inside of it")
        return self.published

    def log(self, step: int, **values: float) -> None:
        """Add a point to the curves, readable by `read_log` at once."""
        if self._log is None:
            self._log = (self.path / LOG).open("a", encoding="utf-8")
        point = {"step": step} | {key: as_json(value) for key, value in values.items()}
        self._log.write(json.dumps(point) + "\n")
        self._log.flush()

    def truncate_log(self, after_step: int) -> None:
        """Forget the points after this step: a stage that resumes there will make them again."""
        self.close()
        kept = [point for point in read_log(self.path) if (point["step"] or 0) <= after_step]
        write_atomically(self.path / LOG, "".join(json.dumps(point) + "\n" for point in kept))

    def trial(self, name: str) -> "Draft":
        """A draft within this one, of which nothing is published unless it is taken; there again after a kill."""
        folder = self.path / f"{SCRATCH}{name}"
        folder.mkdir(exist_ok=True)
        self._trials.append(Draft(self.id, folder))
        return self._trials[-1]

    def take(self, trial: "Draft") -> None:
        """Have a trial's curves and files for its own, each whole or not at all."""
        self.close()
        for name, path in files_of(trial.path):
            write_atomically(self.path / name, path.read_bytes())

    def close(self) -> None:
        for trial in self._trials:
            trial.close()
        if self._log is not None:
            self._log.close()
            self._log = None


def read_log(folder: Path) -> list[dict[str, float | None]]:
    """The curves of an artifact, or of a draft while it is written. None stands for NaN or infinity."""
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def growing_log(folder: Path) -> list[dict[str, float | None]]:
    """The curves of a draft while it is written, or of the trial within it that was written to last."""
    trials = sorted(folder.glob(f"{SCRATCH}*/{LOG}"), key=lambda path: path.stat().st_mtime)
    return read_log(folder) or (read_log(trials[-1].parent) if trials else [])


@contextmanager
def publish(
    store: ArtifactStore,
    runs: Runs,
    work: Path,
    stage: str,
    settings: Frozen,
    inputs: Sequence[Artifact],
    version: int,
) -> Iterator[Draft]:
    """Publish what the block leaves in the draft's folder, which waits there after an exception or a kill."""
    input_ids = tuple(artifact.id for artifact in inputs)
    artifact_id = identity(stage, settings, input_ids, version)
    busy = f"{artifact_id} is being made by another process. Wait for it, or stop it and run this again."
    with only_one(work / f"{artifact_id}.lock", busy), _full_disk_explained(work, artifact_id):
        if store.find(artifact_id):
            raise AlreadyPublished(f"{artifact_id} is published already. Run the command again to use it.")
        with runs.record(stage, artifact_id), _Effort(work, artifact_id) as effort:
            folder = work / artifact_id
            folder.mkdir(exist_ok=True)
            _clean_up(folder)
            draft = Draft(artifact_id, folder)
            try:
                yield draft
            finally:
                draft.close()
            artifact = Artifact(
                id=artifact_id,
                stage=stage,
                path=store.folder / artifact_id,
                settings=settings.model_dump(mode="json"),
                inputs=input_ids,
                metrics={key: as_json(value) for key, value in draft.metrics.items()},
                files=_seal(folder),
                version=version,
                created=tables.now(),
                seconds=round(effort.seconds(), 3),
                peak_memory_bytes=effort.peak_memory(),
            )
            _move_into_place(folder, artifact, store)
            remove_scratch(artifact.path)
            store.record(artifact)
            draft.published = artifact


@dataclass(frozen=True)
class Unfinished:
    """What lies in the work folder, made right now or left by a kill. Seconds and memory are of all attempts at it."""

    id: str
    stage: str
    path: Path
    seconds: float
    peak_memory_bytes: int


def unfinished(work: Path) -> list[Unfinished]:
    """The drafts that are there, the one worked on last at the end. Who is at work, the runs know."""
    found = []
    for path in work.iterdir():
        with contextlib.suppress(OSError):  # published or tidied away meanwhile
            if path.is_dir() and "-" in path.name and not is_aside(path.name):
                found.append((path.stat().st_mtime, path))
    return [_look_at(path) for _, path in sorted(found)]


def _look_at(path: Path) -> Unfinished:
    effort = {"seconds": 0.0, "peak_memory_bytes": 0}
    with contextlib.suppress(OSError, ValueError):
        effort |= json.loads((path.parent / f"{path.name}.effort.json").read_bytes())
    stage = path.name.rpartition("-")[0]
    return Unfinished(path.name, stage, path, float(effort["seconds"]), int(effort["peak_memory_bytes"]))


def tidy(work: Path) -> list[str]:
    """Remove what lies in the work folder and is not being made right now; the names of what that was."""
    removed = []
    for artifact_id in sorted({path.name.lstrip(".").partition(".")[0] for path in work.iterdir()}):
        with contextlib.suppress(WorkspaceBusy), only_one(work / f"{artifact_id}.lock", artifact_id):
            if (work / artifact_id).is_dir():
                shutil.rmtree(work / artifact_id)
                removed.append(artifact_id)
            for path in [work / f"{artifact_id}.effort.json", *work.glob(f".{artifact_id}.*")]:
                path.unlink(missing_ok=True)
    return removed


def _clean_up(folder: Path) -> None:
    """Remove what an earlier attempt's last steps left, when the kill came there."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for name, path in walk(folder):
        if is_aside(name):
            path.unlink()


def _seal(folder: Path) -> dict[str, FileRecord]:
    """Hash the files, and bring them to the disk: a rename may reach it before what is renamed does."""
    records = {}
    for name, path in files_of(folder):
        if path.is_symlink():
            raise WorkspaceError(f"{path} is a link: an artifact holds its files itself")
        sync(path)
        records[name] = FileRecord(sha256(path), path.stat().st_size)
    for path in folder.rglob("*"):
        if path.is_dir():
            sync(path)
    return records


def _move_into_place(folder: Path, artifact: Artifact, store: ArtifactStore) -> None:
    manifest = json.dumps(artifact.manifest(), ensure_ascii=False, indent=1, allow_nan=False)
    write_atomically(folder / MANIFEST, manifest)
    if artifact.path.exists():  # without a manifest, or it would have been found
        store.set_aside(artifact.id)
    folder.rename(artifact.path)
    sync(artifact.path.parent)
    sync(folder.parent)


class _Effort:
    """Seconds and peak memory over all attempts at an artifact, kept beside its work folder.

    Written every few seconds: a kill leaves no time to, and many stages write no file of their own for long.
    """

    def __init__(self, work: Path, artifact_id: str) -> None:
        self._folder, self._file = work / artifact_id, work / f"{artifact_id}.effort.json"
        self._seconds, self._peak = 0.0, 0
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "_Effort":
        if self._file.exists() and self._folder.exists():
            before = json.loads(self._file.read_bytes())
            self._seconds, self._peak = before["seconds"], before["peak_memory_bytes"]
        self._began = time.monotonic()
        _forget_peak_memory()
        self._write()
        self._beating.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._beating.join()
        if error[0] is None:
            self._file.unlink(missing_ok=True)
            return
        with contextlib.suppress(OSError):  # a full disk: this attempt's last seconds are lost, not its work
            self._write()

    def seconds(self) -> float:
        return self._seconds + time.monotonic() - self._began

    def peak_memory(self) -> int:
        return max(self._peak, _peak_memory())

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with contextlib.suppress(OSError):
                self._write()

    def _write(self) -> None:
        write_atomically(self._file, json.dumps({"seconds": self.seconds(), "peak_memory_bytes": self.peak_memory()}))


def _forget_peak_memory() -> None:
    """Let this process' peak begin anew, so that each stage of a run shows its own. Linux only."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def only_one(path: Path, busy: str) -> Iterator[None]:
    """Raises WorkspaceBusy(busy) while another has it. The system lets go of the lock when its process dies, however
    it dies."""
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise WorkspaceBusy(busy) from error
    try:
        yield
        # Only here, where the work is over: who opened the file before and locks it now finds the artifact published.
        path.unlink(missing_ok=True)
    finally:
        lock.release()


@contextmanager
def _full_disk_explained(work: Path, artifact_id: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFull) or not is_disk_full(error):
            raise
        raise DiskFull(
            f"{artifact_id}: the disk is full ({free_space(work)} in {work}). What was published is all there, and "
            "the unfinished work is kept. Free some space and run the same command again: it goes on from there."
        ) from error


def _drop_torn_line(path: Path) -> None:
    """A kill may have come in the middle of a line of the log."""
    if path.exists():
        with path.open("r+b") as file:
            content: Any = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(file.fileno(), whole)
