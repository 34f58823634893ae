import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeroom.settings import Frozen
from homeroom.workspace import DiskFull, Draft, Workspace


class Config(Frozen):
    steps: int = 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB. Only root may mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=4m", "none", path], capture_output=True).returncode
    ):
        pytest.skip("mounting a small file system is not allowed here")
    yield path
    subprocess.run(["umount", path], check=True)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def until_the_disk_is_full(draft: Draft, disk: Path) -> None:
    (draft.path / "scratch-checkpoint").write_text("step 7")
    fill(disk / "ballast")
    for step in range(1000):
        draft.log(step, loss=2.0)


def test_a_full_disk_loses_nothing_and_work_goes_on_when_there_is_space(small_disk: Path) -> None:
    with Workspace.open(small_disk / "w") as workspace:
        with workspace.publish("clean", Config()) as draft:
            (draft.path / "text").write_text("kept")
        kept = draft.artifact
        with (
            pytest.raises(DiskFull, match=r"the disk is full \(0.0 MB free in .*it goes on from there"),
            workspace.publish("pretrain", Config(), [kept]) as draft,
        ):
            until_the_disk_is_full(draft, small_disk)
        assert workspace.latest("clean") == kept
        assert workspace.verify() == []
    (small_disk / "ballast").unlink()
    with Workspace.open(small_disk / "w") as workspace:
        with workspace.publish("pretrain", Config(), [kept]) as draft:
            assert (draft.path / "scratch-checkpoint").read_text() == "step 7"
            draft.truncate_log(after_step=0)
        assert workspace.latest("pretrain") == draft.artifact
        assert workspace.verify() == []


def test_votes_on_a_full_disk_are_counted_or_refused_never_lost(small_disk: Path) -> None:
    counted: list[str] = []
    with Workspace.open(small_disk / "w") as workspace:
        feedback = workspace.feedback
        answer = feedback.add_message(feedback.open_conversation().id, "assistant", "hello").id
        fill(small_disk / "ballast")
        users = (f"user {number:0100d}" for number in range(100_000))
        with pytest.raises(DiskFull, match="All that was recorded before is still there"):
            counted.extend(feedback.vote(answer, 1, user=user).user for user in users)
    (small_disk / "ballast").unlink()
    with Workspace.open(small_disk / "w") as workspace:
        assert [judged.user for judged in workspace.feedback.votes()] == counted
        workspace.feedback.vote(answer, 1)
        assert workspace.verify() == []


def test_a_new_workspace_on_a_full_disk_is_refused_and_opens_later(small_disk: Path) -> None:
    fill(small_disk / "ballast")
    with pytest.raises(DiskFull, match="the disk is full"):
        Workspace.open(small_disk / "w")
    (small_disk / "ballast").unlink()
    with Workspace.open(small_disk / "w") as workspace:
        assert workspace.verify() == []


def test_an_existing_workspace_on_a_full_disk_says_so_and_opens_later(small_disk: Path) -> None:
    with Workspace.open(small_disk / "w") as workspace:
        workspace.feedback.open_conversation("c")
    fill(small_disk / "ballast")
    with pytest.raises(DiskFull, match="the disk is full"):
        Workspace.open(small_disk / "w")
    (small_disk / "ballast").unlink()
    with Workspace.open(small_disk / "w") as workspace:
        assert workspace.feedback.conversation("c") == []


LIMITED = """if True:
    import resource, sys
    from pathlib import Path
    from homeroom.settings import Frozen
    from homeroom.workspace import DiskFull, Workspace
    class Config(Frozen):
        steps: int = 3
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    try:
        with Workspace.open(Path(sys.argv[1])) as workspace, workspace.publish("sft", Config()) as draft:
            (draft.path / "weights").write_bytes(bytes(1_000_000))
    except DiskFull as error:
        print(error)
"""


def test_a_limit_on_the_size_of_files_is_explained(folder: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the disk is full" in result.stdout
    with Workspace.open(folder) as workspace:
        assert [run.state for run in workspace.runs.recent()] == ["failed"]
        assert workspace.artifacts.all() == []
        assert workspace.verify() == []
