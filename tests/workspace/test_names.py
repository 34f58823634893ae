from dataclasses import replace
from datetime import date

import pytest

from homeroom.settings import Json
from homeroom.workspace import Artifact, ModelName, ModelNames, Workspace, model_name


def publish(workspace: Workspace, config: object, stage: str, metrics: dict[str, Json]) -> Artifact:
    with workspace.publish(stage, config) as draft:
        draft.metrics = metrics
    return draft.artifact


def test_an_imported_model_has_its_makers_name_and_a_raised_one_its_stage_and_day(workspace, config) -> None:
    imported = publish(workspace, config, "imported", {"name": "SmolLM2-135M-Instruct"})
    assert str(model_name(imported)) == "SmolLM2-135M-Instruct"
    raised = replace(publish(workspace, config, "ppo", {}), created="2026-11-03T12:00:00.000000+00:00")
    assert model_name(raised) == ModelName("ppo", date(2026, 11, 3))
    assert str(model_name(raised)) == "ppo · 3 Nov"


@pytest.mark.parametrize("metrics", [{}, {"name": ""}, {"name": 7}])
def test_an_imported_model_without_a_name_is_called_by_its_id(workspace, config, metrics) -> None:
    imported = publish(workspace, config, "imported", metrics)
    assert str(model_name(imported)) == imported.id


def test_names_are_found_by_id_and_an_id_that_is_gone_is_its_own_name(workspace, config) -> None:
    imported = publish(workspace, config, "imported", {"name": "Small"})
    names = ModelNames(workspace.artifacts)
    assert str(names(imported.id)) == "Small"
    assert str(names("ppo-000000000000")) == "ppo-000000000000"
