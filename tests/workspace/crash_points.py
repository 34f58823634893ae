"""Kills a process at every point of its work on a workspace, one after the other, and looks at what is left.

Run by test_crashes.py: `crash_points.py FOLDER create|publish`. A point is each opening, renaming or removing of a file
in the workspace and each statement sent to its database, which are all the moments between which it can differ. Of the
hundreds of statements that make the tables, all within transactions, every fourth is tried. Prints one JSON
object. Forks, so that a hundred deaths cost a hundred times a few milliseconds.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alembic.command  # noqa: F401  loaded before forking, for speed
from sqlalchemy import Engine, event

from homeroom.settings import Frozen
from homeroom.workspace import Workspace, read_log

FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}


class Config(Frozen):
    steps: int = 4


def stage(workspace: Workspace) -> None:
    """A stage as stages are: skips what exists, resumes from its own checkpoint, logs its curve."""
    if workspace.find("sft", Config(), version=2):
        return
    with workspace.publish("sft", Config(), version=2) as draft:
        checkpoint = draft.path / "scratch-checkpoint"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        draft.truncate_log(after_step=done)
        for step in range(done + 1, Config().steps + 1):
            draft.log(step, loss=1 / step)
            aside = checkpoint.with_suffix(".new")
            aside.write_text(str(step))
            aside.replace(checkpoint)
        (draft.path / "model").write_text("weights")
        draft.metrics["steps"] = Config().steps


def work(workspace: Workspace) -> None:
    stage(workspace)
    model = workspace.latest("sft").id
    workspace.registry.promote(model, {"why": "test"})
    conversation = workspace.feedback.open_conversation("c")
    answer = workspace.feedback.add_message(conversation.id, "assistant", "hello", id="m")
    workspace.feedback.vote(answer.id, 1, id="v")


def open_only(folder: Path) -> None:
    Workspace.open(folder).close()


def open_and_work(folder: Path) -> None:
    with Workspace.open(folder) as workspace:
        work(workspace)


def killed_at(point: int, folder: Path, job: Callable[[Path], None]) -> bool:
    """Run the job in a child that dies at its n-th point. False if it ended before."""
    child = os.fork()
    if not child:
        seen = 0

        def count(*_: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)

        def on_file(name: str, arguments: tuple[Any, ...]) -> None:
            if name in FILE_EVENTS and str(arguments[0]).startswith(str(folder)):
                count()

        sys.addaudithook(on_file)
        event.listen(Engine, "before_cursor_execute", count)
        event.listen(Engine, "commit", count)
        try:
            job(folder)
        except BaseException:
            os._exit(2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, f"the child failed at point {point}"
    return False


def check(folder: Path, kept: str | None) -> None:
    with Workspace.open(folder) as workspace:
        if kept:
            assert workspace.artifacts.get(kept).metrics == {"kept": True}
        assert workspace.verify() == [], workspace.verify()
        assert all(run.state != "running" for run in workspace.runs.recent())
        work(workspace)
        artifact = workspace.latest("sft")
        assert workspace.verify() == []
        assert artifact.metrics == {"steps": 4}
        assert set(artifact.files) == {"model", "progress.jsonl"}
        assert sorted(path.name for path in artifact.path.iterdir()) == ["manifest.json", "model", "progress.jsonl"]
        assert [point["step"] for point in read_log(artifact.path)] == [1, 2, 3, 4]
        assert workspace.registry.champion() == artifact.id
        assert len(workspace.registry.history()) == 1
        assert workspace.feedback.counts()["votes"] == workspace.feedback.counts()["messages"] == 1


def main(parent: Path, what: str) -> None:
    template = parent / "template"
    kept = None
    if what == "publish":
        with Workspace.open(template) as workspace:
            with workspace.publish("sft", Config(steps=1)) as draft:
                draft.metrics["kept"] = True
            kept = draft.artifact.id
    point = tried = 0
    running = True
    while running:
        point += 4 if what == "create" and point > 20 else 1
        tried += 1
        folder = parent / f"{what}-{point}"
        if template.exists():
            shutil.copytree(template, folder)
        running = killed_at(point, folder, open_and_work if what == "publish" else open_only)
        check(folder, kept)
        shutil.rmtree(folder)
    print(json.dumps({"points": tried}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
