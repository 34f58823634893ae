"""Figures are read from the right place, and what has not run is None."""

from pathlib import Path

import pytest

from homeroom.report.figures import Figure, figures, flat, number_at, shown
from homeroom.report.overview import as_json, headline, in_circle_order
from homeroom.stages import CIRCLE
from homeroom.workspace import Workspace

NAMES = [
    "circle_seconds", "peak_memory_gb", "base_bits_per_byte", "xz_bits_per_byte", "final_cloze_accuracy", "sft_ends",
    "sft_language", "reward_accuracy", "ppo_win_rate", "ppo_win_rate_low", "ppo_kl", "improve_win_rate_low",
    "inverted_votes_refused",
]  # fmt: skip


def test_every_figure_is_there_and_right(finished: Path) -> None:
    with Workspace.open(finished) as workspace:
        found = flat(figures(workspace))
    assert list(found) == NAMES
    assert found["base_bits_per_byte"] == 2.5
    assert found["xz_bits_per_byte"] == 3.44
    assert found["sft_ends"] == pytest.approx(0.2 + 0.78 * 0.97)
    assert (found["ppo_win_rate"], found["ppo_win_rate_low"]) == pytest.approx((0.58, 0.53))
    assert found["ppo_kl"] == 3.4
    assert found["improve_win_rate_low"] == pytest.approx(0.55)
    assert found["inverted_votes_refused"] is True
    assert found["circle_seconds"] is not None
    assert found["peak_memory_gb"] is not None


def test_the_final_model_is_the_improved_one_only_if_it_was_promoted(workspace, fill, make):
    made = fill(workspace, list(CIRCLE)[:-1])
    assert flat(figures(workspace))["circle_seconds"] is None
    assert flat(figures(workspace))["final_cloze_accuracy"] == pytest.approx(0.33)
    make(workspace, "improve", made)
    assert flat(figures(workspace))["final_cloze_accuracy"] == pytest.approx(0.28 + 0.99 / 20)


def test_an_empty_workspace_has_every_figure_as_none(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "empty") as workspace:
        assert flat(figures(workspace)) == dict.fromkeys(NAMES)


@pytest.mark.parametrize(
    ("sense", "value", "passed"),
    [("at most", 4, True), ("at most", 4.1, False), ("above", 4, False), ("below", 3.9, True), ("at least", 4, True)],
)
def test_a_bar_is_cleared_or_not(sense: str, value: float, passed: bool) -> None:
    figure = Figure("x", "x", "x", value, "homeroom x", 4, sense)  # type: ignore[arg-type]
    assert figure.passed is passed
    assert Figure("x", "x", "x", None, "homeroom x", 4, "above").passed is None


def test_figures_are_shown_as_people_read_them() -> None:
    assert shown(Figure("x", "x", "x", 0.956, "c", unit="%")) == "95.6 %"
    assert shown(Figure("x", "x", "x", 605.4, "c", unit="s")) == "10 min 05 s"
    assert shown(Figure("x", "x", "x", False, "c")) == "no"
    assert shown(Figure("x", "x", "x", None, "c")) == "–"


def test_a_path_that_leads_nowhere_is_none() -> None:
    assert number_at({"a": {"b": 1}}, "a", "b") == 1
    assert number_at({"a": {"b": True}}, "a", "b") is None
    assert number_at({"a": 1}, "a", "b") is None
    assert number_at({}, "a") is None


def test_every_stage_has_a_headline(finished: Path) -> None:
    with Workspace.open(finished) as workspace:
        artifacts = in_circle_order(workspace)
    assert [artifact.stage for artifact in artifacts] == list(CIRCLE)
    assert [headline(artifact) for artifact in artifacts if "?" in headline(artifact)] == ["champion is ?"]


def test_json_holds_artifacts_inputs_metrics_and_decisions(finished: Path) -> None:
    with Workspace.open(finished) as workspace:
        told = as_json(workspace)
    assert told["champion"] is not None
    assert isinstance(told["artifacts"], list)
    by_stage = {artifact["stage"]: artifact for artifact in told["artifacts"]}
    assert by_stage["clean"]["inputs"] == [by_stage["collect"]["id"]]
    assert by_stage["ppo"]["metrics"]["kl"] == 3.4
    assert isinstance(told["decisions"], list)
    assert [decision["kind"] for decision in told["decisions"]] == ["promoted", "promoted", "refused"]


def test_refusing_inverted_votes_counts_only_beside_a_promotion_of_the_real_ones(workspace, fill, make):
    make(workspace, "improve", fill(workspace, list(CIRCLE)[:-1]), promoted=False)
    assert flat(figures(workspace))["inverted_votes_refused"] is None
