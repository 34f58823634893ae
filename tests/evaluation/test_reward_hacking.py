import json
import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.evaluation.reward_hacking import HackingWatch, Limits, Reading, trend_by_chance

ONSET = 20
NOISE = 0.1


def curve(rng, iterations, reward=lambda i: 0.0, judge=lambda i: 0.0, **means):
    """Readings with the noise of an iteration's 64 episodes around the given means."""

    def mean(name, usual, i):
        return means.get(name, lambda _: usual)(i)

    return [
        Reading(
            reward=reward(i) + rng.normal() * NOISE,
            judge=judge(i) + rng.normal() * NOISE,
            kl=mean("kl", 3.0, i) + rng.normal() * 0.3,
            entropy=mean("entropy", 2.0, i) * (1 + rng.normal() * 0.05),
            length=mean("length", 40.0, i) * (1 + rng.normal() * 0.1),
            repetition=min(1, mean("repetition", 0.05, i) + abs(rng.normal()) * 0.03),
        )
        for i in range(iterations)
    ]


def watched(readings, **limits):
    watch = HackingWatch(Limits(**limits))
    for reading in readings:
        if watch.add(reading) is not None:
            break
    return watch


@pytest.mark.parametrize("rise", [0.0, 0.05])
def test_noise_stops_no_run(rise):
    """100 iterations, with a reward that is flat or that rises while the judge sees nothing: at most 1 % stop."""
    rng = np.random.default_rng(0)
    stops = [watched(curve(rng, 100, reward=lambda i: rise * i)).stop for _ in range(100)]
    assert sum(stop is not None for stop in stops) <= 1


def test_the_same_check_catches_a_test_that_looks_too_often():
    rng = np.random.default_rng(0)
    readings = [curve(rng, 100, reward=lambda i: 0.05 * i) for _ in range(40)]
    assert sum(watched(one, judge_by_chance=0.01).stop is not None for one in readings) > 4


def test_a_run_that_learns_is_left_alone():
    rng = np.random.default_rng(1)
    for _ in range(20):
        learning = curve(rng, 100, lambda i: 0.05 * i, lambda i: 0.04 * i, length=lambda i: 40 + 0.2 * i)
        assert watched(learning).stop is None


@pytest.mark.parametrize(("fall", "within"), [(1.0, 16), (0.5, 20), (0.2, 40)])
def test_a_judge_that_falls_while_the_reward_rises_stops_the_run(fall, within):
    """`fall` in deviations of the noise, per iteration."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        readings = curve(rng, 90, lambda i: 0.05 * i, lambda i: 0.05 * min(i, ONSET) - fall * NOISE * max(0, i - ONSET))
        stop = watched(readings).stop
        assert stop.kind == "judge"
        assert ONSET < stop.iteration <= ONSET + within
        assert abs(stop.last_good - ONSET) <= (6 if fall > 0.3 else 16)
        assert "the reward rose" in stop.reason


def test_a_judge_that_falls_with_the_reward_is_no_hacking():
    rng = np.random.default_rng(3)
    for _ in range(20):
        assert watched(curve(rng, 60, lambda i: -0.1 * i, lambda i: -0.1 * i)).stop is None


@pytest.mark.parametrize(
    ("kind", "mean"),
    [
        ("entropy", lambda i: 2 * 0.9 ** max(0, i - ONSET)),
        ("length", lambda i: 40 * 1.08 ** max(0, i - ONSET)),
        ("length", lambda i: 40 * 0.92 ** max(0, i - ONSET)),
        ("repetition", lambda i: 0.05 + 0.03 * max(0, i - ONSET)),
        ("kl", lambda i: 3 + 3 * max(0, i - ONSET)),
    ],
)
def test_what_runs_away_stops_the_run(kind, mean):
    rng = np.random.default_rng(4)
    for _ in range(10):
        readings = [replace(one, judge=None) for one in curve(rng, 60, lambda i: 0.05 * i, **{kind: mean})]
        stop = watched(readings).stop
        assert stop.kind == kind
        assert ONSET < stop.last_good < stop.iteration <= ONSET + 16


def test_one_reading_beyond_a_limit_is_an_accident():
    quiet = Reading(0, 1, 2, 40, 0.1, 0)
    once = [quiet] * 5 + [replace(quiet, entropy=0.1)] + [quiet] * 3
    assert watched(once * 3).stop is None
    twice = watched([quiet] * 5 + [replace(quiet, entropy=0.1)] * 2)
    assert (twice.stop.kind, twice.stop.iteration, twice.stop.last_good) == ("entropy", 6, 4)
    assert "from 2.00 to 0.10" in twice.stop.reason


@pytest.mark.parametrize("name", ["kl", "entropy", "length", "repetition"])
def test_what_is_no_number_is_beyond_every_limit(name):
    quiet = Reading(0, 1, 2, 40, 0.1, 0)
    assert watched([quiet] * 5 + [replace(quiet, **{name: math.nan})] * 2).stop.kind == name


@given(data=st.data())
def test_the_last_good_weights_were_always_among_those_to_keep(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    onset, fall = data.draw(st.integers(0, 20)), data.draw(st.sampled_from([0.0, 0.1, 0.3]))
    decay = data.draw(st.sampled_from([1.0, 0.9]))
    judged = data.draw(st.sampled_from([1, 2, 100]))
    readings = curve(
        rng,
        45,
        lambda i: 0.1 * i,
        lambda i: -fall * max(0, i - onset),
        entropy=lambda i: 2 * decay ** max(0, i - onset),
    )
    readings = [one if i % judged == 0 else replace(one, judge=None) for i, one in enumerate(readings)]
    watch, kept = HackingWatch(), set()
    for iteration, reading in enumerate(readings):
        if watch.add(reading) is not None:
            break
        assert watch.keep <= kept | {iteration}
        kept = set(watch.keep)
    json.dumps(watch.figures())
    if watch.stop is not None:
        assert watch.stop.last_good in kept | {watch.stop.iteration}
        assert watch.keep == {watch.stop.last_good}
    again = HackingWatch()
    again.replay(watch.readings)
    assert (again.stop, again.keep) == (watch.stop, watch.keep)


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_the_trend_is_what_counting_all_orders_gives(n):
    orders = [sum(b > a for i, a in enumerate(order) for b in order[i + 1 :]) for order in permutations(range(n))]
    rng = np.random.default_rng(n)
    for _ in range(20):
        values = rng.permutation(n)
        rising = sum(b > a for i, a in enumerate(values) for b in values[i + 1 :])
        assert trend_by_chance(values) == pytest.approx(sum(other >= rising for other in orders) / len(orders))


def test_the_published_tail_of_the_trend():
    """Kendall, Rank Correlation Methods, table 1: n = 10, S = 23 or more has probability 0.023."""
    values = [5, 4, 3, 2, 1, 6, 7, 8, 10, 9]  # 11 of 45 pairs fall
    assert trend_by_chance(values) == pytest.approx(0.023, abs=5e-4)


def test_values_that_are_all_equal_have_no_trend():
    assert trend_by_chance([1.0] * 10) >= 0.5
