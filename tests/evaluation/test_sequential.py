import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.evaluation.sequential import BETS, Sequential, log_wealth

outcomes = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=80)


def after(votes, **settings):
    test = Sequential(**{"maximum": 10_000, **settings})
    for vote in votes:
        test.add(vote)
    return test


def ever(decided, win_rate, votes):
    """How likely `decided(wins, n)` was true once by each of so many votes without ties: exact, no simulation."""
    probability, total = np.ones(1), [0.0]
    for n in range(1, votes + 1):
        probability = np.append(0, probability) * win_rate + np.append(probability, 0) * (1 - win_rate)
        stops = np.array([p > 0 and decided(wins, n) for wins, p in enumerate(probability)])
        total.append(total[-1] + probability[stops].sum())
        probability[stops] = 0
    return total


def better(wins, n):
    return log_wealth({1.0: wins, 0.0: n - wins}, 0.5) >= math.log(40)


def naive(wins, n):
    """The z-test of a fixed number of votes, one-sided at 2.5 %."""
    return n >= 10 and (wins - n / 2) / math.sqrt(n / 4) > 1.96


def test_a_test_with_peeking_after_every_vote_is_wrong_as_rarely_as_it_says():
    """Of two equals: 2.5 % for either side. The naive test fails the same check by far."""
    assert ever(better, 0.5, 400)[-1] <= 0.025
    assert ever(naive, 0.5, 400)[-1] > 0.15


def test_a_win_rate_of_60_percent_is_found():
    """A test with 194 votes, all of which have to be waited for, would find it with probability 80 %."""
    found = ever(better, 0.6, 340)
    assert found[194] >= 0.5
    assert found[340] >= 0.8
    assert ever(better, 0.7, 60)[-1] >= 0.5


def verdicts(probabilities, runs, maximum):
    """The share of each verdict; the probabilities are those of a loss, a tie and a win."""
    rng = np.random.default_rng(0)
    found = Counter()
    for _ in range(runs):
        test = Sequential(maximum=maximum)
        for vote in rng.choice([0.0, 0.5, 1.0], p=probabilities, size=maximum):
            if test.add(vote) != "open":
                break
        found[test.verdict] += 1 / runs
    return found


@pytest.mark.parametrize("probabilities", [[0.5, 0, 0.5], [0.4, 0.2, 0.4], [0.1, 0.8, 0.1]])
def test_the_class_keeps_its_promise_with_ties(probabilities):
    found = verdicts(probabilities, 300, 250)
    assert found["better"] + found["worse"] <= 0.05


def test_ties_among_wins_are_no_hindrance():
    assert verdicts([0.3, 0.2, 0.5], 100, 400)["better"] >= 0.8
    assert verdicts([0.5, 0.2, 0.3], 100, 400)["worse"] >= 0.8


@pytest.mark.parametrize("rate", [0.3, 0.6])
def test_the_interval_holds_at_all_times_at_once(rate):
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(200):
        test = Sequential()
        wrong = False
        for _ in range(12):
            for vote in rng.random(20) < rate:
                test.outcomes[float(vote)] += 1
            wrong |= not test.interval.low <= rate <= test.interval.high
        missed += wrong
    assert missed / 200 <= 0.05


def test_votes_on_one_question_are_one_outcome():
    rng = np.random.default_rng(2)
    clustered = plain = 0
    for _ in range(150):
        votes = []
        for question in range(40):
            side = 0.5 + 0.45 * rng.choice([-1, 1])
            votes += [(float(rng.random() < side), str(question)) for _ in range(10)]
        rng.shuffle(order := np.arange(len(votes)))
        one, other = Sequential(votes_per_question=10), Sequential()
        for index in order:
            value, question = votes[index]
            one.add(value, question)
            other.add(value)
        clustered += one.verdict == "better"
        plain += other.verdict == "better"
    assert clustered / 150 <= 0.025 < 0.1 < plain / 150


