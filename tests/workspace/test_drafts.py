import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeroom.settings import Frozen
from homeroom.workspace import AlreadyPublished, Workspace, WorkspaceBusy, WorkspaceError, growing_log, read_log
from homeroom.workspace.artifacts import remove_scratch


class Config(Frozen):
    steps: int = 3


@contextmanager
def stopped() -> Iterator[None]:
    with pytest.raises(KeyboardInterrupt):
        yield


def test_nothing_is_seen_before_the_block_ends(workspace: Workspace) -> None:
    with workspace.publish("sft", Config()) as draft:
        (draft.path / "model").write_text("half")
        assert workspace.find("sft", Config()) is None
        assert list(workspace.artifacts.folder.iterdir()) == []
        with pytest.raises(WorkspaceError, match="is published when its `with` block has ended"):
            _ = draft.artifact
    assert draft.artifact.path.joinpath("model").read_text() == "half"
    assert not draft.path.exists()


def test_after_an_error_the_folder_waits_and_the_next_attempt_finds_it(workspace: Workspace) -> None:
    with stopped(), workspace.publish("sft", Config()) as draft:
        assert not draft.resumable
        (draft.path / "scratch-checkpoint").write_text("step 2")
        draft.log(1, loss=3.0)
        draft.log(2, loss=2.0)
        draft.log(3, loss=1.0)
        raise KeyboardInterrupt
    assert workspace.find("sft", Config()) is None
    with workspace.publish("sft", Config(steps=4)) as other:
        assert not other.resumable
    with workspace.publish("sft", Config()) as draft:
        assert draft.resumable
        assert (draft.path / "scratch-checkpoint").read_text() == "step 2"
        draft.truncate_log(after_step=2)
        draft.log(3, loss=1.5)
    assert read_log(draft.artifact.path) == [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 2.0},
        {"step": 3, "loss": 1.5},
    ]
    assert set(draft.artifact.files) == {"progress.jsonl"}


def test_two_may_tidy_the_same_folder_at_once(tmp_path: Path) -> None:
    """Who publishes, and whoever opens the workspace meanwhile."""
    with ThreadPoolExecutor(2) as pool:
        for number in range(40):
            folder = tmp_path / str(number) / "scratch-control"
            folder.mkdir(parents=True)
            for name in range(30):
                (folder / str(name)).write_text("")
            for done in [pool.submit(remove_scratch, folder.parent) for _ in range(2)]:
                done.result()
            assert not folder.exists()


def test_scratch_files_and_folders_are_not_published(workspace: Workspace) -> None:
    with workspace.publish("sft", Config()) as draft:
        for name in ("scratch-a", "model", "nested/scratch-b", "nested/kept", "scratch-c/deep"):
            (draft.path / name).parent.mkdir(exist_ok=True)
            (draft.path / name).write_text(name)
    names = {path.relative_to(draft.artifact.path).as_posix() for path in draft.artifact.path.rglob("*")}
    assert names == {"model", "nested", "nested/kept", "manifest.json"}
    assert set(draft.artifact.files) == {"model", "nested/kept"}


def test_of_trials_only_what_is_taken_is_published_and_the_last_is_seen_to_grow(workspace: Workspace) -> None:
    with workspace.publish("sft", Config()) as draft:
        for number in range(2):
            trial = draft.trial(f"seed-{number}")
            trial.log(1, loss=float(number))
            (trial.path / "samples.txt").write_text(f"of {number}", encoding="utf-8")
            (trial.path / "scratch-weights").write_text("large", encoding="utf-8")
            os.utime(trial.path / "progress.jsonl", (number, number))
        assert (read_log(draft.path), growing_log(draft.path)) == ([], [{"step": 1, "loss": 1.0}])
        draft.take(draft.trial("seed-0"))
        assert growing_log(draft.path) == [{"step": 1, "loss": 0.0}]
    made = draft.artifact
    assert read_log(made.path) == [{"step": 1, "loss": 0.0}]
    assert (made.path / "samples.txt").read_text(encoding="utf-8") == "of 0"
    assert sorted(path.name for path in made.path.iterdir()) == ["manifest.json", "progress.jsonl", "samples.txt"]


def test_figures_of_any_kind_become_json(workspace: Workspace) -> None:
    figures: dict[str, Any] = {"a": np.float32(0.5), "b": float("nan"), "c": (np.int64(2), None), "d": {"e": True}}
    with workspace.publish("sft", Config()) as draft:
        draft.metrics.update(figures)
        draft.log(1, loss=float("inf"), rate=np.float32(2))
    assert draft.artifact.metrics == {"a": 0.5, "b": None, "c": [2, None], "d": {"e": True}}
    assert read_log(draft.artifact.path) == [{"step": 1, "loss": None, "rate": 2.0}]
    assert workspace.verify() == []


