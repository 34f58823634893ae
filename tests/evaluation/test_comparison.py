import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.evaluation.comparison import mean_interval, proportion_interval, sign_test, win_rate

scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40)


def test_a_tie_counts_half():
    assert win_rate([1.0, 0.0, 2.0, 3.0], [0.0, 1.0, 2.0, 1.0], seed=0).mean == 2.5 / 4


def test_one_answer_scored_twice_is_a_tie():
    """Floating-point scores of the same tokens differ by the batch that they were scored in."""
    once, again = [0.8, 0.8, 0.8, 5.0], [0.8 + 1.2e-6, 0.8 + 1.2e-6, 0.8 - 1.2e-6, 4.0]
    assert win_rate(once, again, seed=0).mean == 2.5 / 4


@given(
    pairs=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=60),
    seed=st.integers(0, 9),
)
def test_win_rate_of_b_over_a_mirrors_that_of_a_over_b(pairs, seed):
    a, b = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    forth, back = win_rate(a, b, seed), win_rate(b, a, seed)
    assert forth.mean == pytest.approx(1 - back.mean)
    assert forth.low == pytest.approx(1 - back.high, abs=1e-9)
    assert 0 <= forth.low <= forth.mean <= forth.high <= 1


@given(values=scores, shift=st.integers(-3, 3))
def test_an_interval_moves_with_its_values(values, shift):
    plain, moved = mean_interval(values, 1), mean_interval([v + shift for v in values], 1)
    assert moved.low == pytest.approx(plain.low + shift, abs=1e-9)
    assert moved.high == pytest.approx(plain.high + shift, abs=1e-9)


def test_the_bootstrap_agrees_with_one_that_draws_indices_one_by_one():
    values = np.random.default_rng(3).normal(size=50)
    rng = np.random.default_rng(4)
    means = sorted(np.mean([values[rng.integers(50)] for _ in range(50)]) for _ in range(2000))
    interval = mean_interval(values, seed=5, resamples=20_000)
    assert interval.low == pytest.approx(means[50], abs=0.03)
    assert interval.high == pytest.approx(means[1950], abs=0.03)


def test_95_of_100_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(150):
        interval = win_rate(rng.normal(0.3, 1, size=200), rng.normal(0.0, 1, size=200), seed, resamples=300)
        hits += interval.low <= 0.58400 <= interval.high  # P(N(0.3, 2) > 0) = Φ(0.3 / √2)
    assert 0.9 <= hits / 150 <= 0.98


def test_ten_copies_of_a_question_are_no_ten_questions():
    values = np.random.default_rng(1).integers(0, 2, size=30).astype(float)
    copies, groups = np.repeat(values, 10), [str(i) for i in np.repeat(np.arange(30), 10)]
    once, grouped, naive = (
        mean_interval(values, 2),
        mean_interval(copies, 2, groups),
        mean_interval(copies, 2),
    )
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.15)
    assert naive.high - naive.low < 0.5 * (grouped.high - grouped.low)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score, without continuity correction).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    interval = proportion_interval(successes, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_the_same_seed_gives_the_same_interval():
    assert mean_interval([1.0, 2.0, 5.0], 7) == mean_interval([1.0, 2.0, 5.0], 7)


@pytest.mark.parametrize(
    ("a", "b", "complaint"),
    [([], [], "at least one"), ([1.0], [1.0, 2.0], "as many"), ([float("nan")], [1.0], "not finite")],
)
def test_what_cannot_be_compared_is_refused(a, b, complaint):
    with pytest.raises(ValueError, match=complaint):
        win_rate(a, b, 0)


def test_the_sign_test_is_the_tail_of_a_fair_coin():
    assert [sign_test(1, 0), sign_test(5, 0), sign_test(0, 0), sign_test(0, 7)] == [0.5, 1 / 32, 1.0, 1.0]
    assert sign_test(9, 2) == (55 + 11 + 1) / 2**11
    assert 0 <= sign_test(2000, 0) < 1e-300
    assert sign_test(700, 700) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="counted from 0"):
        sign_test(-1, 3)
