"""Figures are read from the right place, and what has not run is None."""

from pathlib import Path

import pytest

from homeroom.report.figures import Figure, figures, flat, number_at, shown
from homeroom.report.overview import as_json, headline, in_circle_order
from homeroom.stages import CIRCLE
from homeroom.workspace import Workspace

NAMES = [
    "circle_seconds", "peak_memory_gb", "base_bits_per_byte", "xz_bits_per_byte", "final_cloze_accuracy",
    "final_cloze_low", "sft_ends", "sft_language", "reward_accuracy", "ppo_win_rate", "ppo_win_rate_low", "ppo_kl",
    "improve_win_rate_low", "inverted_votes_refused",
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


def test_the_final_model_is_the_champion(workspace, fill, make):
    def cloze():
        told = flat(figures(workspace))
        return told["final_cloze_accuracy"], told["final_cloze_low"]

    made = fill(workspace, list(CIRCLE))
    assert cloze() == (None, None)  # nobody is served yet
    workspace.registry.promote(made["sft"].id, {})
    assert cloze() == pytest.approx((0.3285, 0.2985))
    workspace.registry.promote(made["improve"].id, {})
    assert cloze() == pytest.approx((0.3295, 0.2995))
    workspace.registry.rollback()
    assert cloze() == pytest.approx((0.3285, 0.2985))


def test_a_champion_of_another_run_has_the_figure_that_this_run_measured(workspace, fill, make):
    made = fill(workspace, list(CIRCLE))
    champion = made["improve"]
    workspace.registry.promote(champion.id, {})
    make(workspace, "evaluate", made, depth=8)
    assert flat(figures(workspace))["final_cloze_accuracy"] is None
    row = {"stage": "improve", "artifact": champion.id, "cloze": {"0": {"mean": 0.4, "low": 0.2, "high": 0.6}}}
    make(workspace, "promote", made, evaluation_before=row)
    told = {figure.name: figure for figure in figures(workspace)}
    assert told["final_cloze_accuracy"].value == 0.4
    assert told["final_cloze_accuracy"].passed is None
    assert told["final_cloze_low"].passed is False  # more than chance on the average is not enough


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
    assert [headline(artifact) for artifact in artifacts if "?" in headline(artifact)] == []


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


def decide(workspace, improved, kind):
    verdict = {"reasons": [], "decided_by": improved.id}
    (workspace.registry.promote if kind == "promoted" else workspace.registry.refuse)(improved.id, verdict)


@pytest.mark.parametrize(
    ("meant", "kind", "inverted", "figure", "told"),
    [
        (True, "promoted", True, True, {"votes": "promoted", "inverted": "refused"}),
        (True, "promoted", False, False, {"votes": "promoted", "inverted": "accepted"}),
        (False, "refused", True, None, {"votes": "refused", "inverted": "refused"}),
        (False, "refused", False, False, {"votes": "refused", "inverted": "accepted"}),
        (True, "refused", True, None, {"votes": "refused", "inverted": "refused"}),  # another champion came meanwhile
        (True, None, True, None, {"votes": None, "inverted": "refused"}),
    ],
)
def test_refusing_inverted_votes_counts_only_beside_a_promotion_of_the_real_ones(
    meant, kind, inverted, figure, told, workspace, fill, make
):
    made = fill(workspace, list(CIRCLE)[:-1])
    control = {"refused": inverted, "win_rate": {"mean": 0.31, "low": 0.25, "high": 0.37}}
    improved = make(workspace, "improve", made, promoted=meant, inverted=control)
    if kind:
        decide(workspace, improved, kind)
    assert flat(figures(workspace))["inverted_votes_refused"] is figure
    assert as_json(workspace)["verdicts"] == told
    line = headline(improved, workspace.registry.history())
    assert line.startswith(f"votes {told['votes'] or 'undecided'}: wins 61.0 %")
    assert line.endswith(f"inverted {told['inverted']}: wins 31.0 %")


def test_a_later_rollback_does_not_unsay_the_verdict(workspace, fill):
    made = fill(workspace, list(CIRCLE))
    workspace.registry.promote(made["ppo"].id, {})
    decide(workspace, made["improve"], "promoted")
    workspace.registry.rollback()
    assert flat(figures(workspace))["inverted_votes_refused"] is True


def test_what_promote_decided_is_the_registrys_to_say(workspace, fill):
    made = fill(workspace, list(CIRCLE))
    assert headline(made["promote"]) == "nothing decided"
    workspace.registry.promote(made["ppo"].id, {"decided_by": made["promote"].id})
    assert headline(made["promote"], workspace.registry.history()) == f"{made['ppo'].id} promoted"
