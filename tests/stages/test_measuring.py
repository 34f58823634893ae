import resource

import pytest

from homeroom.evaluation.suite import Early, Measured
from homeroom.models import precision
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


def test_models_that_are_compared_are_measured_in_one_number_format(workspace, evaluating, tmp_path, monkeypatch):
    """ "auto" measures the machine, and another day it may come out otherwise."""
    monkeypatch.setattr(precision, "measure_peak", lambda _: precision.Peak(1.0, 9.0))
    made, sft = evaluate.run(evaluating, workspace), workspace.latest("sft")
    assert made.metrics["precision"] == "bfloat16"
    monkeypatch.setattr(precision, "measure_peak", lambda _: precision.Peak(1.0, 1.0))
    again = measuring.measure(measuring.suite_of(made, workspace), {"sft": sft}, tmp_path)[0]
    assert again == Measured.load(made.path / f"{sft.id}.json")
    plain = evaluate.run(evaluating.model_copy(update={"precision": "float32"}), workspace)
    assert Measured.load(plain.path / f"{sft.id}.json").bits_per_byte != again.bits_per_byte


def test_questions_end_when_the_winner_is_known_and_those_before_are_answered_as_ever(workspace, evaluating, tmp_path):
    made = evaluate.run(evaluating, workspace)
    ppo, suite = workspace.latest("ppo"), measuring.suite_of(made, workspace)
    whole = Measured.load(made.path / f"{ppo.id}.json")
    asked, half = len(suite.questions), -(-len(suite.questions) // 2)
    seen = []

    def decided(candidate):
        seen.append(len(candidate.answers))
        return True

    (tmp_path / "early").mkdir()
    early = measuring.measure(suite, {"ppo": ppo}, tmp_path / "early", Early(1, decided))[0]
    assert seen == [half]
    assert (len(early.answers), early.planned, early.whole) == (half, asked, False)
    assert [one.text for one in early.answers] == [one.text for one in whole.answers[:half]]
