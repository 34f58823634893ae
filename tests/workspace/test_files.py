from pathlib import Path
from typing import Any

import pytest

from homeroom.workspace.files import is_aside, walk, write_atomically


def test_who_reads_while_it_is_written_sees_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old content")
    with path.open("rb") as reader:
        write_atomically(path, b"new")
        assert reader.read() == b"old content"
    assert path.read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    wrong: Any = 3
    with pytest.raises(TypeError):
        write_atomically(path, wrong)
    assert [(name, path.read_bytes()) for name, path in walk(tmp_path)] == [("file", b"old")]


def test_what_a_kill_leaves_is_known_by_its_name() -> None:
    assert is_aside("weights/.model.bin.123.aside")
    assert not is_aside(".gitignore")
    assert not is_aside("weights.aside")