def test_a_question_counts_when_it_is_complete():
    test = Sequential(votes_per_question=3)
    for vote in (1, 0.5, 1, 0):
        test.add(vote, "a")
    test.add(0, "b")
    assert dict(test.outcomes) == {2.5 / 3: 1}
    assert test.figures()["late"] == test.figures()["waiting"] == 1
    test.settle()
    test.add(1, "b")
    assert dict(test.outcomes) == {2.5 / 3: 1, 0: 1}
    assert test.late == 2


@given(votes=outcomes, bar=st.sampled_from([0.3, 0.5, 0.6]))
def test_the_verdict_is_what_the_interval_says(votes, bar):
    test = after(votes, bar=bar)
    interval = test.interval
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    assert interval.mean == pytest.approx(np.mean(votes[: test.n]))
    assert (test.verdict == "better") == (interval.low > bar - 1e-6)
    assert (test.verdict == "worse") == (interval.high < bar + 1e-6)
    json.dumps(test.figures())


@pytest.mark.parametrize("bar", [0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("away", [-0.15, 0.15])
def test_a_verdict_comes_with_the_vote_that_moves_the_interval_past_the_bar(bar, away):
    rng = np.random.default_rng(3)
    test = Sequential(bar=bar)
    while test.verdict == "open":
        before = test.interval
        test.add(float(rng.random() < bar + away))
    assert before.low <= bar + 1e-6
    assert before.high >= bar - 1e-6
    assert test.interval.low > bar - 1e-6 if test.verdict == "better" else test.interval.high < bar + 1e-6
    assert test.verdict == ("better" if away > 0 else "worse")


@given(votes=outcomes)
def test_the_champions_view_is_the_mirrored_one(votes):
    ours, theirs = after(votes), after([1 - vote for vote in votes])
    assert (ours.verdict, theirs.verdict) in {("open", "open"), ("better", "worse"), ("worse", "better")}
    assert ours.interval.low == pytest.approx(1 - theirs.interval.high, abs=1e-5)


@given(votes=outcomes, seed=st.integers(0, 9))
def test_the_order_of_votes_changes_no_interval(votes, seed):
    shuffled = np.random.default_rng(seed).permutation(votes)
    one, other = Sequential(), Sequential()
    one.outcomes, other.outcomes = Counter(votes), Counter(shuffled.tolist())
    assert one.interval.low == pytest.approx(other.interval.low, abs=1e-9)


@given(votes=outcomes, mean=st.floats(0.01, 0.99))
def test_wealth_is_the_mean_of_its_bets_and_each_a_product(votes, mean):
    literal = [math.prod(1 + bet / mean * (vote - mean) for vote in votes) for bet in BETS]
    assert log_wealth(Counter(votes), mean) == pytest.approx(math.log(sum(literal) / len(literal)), abs=1e-6)


def test_after_a_verdict_votes_count_no_more():
    test = after([1.0] * 50)
    assert test.verdict == "better"
    assert test.n + test.late == 50
    assert test.n <= 12
    before = test.interval
    for _ in range(50):
        test.add(0.0)
    assert (test.verdict, test.interval) == ("better", before)
    assert after([1, 0] * 10, maximum=20).verdict == "no better"
    assert after([0.0] * 50).verdict == "worse"


def test_before_the_first_vote_nothing_is_known():
    assert (Sequential().interval.low, Sequential().interval.high, Sequential().verdict) == (0, 1, "open")


@pytest.mark.parametrize("settings", [{"bar": 1.0}, {"confidence": 0}, {"maximum": 0}, {"votes_per_question": 0}])
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ValueError, match="given"):
        Sequential(**settings)


@pytest.mark.parametrize("outcome", [-1, 1.5, float("nan")])
def test_an_outcome_that_is_none_is_refused(outcome):
    with pytest.raises(ValueError, match="between 0"):
        Sequential().add(outcome)
