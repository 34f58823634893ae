import math
import statistics

import pytest

from homeroom.data.rankings import RankedRows, as_rows
from homeroom.evaluation.qualification import ScoredAnswer, qualify, score_rankings, score_scale
from homeroom.models.heads import RewardModel
from homeroom.tasks.base import Question
from homeroom.tasks.rankings import RankedAnswer, Ranking


def answers(question, *rows):
    return [ScoredAnswer(question, tier, kind, length, score) for tier, kind, length, score in rows]


LITERAL = [
    *answers("a", (0, "right", 10, 2.0), (1, "own", 8, 1.0), (2, "truncated", 4, 1.5)),
    *answers("b", (0, "right", 6, 0.0), (2, "truncated", 6, 0.0), (2, "rude", 9, -3.0)),
    *answers("c", (1, "own", 5, 4.0), (1, "own", 7, 9.0)),
]


def test_figures_on_literal_scores():
    """Pairs: a: 2>1, 2>1.5, 1<1.5 (wrong); b: 0=0 (wrong: not above), 0>-3; c: none, its tiers are equal."""
    figures = qualify(LITERAL)
    assert figures["pairs"] == 5
    assert figures["accuracy"]["mean"] == pytest.approx(3 / 5)
    assert figures["accuracy"]["n"] == 5
    assert figures["accuracy"]["low"] <= 1 / 2 < 2 / 3 <= figures["accuracy"]["high"]  # of questions b and a alone
    assert figures["accuracy_by_kind"] == {"own": 1.0, "rude": 1.0, "truncated": 1 / 2}
    assert figures["scatter"][1] == {"length": 8, "score": 1.0}
    assert len(figures["scatter"]) == 8


def test_calibration_compares_what_is_promised_with_what_holds():
    """Margins 1, 0.5, -0.5, 0 and 3, in both orders: σ is 0.73, 0.62, 0.38, 0.5, 0.95, and what is left to 1."""
    rows = qualify(LITERAL)["calibration"]
    sigma = {margin: 1 / (1 + math.exp(-margin)) for margin in (-3, -1, -0.5, 0, 0.5, 1, 3)}
    expected = [
        (sigma[-3], 0.0, 1),
        (sigma[-1], 0.0, 1),
        (sigma[-0.5], 0.5, 2),  # 1 < 1.5 held once as promised, and 2 > 1.5 did not
        (0.5, 0.5, 2),
        (sigma[0.5], 0.5, 2),
        (sigma[1], 1.0, 1),
        (sigma[3], 1.0, 1),
    ]
    assert [(row["predicted"], row["observed"], row["n"]) for row in rows] == [pytest.approx(row) for row in expected]
    error = sum(abs(predicted - observed) * n for predicted, observed, n in expected) / 10
    assert qualify(LITERAL)["calibration_error"] == pytest.approx(error)


def test_a_perfect_model_is_sure_and_right():
    perfect = [one for n in range(20) for one in answers(str(n), (0, "right", 5, 50.0), (1, "own", 5, -50.0))]
    figures = qualify(perfect)
    assert figures["accuracy"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 20}
    assert figures["calibration_error"] == pytest.approx(0, abs=1e-9)
    assert [row["n"] for row in figures["calibration"]] == [20, 20]


@pytest.mark.parametrize(("sign", "expected"), [(1, 1.0), (-1, -1.0), (0, 0.0)])
def test_a_score_that_is_the_length_shows(sign, expected):
    rows = [one for n in range(5) for one in answers(str(n), (0, "right", 3 * n, sign * 3.0 * n), (1, "own", 1, sign))]
    assert qualify(rows)["score_length_correlation"] == pytest.approx(expected)


def test_the_interval_resamples_questions_not_pairs():
    """Ten pairs of one question are one observation: as wide as it gets when half of the questions are wrong."""
    wrong = [one for n in range(2) for one in answers(f"w{n}", (0, "right", 1, 0.0), *[(1, "own", 1, 1.0)] * 10)]
    right = [one for n in range(2) for one in answers(f"r{n}", (0, "right", 1, 1.0), *[(1, "own", 1, 0.0)] * 10)]
    accuracy = qualify(wrong + right)["accuracy"]
    assert (accuracy["low"], accuracy["mean"], accuracy["high"], accuracy["n"]) == (0.0, 0.5, 1.0, 40)


def test_without_pairs_there_is_nothing_to_qualify_on():
    with pytest.raises(ValueError, match="no pair of answers to qualify a reward model on"):
        qualify(answers("a", (1, "own", 5, 1.0), (1, "own", 5, 2.0)))


def test_every_answer_is_scored_under_its_own_question(model, tokenizer):
    rankings = [
        Ranking(
            Question(name, prompt, "画蛇添足", "zh", "k", "d"),
            (RankedAnswer("画蛇添足", 0, "right", True), RankedAnswer("守株", 11, "truncated", False)),
        )
        for name, prompt in (("a", "守株待兔"), ("b", "比喻"))
    ]
    judge = RewardModel(model)
    scored = score_rankings(judge, tokenizer, rankings)
    assert [(one.question_id, one.tier, one.kind) for one in scored] == [
        ("a", 0, "right"), ("a", 11, "truncated"), ("b", 0, "right"), ("b", 11, "truncated"),
    ]  # fmt: skip
    rows = [row for ranking in rankings for row in as_rows(ranking, tokenizer, 48).rows]
    assert [one.length for one in scored] == [len(row) for row in rows]
    assert [one.score for one in scored] == pytest.approx([float(judge.score([row])) for row in rows], abs=1e-4)


def test_the_scale_is_told_from_right_answers(model):
    judge = RewardModel(model)
    rows = [[1, 2, 3], [1, 2], [4, 5, 6, 7], [4, 5]]
    scores = [float(judge.score([row])) for row in rows]
    scale = score_scale(judge, [RankedRows(rows[:2], [0, 3]), RankedRows(rows[2:], [1, 0])])
    assert scale["score_mean"] == pytest.approx((scores[0] + scores[3]) / 2, abs=1e-4)
    assert scale["score_deviation"] == pytest.approx(statistics.stdev(scores), abs=1e-4)