def test_a_torn_line_of_the_log_is_dropped(workspace: Workspace) -> None:
    with stopped(), workspace.publish("sft", Config()) as draft:
        draft.log(1, loss=3.0)
        with (draft.path / "progress.jsonl").open("a") as file:
            file.write('{"step": 2, "lo')
        raise KeyboardInterrupt
    assert read_log(draft.path) == [{"step": 1, "loss": 3.0}]
    with workspace.publish("sft", Config()) as draft:
        draft.log(2, loss=2.0)
    assert read_log(draft.artifact.path) == [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}]


def test_the_identical_artifact_is_not_made_twice(workspace: Workspace) -> None:
    with workspace.publish("sft", Config()):
        pass
    with pytest.raises(AlreadyPublished), workspace.publish("sft", Config()):
        pytest.fail("the block must not begin")
    with workspace.publish("sft", Config(), version=2):
        pass


def test_two_cannot_make_the_same_at_once(workspace: Workspace, folder: Path) -> None:
    with workspace.publish("sft", Config()) as draft, Workspace.open(folder) as other:
        (draft.path / "model").write_text("mine")
        with pytest.raises(WorkspaceBusy, match="being made by another process"), other.publish("sft", Config()):
            pytest.fail("the block must not begin")
        with other.publish("sft", Config(steps=9)):
            pass
    assert draft.artifact.path.joinpath("model").read_text() == "mine"


def test_nothing_stays_in_the_work_folder(workspace: Workspace) -> None:
    with workspace.publish("sft", Config()):
        pass
    assert list((workspace.path / "work").iterdir()) == []


def test_tidying_removes_unfinished_work_but_not_what_is_being_made(workspace: Workspace, folder: Path) -> None:
    with stopped(), workspace.publish("sft", Config(steps=1)) as abandoned:
        (abandoned.path / "scratch-checkpoint").write_text("step 2")
        (workspace.path / "work" / f".{abandoned.id}.effort.json.1.aside").touch()
        raise KeyboardInterrupt
    with workspace.publish("sft", Config(steps=2)) as draft, Workspace.open(folder) as other:
        (draft.path / "model").write_text("mine")
        assert other.tidy() == [abandoned.id]
        assert not abandoned.path.exists()
    assert draft.artifact.path.joinpath("model").read_text() == "mine"
    assert list((workspace.path / "work").iterdir()) == []
    with workspace.publish("sft", Config(steps=1)) as again:
        assert not again.resumable


def test_a_link_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    with pytest.raises(WorkspaceError, match="is a link"), workspace.publish("sft", Config()) as draft:
        (draft.path / "link").symlink_to(tmp_path / "outside")


def test_seconds_and_peak_memory_are_those_of_all_attempts(workspace: Workspace) -> None:
    with stopped(), workspace.publish("sft", Config()):
        # Mapped, because the heap of a process that has run other tests may hold that much unused.
        with mmap.mmap(-1, 60_000_000) as ballast:
            for page in range(0, len(ballast), mmap.PAGESIZE):
                ballast[page] = 1
            time.sleep(0.2)
        raise KeyboardInterrupt
    with workspace.publish("sft", Config()) as draft:
        time.sleep(0.1)
    assert draft.artifact.seconds >= 0.3
    with workspace.publish("sft", Config(steps=4)) as light:
        pass
    assert draft.artifact.peak_memory_bytes > light.artifact.peak_memory_bytes > 10_000_000


def test_a_killed_attempt_counts_whether_or_not_it_wrote_a_file(workspace: Workspace, folder: Path) -> None:
    script = """if True:
        import os, signal, sys, time
        from pathlib import Path
        from homeroom.settings import Frozen
        from homeroom.workspace import Workspace, drafts
        class Config(Frozen):
            steps: int = 3
        drafts.BEAT = 0.02
        with Workspace.open(Path(sys.argv[1])) as workspace, workspace.publish("sft", Config()):
            ballast = bytearray(os.urandom(1)) * 300_000_000
            time.sleep(1)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", script, str(folder)], check=False).returncode < 0
    with workspace.publish("sft", Config()) as draft:
        pass
    assert draft.artifact.seconds > 0.8
    assert draft.artifact.peak_memory_bytes > 300_000_000


def test_what_is_unfinished_is_listed_with_its_effort_and_no_longer_when_it_is_done(sqlite_folder: Path) -> None:
    with Workspace.open(sqlite_folder) as workspace:
        with stopped(), workspace.publish("sft", Config()) as draft:
            draft.log(1, loss=3.0)
            raise KeyboardInterrupt
        with workspace.publish("ppo", Config()) as other:
            found = workspace.unfinished()
            assert [(one.id, one.stage) for one in found] == [(draft.id, "sft"), (other.id, "ppo")]
            assert found[0].seconds > 0
            assert found[0].peak_memory_bytes > 1e6
            assert read_log(found[0].path) == [{"step": 1, "loss": 3.0}]
        assert [one.id for one in workspace.unfinished()] == [draft.id]
