import shutil
from dataclasses import replace

import pytest

from homeroom.evaluation.gate import Bar
from homeroom.evaluation.suite import Measured
from homeroom.settings import HomeroomError
from homeroom.stages import evaluate, promote
from homeroom.stages.decisions import enact
from homeroom.stages.measuring import QUESTIONS, evaluation_questions, suite_of
from homeroom.workspace.errors import Damaged

CONFIG = promote.Config(gate=Bar(questions=40))


def kinds(workspace):
    return [(one.kind, one.artifact_id.partition("-")[0]) for one in workspace.registry.history()]


@pytest.fixture
def template(request, circle):
    """For a test that asks for its `evaluation` one that was evaluated."""
    return request.getfixturevalue("evaluated") if "evaluation" in request.fixturenames else circle


@pytest.fixture
def evaluation(workspace):
    return workspace.latest("evaluate")


def regrade(evaluation, workspace, **changed):
    """Another evaluation, where the ppo model said something else with other grades: what the gate decides on."""
    return republish(evaluation, workspace, {"seed": 1}, {"text": "Something else."} | changed)


def republish(evaluation, workspace, settings, changed):
    config = evaluate.Config.model_validate(evaluation.settings | settings)
    inputs = [workspace.artifacts.get(name) for name in evaluation.inputs]
    with workspace.publish("evaluate", config, inputs, evaluate.VERSION) as draft:
        shutil.copy(evaluation.path / QUESTIONS, draft.path)
        for model in inputs[2:]:
            measured = Measured.load(evaluation.path / f"{model.id}.json")
            answers = tuple(a.model_copy(update=changed if model.stage == "ppo" else {}) for a in measured.answers)
            regraded = measured.model_copy(update={"suite": draft.id, "answers": answers})
            regraded.save(draft.path / f"{model.id}.json")
    return draft.artifact


def test_the_first_champion_has_nobody_to_beat_and_an_equal_does_not_beat_it(workspace, evaluation):
    made = promote.run(CONFIG, workspace)
    sft, ppo = workspace.latest("sft"), workspace.latest("ppo")
    assert workspace.registry.champion() == sft.id == made.metrics["champion"]
    assert kinds(workspace) == [("promoted", "sft"), ("refused", "ppo")]
    refusal = workspace.registry.history()[-1]
    assert refusal.artifact_id == ppo.id
    assert refusal.verdict["over"] == sft.id
    assert "win rate" in refusal.verdict["reasons"][0]
    assert made.metrics["promoted"] is True


def test_who_passes_the_gate_becomes_champion_and_can_be_rolled_back(workspace, evaluation):
    regrade(evaluation, workspace, judge=1000.0)
    made = promote.run(CONFIG, workspace)
    assert workspace.registry.champion() == workspace.latest("ppo").id == made.metrics["champion"]
    assert kinds(workspace) == [("promoted", "sft"), ("promoted", "ppo")]
    workspace.registry.rollback()
    assert workspace.registry.champion() == workspace.latest("sft").id


def test_a_champion_that_came_meanwhile_stays(workspace, evaluation):
    """As after a rollback, or a promotion by another process, while the candidate trained."""
    regrade(evaluation, workspace, judge=1000.0)
    made = promote.run(CONFIG, workspace)
    workspace.registry.promote(workspace.latest("pretrain").id, {"reasons": []})
    meant = made.metrics["decisions"][1] | {"model": workspace.latest("judge").id}
    late = replace(made, id="promote-late", metrics=made.metrics | {"decisions": [meant]})
    assert [one.kind for one in enact(late, workspace)] == ["refused"]
    assert workspace.registry.champion() == workspace.latest("pretrain").id
    assert enact(late, workspace) == []


def test_a_rude_candidate_is_refused_however_often_it_wins(workspace, evaluation):
    regrade(evaluation, workspace, judge=1000.0, rude=True)
    promote.run(CONFIG, workspace)
    assert workspace.registry.champion() == workspace.latest("sft").id
    assert [reason.partition(":")[0] for reason in workspace.registry.history()[-1].verdict["reasons"]] == [
        "rude answers"
    ]


def test_a_rerun_decides_nothing_again_even_after_a_rollback(workspace, evaluation):
    regrade(evaluation, workspace, judge=1000.0)
    made = promote.run(CONFIG, workspace)
    workspace.registry.rollback()
    before = workspace.registry.history()
    assert promote.run(CONFIG, workspace) == made
    assert workspace.registry.history() == before


def test_a_kill_between_publishing_and_deciding_loses_no_decision(workspace, evaluation, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(promote, "enact", killed)
    with pytest.raises(KeyboardInterrupt):
        promote.run(CONFIG, workspace)
    assert workspace.registry.history() == []
    monkeypatch.setattr(promote, "enact", enact)
    promote.run(CONFIG, workspace)
    assert kinds(workspace) == [("promoted", "sft"), ("refused", "ppo")]


def test_what_settings_were_tuned_on_decides_nothing(workspace, evaluation):
    tuning = republish(evaluation, workspace, {"split": "validation"}, {"judge": 1000.0})
    with pytest.raises(HomeroomError, match=rf"{tuning.id} .* validation .*\[evaluate\].split = \"heldout\""):
        promote.run(CONFIG, workspace)
    assert workspace.registry.history() == []


def test_a_changed_evaluation_decides_nothing(workspace, evaluation):
    path = evaluation.path / f"{workspace.latest('ppo').id}.json"
    path.write_text(path.read_text().replace('"rude":false', '"rude":true', 1))
    with pytest.raises(Damaged, match=f"{path.name} is not as it was published.*homeroom verify"):
        promote.run(CONFIG, workspace)
    assert workspace.registry.history() == []
    for use in (evaluation_questions, lambda one: suite_of(one, workspace)):
        with pytest.raises(Damaged):
            use(evaluation)


def test_a_candidate_that_was_not_measured_is_named(workspace, evaluating):
    evaluate.run(evaluating.model_copy(update={"stages": ("sft",)}), workspace)
    with pytest.raises(HomeroomError, match=r"did not measure the model of ppo.*\[evaluate\].stages"):
        promote.run(CONFIG, workspace)


def test_what_was_measured_of_a_champion_of_before_is_kept(workspace, evaluating, measured):
    """It may stay champion, and the evaluation does not know it."""
    evaluation = evaluate.run(evaluating.model_copy(update={"stages": ("sft", "ppo")}), workspace)
    before = workspace.latest("pretrain")
    workspace.registry.promote(before.id, {"reasons": []})
    measured.clear()
    row = promote.run(CONFIG, workspace).metrics["evaluation_before"]
    assert row["artifact"] == before.id not in [row["artifact"] for row in evaluation.metrics["models"]]
    assert row.keys() == evaluation.metrics["models"][0].keys()
    assert measured == ["pretrain"]
    strict = promote.Config(gate=Bar(questions=1000))
    assert promote.run(strict, workspace).metrics["evaluation_before"] == row
    assert measured == ["pretrain"]
