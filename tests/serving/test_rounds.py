"""What became of a round's model, from the registry's history."""

from pathlib import Path

from homeroom.serving.pages import rounds
from homeroom.settings import Frozen
from homeroom.workspace import Workspace


class Recipe(Frozen):
    depth: int


def made(workspace: Workspace, depth: int) -> str:
    with workspace.publish("improve", Recipe(depth=depth)) as draft:
        pass
    return draft.artifact.id


def test_what_became_of_a_model_in_the_end(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        one, two, three = (made(workspace, depth) for depth in (1, 2, 3))
        registry = workspace.registry
        registry.promote(one, {})
        registry.promote(two, {})
        registry.refuse(three, {})
        told = lambda: [rounds.outcome(name, registry.history(), registry.champion()) for name in (one, two, three)]  # noqa: E731
        assert told() == ["promoted", "champion", "refused"]
        registry.rollback()
        assert told() == ["champion", "rolled_back", "refused"]
        workspace.promote_by_hand(three, "ann")
        assert told() == ["promoted", "rolled_back", "champion"]
        registry.rollback()
        assert told() == ["champion", "rolled_back", "rolled_back"]
