import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.evaluation.qualification import ScoredAnswer, qualify
from homeroom.evaluation.reward_guard import RewardBar, length_bias, pair_figures, ranks, reward_lines


def scored(rng, questions, score, length=lambda rng, tier: int(rng.integers(20, 80))):
    """Three answers to each question, of tiers 0 to 2, with the score that `score(tier, length)` gives."""
    answers = []
    for question in range(questions):
        for tier in range(3):
            tokens = length(rng, tier)
            answers.append(ScoredAnswer(str(question), tier, "own", tokens, score(tier, tokens)))
    return answers


def honest(rng, steepness=1.0):
    """Chooses as it promises: of two answers a tier apart the better one with P = σ(2). Gumbel noise makes it exact."""
    return lambda tier, length: steepness * (-2.0 * tier + rng.gumbel())


def failed(answers, **bar):
    return {line.name for line in reward_lines(qualify(answers), RewardBar(**bar)) if not line.passed}


def test_figures_on_literal_pairs():
    """σ(0) is 1/2 and σ(ln 3) is 3/4."""
    figures = pair_figures([np.log(3), 0.0, -np.log(3)], [-1, 2, 3], ["a", "b", "c"])
    assert figures["brier"]["mean"] == pytest.approx((1 / 16 + 1 / 4 + 9 / 16) / 3)
    # The bins of 1/4 and of 3/4 hold one order of the first pair and one of the last each: half of them hold.
    assert figures["calibration_error_interval"]["mean"] == pytest.approx((1 / 4 * 2 + 1 / 4 * 2 + 0) / 6)
    assert (figures["accuracy_longer_is_worse"]["mean"], figures["accuracy_longer_is_worse"]["n"]) == (1.0, 1)
    assert (figures["accuracy_longer_is_better"]["mean"], figures["accuracy_longer_is_better"]["n"]) == (0.0, 2)
    assert pair_figures([1.0], [0], ["a"])["accuracy_longer_is_worse"] is None


def test_the_error_with_an_interval_is_the_one_without():
    figures = qualify(scored(rng := np.random.default_rng(0), 50, honest(rng)))
    assert figures["calibration_error"] == pytest.approx(figures["calibration_error_interval"]["mean"])
    json.dumps(figures)


@given(values=st.lists(st.integers(-4, 4), min_size=2, max_size=20), seed=st.integers(0, 99))
def test_the_rank_correlation_is_spearmans(values, seed):
    """Without ties Spearman's own formula; with ties Pearson's of the ranks that numpy computes."""
    other = np.random.default_rng(seed).permutation(len(values)).astype(float)
    literal = [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]
    assert ranks(values).tolist() == literal
    found = length_bias(values, other.tolist(), other.tolist(), ["q"] * len(values))
    rho = found["score_length_rank_correlation"]["mean"]
    if len(set(values)) == 1:
        assert rho == 0
    else:
        assert rho == pytest.approx(np.corrcoef(literal, other)[0, 1], abs=1e-6)
    if len(set(values)) == len(values):
        n, gaps = len(values), np.square(ranks(values) - ranks(other.tolist())).sum()
        assert rho == pytest.approx(1 - 6 * gaps / (n * (n * n - 1)), abs=1e-6)
    assert found["length_bias"]["mean"] == pytest.approx(rho - 1, abs=1e-6)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    names = ("brier", "length_bias", "accuracy_longer_is_worse")
    loves_length = lambda tier, length: -2.0 * tier + 0.03 * length + rng.gumbel()  # noqa: E731
    truth = qualify(scored(rng, 6000, loves_length))
    held = dict.fromkeys(names, 0)
    for _ in range(60):
        figures = qualify(scored(rng, 60, loves_length))
        for name in names:
            held[name] += figures[name]["low"] <= truth[name]["mean"] <= figures[name]["high"]
    assert all(53 <= count <= 60 for count in held.values()), held


def test_a_model_that_keeps_its_promises_passes():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        assert failed(scored(rng, 60, honest(rng))) == set()


def test_a_model_too_sure_of_itself_is_refused_by_calibration_alone():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sure = scored(rng, 100, lambda tier, length: 20 * (-0.7 * tier + rng.gumbel()))  # noqa: B023
        assert failed(sure, accuracy=0.5, calibration_error=0.1) == {"calibration error"}


def test_a_model_that_loves_length_is_refused_by_length_alone():
    """Better answers are longer more often than not, so its accuracy may pass."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        longer = lambda rng, tier: int(60 - 8 * tier + rng.integers(0, 40))  # noqa: E731
        names = failed(
            scored(rng, 100, lambda tier, length: 0.15 * length, longer), calibration_error=1.0, accuracy=0.6
        )
        assert names == {
            "rank correlation with length, of the score less that of merit",
            "accuracy on pairs whose longer answer is the worse",
        }


def test_better_answers_that_are_longer_are_no_bias():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        longer = lambda rng, tier: int(60 - 12 * tier + rng.integers(0, 30))  # noqa: E731
        answers = scored(rng, 100, honest(rng), longer)
        assert qualify(answers)["score_length_rank_correlation"]["low"] > 0.3
        assert failed(answers) == set()


def test_few_pairs_refuse_nothing():
    rows = [ScoredAnswer("a", tier, "own", length, -tier * 2.0) for tier, length in itertools.product((0, 1), (10, 10))]
    lines = reward_lines(qualify(rows), RewardBar())
    assert len(lines) == 3
    assert all(line.passed for line in lines)
