import pytest

from homeroom.settings import Frozen
from homeroom.workspace import Workspace


class Config(Frozen):
    steps: int = 3


def test_a_run_for_each_execution_newest_first(workspace: Workspace) -> None:
    with workspace.publish("sft", Config()) as draft:
        (running,) = workspace.runs.recent()
    with pytest.raises(ValueError, match="bad"), workspace.runs.record("promote"):
        raise ValueError("bad")
    assert (running.state, running.ended, running.artifact_id) == ("running", None, draft.id)
    failed, finished = workspace.runs.recent()
    assert (failed.stage, failed.state, failed.error) == ("promote", "failed", "ValueError: bad")
    assert (finished.stage, finished.state, finished.error) == ("sft", "finished", None)
    assert finished.ended is not None
    assert finished.started.endswith("+00:00")
    assert finished.started <= finished.ended <= failed.started
    assert finished.seconds is not None
    assert 0 < finished.seconds < 10
    assert [run.id for run in workspace.runs.recent(limit=1)] == [failed.id]
