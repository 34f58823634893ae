"""Copies of workspaces, for benches that go on from one and must leave it as it is."""

import os
import shutil
import tempfile
from pathlib import Path

_NEVER_WRITTEN_TO = (".safetensors", ".parquet", ".bin")


def copy_workspace(source: Path, target: Path, *leave_out: str) -> None:
    """The whole workspace at `target`, or nothing; files that are large and never written to are shared."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        copy = Path(scratch) / "w"
        shutil.copytree(source, copy, copy_function=_linked, ignore=shutil.ignore_patterns(*leave_out))
        copy.rename(target)


def _linked(source: str, target: str) -> None:
    (os.link if source.endswith(_NEVER_WRITTEN_TO) else shutil.copy2)(source, target)
