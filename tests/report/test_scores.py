"""What is told of a score, and beside which models the report shows it."""

import pytest

from homeroom.report import overview, page, scores
from homeroom.settings import Frozen
from homeroom.stages import CIRCLE


def row(shots, mean, **more):
    rate = {"mean": mean, "low": mean - 0.04, "high": mean + 0.04, "n": 567}
    return {"shots": shots, "accuracy": rate, "accuracy_per_byte": rate, "chance": 0.25, "by_category": {}} | more


METRICS = {
    "model": "sft-1a2b", "weights": "float32 weights",
    "file": "arc [easy].jsonl", "questions": 570, "choices": [4], "rejects": 0,
    "scores": [row(0, 0.412, too_long=3, fewer_examples=0), row(5, 0.44, too_long=3, fewer_examples=1200)],
}  # fmt: skip


def test_what_was_cut_or_left_out_is_told():
    assert scores.text(METRICS).splitlines() == [
        "arc [easy].jsonl: 570 questions, 4 choices (chance 25.0 %)      model sft-1a2b, float32 weights",
        "shots   accuracy              by log-likelihood per byte of the choice",
        "0       41.2 % [37.2, 45.2]   41.2 % [37.2, 45.2]",
        "5       44.0 % [40.0, 48.0]   44.0 % [40.0, 48.0]",
        "longer than the model's context, and not counted: 3 questions",
        "asked with fewer than 5 examples, since more do not fit: 1,200 questions",
    ]


def test_columns_stand_below_each_other_also_behind_chinese():
    by_category = {"天文": row(0, 0.5), "law": row(0, 0.3)}
    told = scores.text(METRICS | {"scores": [row(0, 0.4, by_category=by_category)]}).splitlines()
    assert told[2:5] == [
        "0              40.0 % [36.0, 44.0]   40.0 % [36.0, 44.0]",
        "  天文 (567)   50.0 % [46.0, 54.0]   50.0 % [46.0, 54.0]",
        "  law (567)    30.0 % [26.0, 34.0]   30.0 % [26.0, 34.0]",
    ]


@pytest.mark.parametrize("model", ["sft", "another"])
def test_the_report_shows_the_scores_of_its_own_models(workspace, fill, make, model):
    made = fill(workspace, list(CIRCLE))
    inputs = [made["sft"]] if model == "sft" else [make(workspace, "sft", dict(made), depth=8)]
    with workspace.publish("score", Frozen(), inputs) as draft:
        draft.metrics = METRICS
    told = page.render(workspace)
    assert ("arc [easy].jsonl" in told) == (model == "sft")
    assert told.count('<span lang="en">') == told.count('<span lang="zh-Hans">')
    if model == "sft":
        assert "44.0 % [40.0, 48.0]" in told
    assert overview.in_circle_order(workspace)[-1] == draft.artifact
    assert overview.headline(draft.artifact) == (
        "arc [easy].jsonl: 570 questions, 4 choices (chance 25.0 %): "
        "41.2 % [37.2, 45.2] with 0 shots, 44.0 % [40.0, 48.0] with 5 shots"
    )
