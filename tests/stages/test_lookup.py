import pytest

from homeroom.settings import HomeroomError
from homeroom.stages import evaluate, harvest
from homeroom.workspace import Workspace


def test_votes_are_not_harvested_for_an_evaluation_that_settings_were_tuned_on(tmp_path):
    with Workspace.open(tmp_path / "workspace") as workspace:
        with workspace.publish("evaluate", evaluate.Config(split="validation")):
            pass
        with pytest.raises(HomeroomError, match=r"validation split.*Run `homeroom evaluate` with .*heldout"):
            harvest.run(harvest.Config(), workspace)
