import time

import pytest

from homeroom.evaluation import latency
from homeroom.evaluation.latency import compare_latency, median_interval


@pytest.mark.parametrize(("n", "low", "high"), [(3, 1, 3), (6, 1, 6), (8, 1, 8), (9, 2, 8), (12, 3, 10), (20, 6, 15)])
def test_the_median_lies_between_the_values_that_the_sign_test_allows(n, low, high):
    """Ranks of the 95 % interval (Conover, Practical Nonparametric Statistics, table A3); of fewer than six: all."""
    found = median_interval([float(value) for value in range(n, 0, -1)])
    assert (found.low, found.high) == (low, high)
    assert found.mean == (n + 1) / 2


def test_one_slow_moment_moves_nothing():
    assert median_interval([1.0] * 11 + [50.0]).high == 1.0


def test_a_model_of_many_layers_is_slower_and_one_like_it_is_not(new_model):
    model, deep = new_model(max_length=64), new_model(max_length=64, layers=12)
    slow = compare_latency(deep, model, seconds=60)
    assert slow.token.times.low > 1.5
    assert slow.first_token.times.n >= 2 * latency.ROUNDS
    assert slow.token.candidate > slow.token.champion > 0
    same = compare_latency(new_model(max_length=64, seed=1), model)
    assert same.token.times.low <= 1.1
    assert same.first_token.times.low <= 1.1


def test_it_takes_no_longer_than_it_may(new_model):
    """With a bar at 1, equal models stay in doubt for ever."""
    model = new_model(max_length=64)
    began = time.perf_counter()
    found = compare_latency(model, model, doubt=1.0, seconds=0.0)
    assert latency.LEAST_ROUNDS <= found.token.times.n <= latency.ROUNDS
    assert time.perf_counter() - began < 5


def test_the_shortest_context_can_be_timed(new_model):
    model = new_model(max_length=4)
    assert compare_latency(model, model, seconds=0.0).token.candidate > 0
