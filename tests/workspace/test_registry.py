import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.settings import Frozen
from homeroom.workspace import (
    AlreadyChampion,
    ChampionChanged,
    Damaged,
    MissingArtifact,
    NothingToRollBack,
    NotServable,
    Workspace,
    by_hand,
)


class Config(Frozen):
    steps: int = 3


def models(workspace: Workspace, count: int) -> list[str]:
    names = []
    for steps in range(count):
        with workspace.publish("sft", Config(steps=steps)) as draft:
            pass
        names.append(draft.artifact.id)
    return names


def test_nobody_displaces_a_champion_that_it_was_never_compared_with(workspace: Workspace) -> None:
    registry = workspace.registry
    first, second, third = models(workspace, 3)
    registry.promote(first, {"reasons": []})
    registry.promote(second, {"reasons": []}, over=first)
    decision = registry.promote(third, {"reasons": ["win rate 0.6"], "promoted": True}, over=first)
    assert (decision.kind, registry.champion()) == ("refused", second)
    assert decision.verdict == {
        "promoted": False, "reasons": [f"it was compared with {first}, but the champion is {second} now"]
    }  # fmt: skip
    assert registry.promote(third, {"reasons": []}, over=second).kind == "promoted"
    assert registry.promote(third, {"reasons": []}, over=second).kind == "promoted"


def test_promote_refuse_and_roll_back(workspace: Workspace) -> None:
    registry = workspace.registry
    first, second, third = models(workspace, 3)
    assert registry.champion() is None
    with pytest.raises(NothingToRollBack, match="no model was promoted yet"):
        registry.rollback()
    registry.promote(first, {"reasons": ["first model"]})
    assert registry.promote(second, {"win_rate": 0.61}).previous_id == first
    registry.refuse(third, {"reasons": ["win rate 0.48"], "interval": [0.4, float("nan")]})
    assert registry.champion() == second
    restored = registry.rollback()
    assert (restored.artifact_id, restored.previous_id, registry.champion()) == (first, second, first)
    with pytest.raises(NothingToRollBack, match=f"{first} is the first champion"):
        registry.rollback()
    assert [(d.kind, d.artifact_id, d.previous_id) for d in registry.history()] == [
        ("promoted", first, None),
        ("promoted", second, first),
        ("refused", third, second),
        ("rolled_back", first, second),
    ]
    assert registry.history()[2].verdict == {"reasons": ["win rate 0.48"], "interval": [0.4, None]}


def test_a_promotion_can_be_repeated(workspace: Workspace) -> None:
    (model,) = models(workspace, 1)
    decision = workspace.registry.promote(model, {"a": 1})
    workspace.registry.refuse(model, {})
    assert workspace.registry.promote(model, {"a": 1}) == decision


def test_only_what_is_in_the_workspace_is_decided_on(workspace: Workspace) -> None:
    with pytest.raises(MissingArtifact, match="model sft-0 is not in this workspace"):
        workspace.registry.promote("sft-0", {})
    assert workspace.registry.history() == []


@pytest.fixture(scope="module")
def with_models(new_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = shutil.copytree(new_folder, tmp_path_factory.mktemp("registry") / "workspace")
    with Workspace.open(folder) as workspace:
        return folder, models(workspace, 3)


@settings(max_examples=30)
@given(steps=st.lists(st.tuples(st.sampled_from(["promote", "refuse", "rollback"]), st.integers(0, 2)), max_size=12))
def test_the_champion_is_the_top_of_a_stack(with_models: tuple[Path, list[str]], steps: list[tuple[str, int]]) -> None:
    template, names = with_models
    stack: list[str] = []
    with tempfile.TemporaryDirectory() as parent:
        workspace = Workspace.open(shutil.copytree(template, Path(parent) / "w"))
        registry = workspace.registry
        with workspace:
            for what, number in steps:
                if what == "promote":
                    registry.promote(names[number], {})
                    stack += [names[number]] if stack[-1:] != [names[number]] else []
                elif what == "refuse":
                    registry.refuse(names[number], {})
                elif len(stack) < 2:
                    with pytest.raises(NothingToRollBack):
                        registry.rollback()
                else:
                    registry.rollback()
                    stack.pop()
                assert registry.champion() == (stack[-1] if stack else None)


def test_a_person_decides_and_the_record_says_so(workspace: Workspace) -> None:
    registry = workspace.registry
    first, second = models(workspace, 2)
    assert registry.before() is None
    made = workspace.promote_by_hand(first, "ann", "to begin with")
    assert (made.kind, made.previous_id, made.verdict["by"]) == ("promoted", None, "ann")
    assert made.verdict["reasons"] == ["by hand, ann", "to begin with"]
    assert made.verdict["by_hand"] is True
    with pytest.raises(AlreadyChampion, match=f"{first} is the champion already"):
        workspace.promote_by_hand(first, "ann")
    workspace.promote_by_hand(second, "bob", over=first)
    assert (registry.champion(), registry.before()) == (second, first)
    with pytest.raises(ChampionChanged, match=f"the champion is {second} now and not {first}"):
        workspace.promote_by_hand(first, "ann", over=first)
    with pytest.raises(ChampionChanged):
        registry.rollback(by_hand("ann"), of=first)
    assert registry.champion() == second
    assert registry.rollback(by_hand("ann", "worse"), of=second).verdict["reasons"] == ["by hand, ann", "worse"]
    # What was rolled back comes back by hand, and can be rolled back again.
    workspace.promote_by_hand(second, "ann", over=first)
    assert registry.rollback().artifact_id == first


def test_only_a_whole_language_model_becomes_champion_by_hand(workspace: Workspace) -> None:
    with workspace.publish("sft", Config()) as draft:
        (draft.path / "model.txt").write_text("weights")
    (draft.artifact.path / "model.txt").write_text("Weights")
    with workspace.publish("reward", Config()) as reward:
        pass
    with pytest.raises(Damaged, match=r"model\.txt is not as it was published"):
        workspace.promote_by_hand(draft.artifact.id, "ann")
    with pytest.raises(NotServable, match="was made by reward and is no language model"):
        workspace.promote_by_hand(reward.artifact.id, "ann")
    with pytest.raises(MissingArtifact, match="artifact sft-0 is not in"):
        workspace.promote_by_hand("sft-0", "ann")
    assert workspace.registry.history() == []
