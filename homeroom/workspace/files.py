"""Files that are there whole or not at all, and on the disk when we say so. What they hold is others' business."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write aside, fsync, rename: a reader, or whoever comes after a kill, sees the old file or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Return when the file, or a folder's list of names, has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below with its name relative to the folder, in the order of names."""
    files = (path for path in folder.rglob("*") if not path.is_dir())
    yield from sorted((path.relative_to(folder).as_posix(), path) for path in files)


def is_aside(name: str) -> bool:
    """Whether a kill left this file between write_atomically's steps."""
    return name.rpartition("/")[2].startswith(".") and name.endswith(".aside")
