import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from homeroom.settings import Frozen
from homeroom.workspace import Workspace

CRASH_POINTS = Path(__file__).with_name("crash_points.py")


class Config(Frozen):
    steps: int = 3


@pytest.mark.parametrize(("what", "at_least"), [("create", 20), ("publish", 60)])
def test_killed_at_any_point_it_opens_and_goes_on(what: str, at_least: int) -> None:
    # In memory where there is such a folder: thousands of fsyncs take a minute on a busy disk, and a kill, other than
    # a power cut, leaves the same with and without them.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        command = [sys.executable, "-W", "error", str(CRASH_POINTS), folder, what]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["points"] >= at_least


def test_a_run_whose_process_was_killed_shows_as_killed(workspace: Workspace) -> None:
    script = """if True:
        import sys
        from pathlib import Path
        from homeroom.settings import Frozen
        from homeroom.workspace import Workspace
        class Config(Frozen):
            steps: int = 3
        with Workspace.open(Path(sys.argv[1])) as workspace, workspace.publish("sft", Config()) as draft:
            draft.log(1, loss=2.0)
            print("ready", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", script, str(workspace.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert [(run.state, run.pid) for run in workspace.runs.recent()] == [("running", child.pid)]
        child.send_signal(signal.SIGKILL)
    assert [run.state for run in workspace.runs.recent()] == ["killed"]
    with workspace.publish("sft", Config()) as draft:
        assert draft.resumable
    assert [run.state for run in workspace.runs.recent()] == ["finished", "killed"]
