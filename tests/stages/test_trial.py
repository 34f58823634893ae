"""A candidate on trial, from the command to the decision, without a server: pairs are made by hand."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from homeroom.evaluation.trial import TrialSettings
from homeroom.settings import Frozen
from homeroom.stages import trial
from homeroom.workspace import TrialRefused, Workspace

WIN_RATE = "win rate over the champion, by the independent judge: 51 % (failed)"


class Config(Frozen):
    name: str


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "w") as workspace:
        workspace.registry.promote(model(workspace, "sft", "champion"), {"reasons": []})
        yield workspace


def model(workspace: Workspace, stage: str, name: str) -> str:
    with workspace.publish(stage, Config(name=name)) as draft:
        (draft.path / "model.safetensors").write_text(name)
    return draft.artifact.id


def measured(workspace: Workspace, *reasons: str) -> str:
    """A model that the gate refused for these reasons."""
    made = model(workspace, "improve", " ".join(reasons))
    workspace.registry.refuse(made, {"reasons": list(reasons), "gate": []})
    return made


Vote = Callable[..., None]


@pytest.fixture
def vote(workspace: Workspace) -> Vote:
    """One blind vote of the trial that runs; the candidate's answer stands on the right."""

    def vote(user: str, question: str, chosen: Any) -> None:
        running = workspace.registry.trial()
        assert running is not None
        conversation, asked = workspace.feedback.ask(None, user, question, None)
        ids = [
            workspace.feedback.add_message(conversation, "assistant", by, parent_id=asked, model_id=by).id
            for by in (str(running.previous_id), running.artifact_id)
        ]
        pair = workspace.pairs.show(asked, *ids, trial=running.id, user=user)
        workspace.pairs.choose(pair.id, chosen, user=user)

    return vote


def crowd(vote: Vote, chosen: str, people: int = 3, each: int = 8) -> None:
    for person in range(people):
        for question in range(each):
            vote(f"p{person}", f"question {question} of {person}", chosen)


def test_who_failed_by_its_win_rate_alone_may_be_tried_and_others_only_if_that_is_said(workspace: Workspace) -> None:
    near = measured(workspace, WIN_RATE, "held-out questions: 30 (failed)")
    worse = measured(workspace, WIN_RATE, "rude answers: 9 (failed)")
    unknown = model(workspace, "improve", "unknown")
    with pytest.raises(TrialRefused, match=r"rude answers: 9 \(failed\)\. `--anyway` asks people") as refused:
        trial.begin(workspace, worse)
    assert "win rate" not in str(refused.value)
    with pytest.raises(TrialRefused, match="no gate has measured it"):
        trial.begin(workspace, unknown)
    champion = workspace.registry.champion()
    with pytest.raises(TrialRefused, match="is the champion"):
        trial.begin(workspace, str(champion))
    assert workspace.registry.trial() is None
    assert trial.begin(workspace, near).verdict["despite"] == []
    stopped = trial.stop(workspace)
    assert (stopped.kind, stopped.artifact_id) == ("refused", near)
    assert stopped.verdict["reasons"][0] == "a person stopped the trial"
    with pytest.raises(TrialRefused, match="no model is on trial"):
        trial.stop(workspace)
    assert trial.begin(workspace, unknown, anyway=True).verdict["despite"] == ["no gate has measured it"]
    assert workspace.registry.champion() == champion


@pytest.mark.parametrize(("chosen", "kind"), [("right", "promoted"), ("left", "refused"), ("bad", "refused")])
def test_votes_decide_once_and_anybody_who_counts_decides_the_same(
    workspace: Workspace, vote: Vote, chosen: str, kind: str
) -> None:
    candidate, champion = measured(workspace, WIN_RATE), workspace.registry.champion()
    trial.begin(workspace, candidate, TrialSettings(maximum=20))
    assert trial.decide(workspace) is None
    crowd(vote, chosen)
    path = workspace.path
    with Workspace.open(path) as after_a_kill:  # nothing but what is stored
        decided = trial.decide(after_a_kill)
    assert decided is not None
    assert (decided.kind, decided.artifact_id, decided.previous_id) == (kind, candidate, champion)
    assert workspace.registry.champion() == (candidate if kind == "promoted" else champion)
    sequential: Any = decided.verdict["sequential"]
    assert sequential["verdict"] == {"right": "better", "left": "worse", "bad": "no better"}[chosen]
    assert f"{sequential['verdict']} in blind votes" in decided.verdict["reasons"][0]
    assert trial.decide(workspace) is None
    if kind == "promoted":
        workspace.registry.rollback()
        assert (workspace.registry.champion(), trial.decide(workspace)) == (champion, None)


def test_one_person_decides_nothing_under_however_many_cookies(workspace: Workspace, vote: Vote) -> None:
    running = trial.begin(workspace, measured(workspace, WIN_RATE))
    for number in range(12):
        vote("ann", f"ann's {number}", "right")
        vote(f"visitor-{number}", f"visitor's {number}", "left")
        vote(f"p{number}", "  the same QUESTION ", "left")
    counted = trial.standing(workspace, running)
    assert (counted.test.n, counted.repeated, counted.beyond, counted.people) == (21, 11, 4, 3)
    assert trial.decide(workspace) is None


def test_who_is_distrusted_has_no_say(workspace: Workspace, vote: Vote) -> None:
    running = trial.begin(workspace, measured(workspace, WIN_RATE))
    for number in range(10):
        vote("ann", f"ann's {number}", "right")
        vote("bob", f"bob's {number}", "right")
    assert trial.standing(workspace, running).people == 2
    workspace.standings.say("bob", "distrusted")
    assert (trial.standing(workspace, running).people, trial.decide(workspace)) == (1, None)


def test_a_candidate_whose_files_were_changed_is_not_promoted(workspace: Workspace, vote: Vote) -> None:
    candidate = measured(workspace, WIN_RATE)
    trial.begin(workspace, candidate)
    crowd(vote, "right")
    (workspace.artifacts.get(candidate).path / "model.safetensors").write_text("other weights")
    decided = trial.decide(workspace)
    assert decided is not None
    assert decided.kind == "refused"
    assert "not as it was published" in decided.verdict["reasons"][1]
