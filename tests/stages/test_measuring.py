import resource

import pytest

from homeroom.evaluation.suite import Measured
from homeroom.stages import evaluate, measuring


def test_results_are_written_whole_or_not_at_all(workspace, evaluating, tmp_path):
    made, sft = evaluate.run(evaluating, workspace), workspace.latest("sft")
    suite = measuring.suite_of(made, workspace)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, unlimited[1]))  # as a full disk: the write breaks off
    try:
        with pytest.raises(OSError, match="File too large"):
            measuring.measure(suite, {"sft": sft}, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert measuring.measure(suite, {"sft": sft}, tmp_path) == [Measured.load(made.path / f"{sft.id}.json")]


def test_a_model_measured_later_by_the_same_suite_gives_the_same_figures(workspace, evaluating, tmp_path):
    made = evaluate.run(evaluating, workspace)
    sft = workspace.latest("sft")
    suite = measuring.suite_of(made, workspace)
    again = measuring.measure(suite, {"sft": sft}, tmp_path)[0]
    assert again == Measured.load(made.path / f"{sft.id}.json")
    assert measuring.measured_by(made, sft, workspace, tmp_path / "not needed") == again
