"""Blind pairs, and the trial that their votes are of: on both databases."""

from typing import Any

import pytest

from homeroom.settings import Frozen
from homeroom.workspace import Ballot, FeedbackError, Pair, TrialRefused, Workspace


class Config(Frozen):
    name: str


def models(workspace: Workspace, *names: str) -> list[str]:
    made = []
    for name in names:
        with workspace.publish("sft", Config(name=name)) as draft:
            pass
        made.append(draft.artifact.id)
    return made


def asked(workspace: Workspace, left: str, right: str, user: str = "ann", text: str = "why?", **pair: Any) -> Pair:
    """A pair by these two models."""
    conversation = workspace.feedback.open_conversation(user=user).id
    question = workspace.feedback.add_message(conversation, "user", text).id
    ids = [
        workspace.feedback.add_message(
            conversation, "assistant", f"{model} {at}", parent_id=question, model_id=model
        ).id
        for at, model in enumerate((left, right))
    ]
    return workspace.pairs.show(question, *ids, user=user, **pair)


def test_a_choice_is_a_comparison_and_counts_once(workspace: Workspace) -> None:
    pairs, feedback = workspace.pairs, workspace.feedback
    pair = asked(workspace, "m", "m")
    for _ in range(2):  # the answer to the first was lost
        assert pairs.choose(pair.id, "right", user="ann").choice == "right"
    with pytest.raises(FeedbackError, match="was used before with another choice"):
        pairs.choose(pair.id, "left", user="ann")
    with pytest.raises(FeedbackError, match="was shown to another person"):
        pairs.choose(pair.id, "left", user="bob")
    with pytest.raises(FeedbackError, match="left, right, same or bad"):
        pairs.choose(pair.id, "both", user="ann")  # type: ignore[arg-type]
    [compared] = feedback.compared()
    assert (compared.choice, compared.kind, compared.left.message_id) == ("right", "samples", pair.left_id)
    conversation = feedback.message(pair.question_id).conversation_id
    assert pairs.of_conversation(conversation, "ann") == [(pair, "right")]
    assert pairs.of_conversation(conversation, "bob") == []


def test_both_bad_is_a_tie_and_a_thumb_down_for_both(workspace: Workspace) -> None:
    pair = asked(workspace, "m", "m")
    for _ in range(2):
        assert workspace.pairs.choose(pair.id, "bad", user="ann").choice == "tie"
    assert workspace.feedback.counts() | {"down": 2, "votes": 2, "comparisons": 1} == workspace.feedback.counts()
    other = asked(workspace, "m", "m")
    workspace.pairs.choose(other.id, "same", user="ann")
    assert workspace.feedback.counts()["down"] == 2
    for chosen, known in ((pair, "same"), (other, "bad")):
        with pytest.raises(FeedbackError, match="was chosen before"):
            workspace.pairs.choose(chosen.id, known, user="ann")
    assert workspace.feedback.counts()["down"] == 2


def test_a_side_is_on_record_before_an_answer_is_written(workspace: Workspace) -> None:
    conversation = workspace.feedback.open_conversation().id
    question = workspace.feedback.add_message(conversation, "user", "why?").id
    pair = workspace.pairs.show(question, "to come 1", "to come 2")
    assert workspace.pairs.of_conversation(conversation) == [(pair, None)]
    with pytest.raises(FeedbackError, match="no message 'to come 1'"):
        workspace.pairs.choose(pair.id, "left")
    with pytest.raises(FeedbackError, match="a pair has two answers"):
        workspace.pairs.show(question, "x", "x")


def test_of_a_trial_the_first_blind_choices_of_those_who_were_asked_count(workspace: Workspace) -> None:
    pairs, feedback = workspace.pairs, workspace.feedback
    champion, candidate = models(workspace, "champion", "candidate")
    workspace.registry.promote(champion, {})
    trial = workspace.registry.begin_trial(candidate, {}).id
    first, second, third, open_ = (
        asked(workspace, *sides, user=user, text=user, trial=trial)
        for sides, user in (
            ((champion, candidate), "ann"), ((candidate, champion), "bob"), ((champion, candidate), "cy"),
            ((champion, candidate), "dan"),
        )
    )  # fmt: skip
    pairs.choose(second.id, "left", user="bob")
    pairs.choose(first.id, "left", user="ann")
    # By a program that names the sides the other way round; said again when the names were known.
    feedback.compare(third.right_id, third.left_id, "left", kind="trial", user="cy")
    feedback.compare(third.left_id, third.right_id, "left", kind="trial", user="cy")
    feedback.compare(open_.left_id, open_.right_id, "right", kind="trial", user="eve")  # nobody asked her
    asked(workspace, champion, champion, user="ann")
    strange = asked(workspace, "another", candidate, user="ann", trial=trial)
    pairs.choose(strange.id, "right", user="ann")
    assert pairs.ballots(trial, candidate, champion) == [
        Ballot("bob", "bob", "", candidate), Ballot("ann", "ann", "", champion), Ballot("cy", "cy", "", candidate),
    ]  # fmt: skip
    workspace.forget("bob")
    assert [ballot.user for ballot in pairs.ballots(trial, candidate, champion)] == ["ann", "cy"]
    assert pairs.ballots(trial + 1, candidate, champion) == []


def test_one_trial_at_a_time_until_its_candidate_or_its_champion_is_decided_on(workspace: Workspace) -> None:
    registry = workspace.registry
    first, second, third = models(workspace, "1", "2", "3")
    with pytest.raises(TrialRefused, match="there is no champion"):
        registry.begin_trial(first, {})
    registry.promote(first, {})
    with pytest.raises(TrialRefused, match="is the champion"):
        registry.begin_trial(first, {})
    begun = registry.begin_trial(second, {"settings": {}})
    assert (begun.kind, begun.artifact_id, begun.previous_id) == ("on_trial", second, first)
    assert registry.trial() == begun
    with pytest.raises(TrialRefused, match="--stop"):
        registry.begin_trial(third, {})
    registry.refuse(third, {})
    assert registry.champion() == first
    assert registry.promote(first, {}).kind == "promoted"  # again: nothing changes
    assert registry.trial() == begun
    ended = registry.end_trial(begun.id, "promoted", {"reasons": ["votes"]})
    assert ended is not None
    assert (ended.kind, ended.artifact_id, ended.previous_id, registry.champion()) == (
        "promoted",
        second,
        first,
        second,
    )
    assert registry.end_trial(begun.id, "refused", {}) is None  # another process comes too late
    again = registry.begin_trial(third, {})
    registry.rollback()
    assert registry.trial() is None
    assert registry.end_trial(again.id, "promoted", {}) is None
    registry.begin_trial(third, {})
    assert registry.end_trial(again.id, "promoted", {}) is None  # that was another trial
    registry.refuse(third, {})
    assert registry.trial() is None
