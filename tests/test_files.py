import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from homeroom.files import is_aside, walk, write_atomically, written_aside


def test_who_reads_while_it_is_written_sees_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old content")
    with path.open("rb") as reader:
        write_atomically(path, "新")
        assert reader.read() == b"old content"
    assert path.read_text(encoding="utf-8") == "新"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    wrong: Any = 3
    with pytest.raises(TypeError):
        write_atomically(path, wrong)
    with pytest.raises(FileNotFoundError), written_aside(path) as aside:
        aside.with_name("another").rename(aside)
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half\ud800")
    assert [(name, path.read_bytes()) for name, path in walk(tmp_path)] == [("file", b"old")]


def test_the_content_reaches_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut a name without its content would pass for a whole file."""
    path, done = tmp_path / "file", []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        done.append("content" if not path.exists() else "name")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, b"new")
    assert done == ["content", "name"]


def test_what_a_kill_leaves_is_known_by_its_name(tmp_path: Path) -> None:
    with written_aside(tmp_path / "model.bin") as aside:
        aside.touch()
        assert is_aside(aside.name)
    assert is_aside("weights/.model.bin.123.aside")
    assert not is_aside(".gitignore")
    assert not is_aside("weights.aside")


def test_what_a_kill_leaves_of_safetensors_own_writing_is_known_too(tmp_path: Path) -> None:
    """It writes aside as well, under names of its own: caught in the act, for a later version may choose others."""
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.update(path.name for path in tmp_path.iterdir())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(50):
        save_file({"weight": torch.zeros(200_000)}, tmp_path / "model.safetensors")
    done.set()
    watcher.join()
    assert {name for name in seen if not is_aside(name)} == {"model.safetensors"}
