"""Figures of different runs never stand side by side: what is shown belongs to the newest evaluation."""

from homeroom.report.figures import figures, flat
from homeroom.report.lineage import is_whole, lineage
from homeroom.settings import Frozen
from homeroom.stages import CIRCLE

UNTIL_PPO = list(CIRCLE)[: list(CIRCLE).index("evaluate")]


class Inverted(Frozen):
    inverted: bool = True


class Split(Frozen):
    split: str = "validation"


def ids(found):
    return {stage: artifact.id for stage, artifact in found.items()}


def test_one_run_of_the_circle_is_whole(workspace, fill):
    made = fill(workspace, list(CIRCLE))
    assert list(lineage(workspace)) == list(CIRCLE)
    assert ids(lineage(workspace)) == ids(made)
    assert is_whole(lineage(workspace))


def test_half_a_run_with_other_settings_changes_no_figure(workspace, fill, make):
    """As after `homeroom run --until pretrain --set pretrain.depth=8`."""
    made = fill(workspace, list(CIRCLE))
    before = figures(workspace)
    make(workspace, "pretrain", dict(made), depth=8)
    assert figures(workspace) == before
    assert ids(lineage(workspace)) == ids(made)


def test_a_newer_evaluation_leads_and_what_it_has_not_led_to_yet_is_missing(workspace, fill, make):
    made = fill(workspace, list(CIRCLE))
    for stage in ("pretrain", "sft", "rankings", "reward", "judge", "ppo", "evaluate"):
        make(workspace, stage, made, depth=8)
    found = lineage(workspace)
    assert list(found) == [*UNTIL_PPO, "evaluate"]
    assert ids(found) == {stage: made[stage].id for stage in found}
    told = flat(figures(workspace))
    assert told["circle_seconds"] is None
    assert told["improve_win_rate_low"] is None
    assert told["ppo_kl"] == 3.4


def test_the_first_run_leads_again_when_it_is_run_again(workspace, fill, make):
    made = fill(workspace, list(CIRCLE))
    again = dict(made)
    make(workspace, "evaluate", again, depth=8)
    workspace.artifacts.record(made["evaluate"])  # found unchanged
    assert ids(lineage(workspace)) == ids(made)


def test_a_harvest_that_nothing_was_learned_from_shows_no_older_improvement(workspace, fill, make):
    made = fill(workspace, list(CIRCLE))
    make(workspace, "harvest", made, depth=8)
    found = lineage(workspace)
    assert found["harvest"] == made["harvest"]
    assert "improve" not in found
    told = flat(figures(workspace))
    assert told["improve_win_rate_low"] is None
    assert told["inverted_votes_refused"] is None
    make(workspace, "improve", made, depth=8)
    assert lineage(workspace)["improve"] == made["improve"]
    assert flat(figures(workspace))["improve_win_rate_low"] is not None


def test_an_improved_model_that_was_evaluated_brings_no_earlier_round_along(workspace, fill, make):
    made = fill(workspace, list(CIRCLE))
    inputs = [made[stage] for stage in ("clean", "judge", "pretrain", "sft", "ppo", "improve")]
    with workspace.publish("evaluate", Inverted(inverted=False), inputs) as draft:
        draft.metrics = dict(made["evaluate"].metrics)
    made["evaluate"] = draft.artifact
    assert list(lineage(workspace)) == [*UNTIL_PPO, "evaluate"]
    for stage in ("promote", "vote", "harvest", "improve"):
        make(workspace, stage, made)
    assert ids(lineage(workspace)) == ids(made)
    assert is_whole(lineage(workspace))


def test_an_evaluation_of_models_from_two_runs_has_no_time_of_one_circle(workspace, fill, make):
    made = fill(workspace, list(CIRCLE))
    make(workspace, "pretrain", made, depth=8)
    for stage in ("evaluate", "promote", "vote", "harvest", "improve"):
        make(workspace, stage, made)  # with the sft model of the other base model
    assert list(lineage(workspace)) == list(CIRCLE)
    assert not is_whole(lineage(workspace))
    assert flat(figures(workspace))["circle_seconds"] is None


def test_figures_of_models_that_one_run_did_not_make_are_left_out(workspace, fill, make):
    """As after `homeroom sft --set sft.epochs=2` and `homeroom evaluate`."""
    made = fill(workspace, list(CIRCLE))
    before = flat(figures(workspace))
    make(workspace, "sft", made, depth=8)
    make(workspace, "evaluate", made)  # with the ppo model of the other sft model
    told = flat(figures(workspace))
    known = ("base_bits_per_byte", "xz_bits_per_byte", "sft_ends", "sft_language")
    assert told == {name: before[name] if name in known else None for name in told}
    make(workspace, "pretrain", made, depth=8)
    make(workspace, "evaluate", made)
    told = flat(figures(workspace))
    assert told == {name: before[name] if name in known[:2] else None for name in told}


def test_an_evaluation_of_the_validation_split_shows_nothing(workspace, fill, make):
    made = fill(workspace, list(CIRCLE))
    before = figures(workspace)
    tuning = dict(made)
    inputs = [made[stage] for stage in ("clean", "judge", "pretrain", "sft", "ppo")]
    with workspace.publish("evaluate", Split(), inputs) as draft:
        draft.metrics = dict(made["evaluate"].metrics)
    tuning["evaluate"] = draft.artifact
    for stage in ("promote", "vote", "harvest", "improve"):
        make(workspace, stage, tuning)
    assert ids(lineage(workspace)) == ids(made)
    assert figures(workspace) == before


def test_before_any_evaluation_the_furthest_stage_leads(workspace, fill, make):
    made = fill(workspace, list(CIRCLE)[: list(CIRCLE).index("sft")])
    other = dict(made)
    make(workspace, "tokenize", other, depth=8)
    assert ids(lineage(workspace)) == ids(made)
    make(workspace, "pretrain", other, depth=8)
    assert ids(lineage(workspace)) == ids(other)


def test_what_no_later_stage_used_yet_is_there(workspace, fill):
    """No stage before evaluate is made from both reward and judge."""
    made = fill(workspace, UNTIL_PPO)
    assert ids(lineage(workspace)) == ids(made)


def test_a_control_with_inverted_votes_is_no_result(workspace, fill):
    made = fill(workspace, list(CIRCLE))
    inputs = [made[stage] for stage in ("harvest", "ppo", "evaluate")]
    with workspace.publish("improve", Inverted(), inputs) as draft:
        draft.metrics = {"promoted": False}
    assert ids(lineage(workspace)) == ids(made)


def test_a_folder_that_is_gone_leaves_the_rest(workspace, fill):
    made = fill(workspace, list(CIRCLE))
    workspace.artifacts.set_aside(made["rankings"].id)
    assert list(lineage(workspace)) == [stage for stage in CIRCLE if stage != "rankings"]
    assert not is_whole(lineage(workspace))
