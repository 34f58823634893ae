"""Files that are there whole or not at all, and on the disk when we say so. What they hold is others' business."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Where the block is to write what belongs at `path`. When it ends well: fsync, rename.

    A reader, or whoever comes after a kill, sees the old file or the new one.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        yield aside
        sync(aside)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_atomically(path: Path, content: bytes | str) -> None:
    """The whole file, or the one that was there before."""
    with written_aside(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


def sync(path: Path) -> None:
    """Return when the file, or a folder's list of names, has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def with_mode_of_others(path: Path) -> None:
    """The permissions that a new file gets here."""
    other = path.with_name(f".{path.name}.{os.getpid()}.mode.aside")  # what a kill leaves is known by its name
    try:
        other.touch()  # asking for the umask would change it for every thread
        path.chmod(other.stat().st_mode)
    finally:
        other.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where this user's programs keep what can be made again."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "homeroom"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below with its name relative to the folder, in the order of names."""
    files = (path for path in folder.rglob("*") if not path.is_dir())
    yield from sorted((path.relative_to(folder).as_posix(), path) for path in files)


def is_aside(name: str) -> bool:
    """Whether a kill left this file between written_aside's steps, or in the middle of safetensors' own writing."""
    return re.fullmatch(r"\..*\.aside|\.tmp[0-9A-Za-z]{6}", name.rpartition("/")[2], re.DOTALL) is not None
