import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.data.crowd import CastVote, fit, shared


def votes_of(table):
    """Rows are persons, columns answers, None where somebody did not vote."""
    return [
        CastVote(f"p{person}", "q", f"a{answer}", value, float(answer))
        for person, row in enumerate(table)
        for answer, value in enumerate(row)
        if value is not None
    ]


def log_likelihood(table, share, hit, alarm):
    """Of votes, with each answer's kind summed out; written down from the paper's equation (2.1)."""
    total = 0.0
    for answer in range(len(table[0])):
        kinds = []
        for prior, rates in ((share, hit), (1 - share, alarm)):
            kind = prior.log()
            for person, row in enumerate(table):
                if row[answer] is not None:
                    kind = kind + (rates[person] if row[answer] > 0 else 1 - rates[person]).log()
            kinds.append(kind)
        total = total + torch.logaddexp(*kinds)
    return total


def maximised(table, starts=4):
    """The highest likelihood that a quasi-Newton search finds."""
    best = -math.inf
    for seed in range(starts):
        generator = torch.Generator().manual_seed(seed)
        raw = torch.randn(1 + 2 * len(table), generator=generator, dtype=torch.float64)
        if seed % 2:
            raw[1 : 1 + len(table)] += 1.5
            raw[1 + len(table) :] -= 1.5
        raw.requires_grad_()
        optimizer = torch.optim.LBFGS([raw], max_iter=60, line_search_fn="strong_wolfe", tolerance_change=1e-12)

        def closure():
            optimizer.zero_grad()  # noqa: B023
            rates = torch.sigmoid(raw.clamp(-25, 25))  # noqa: B023
            loss = -log_likelihood(table, rates[0], rates[1 : 1 + len(table)], rates[1 + len(table) :])
            loss.backward()
            return loss

        optimizer.step(closure)
        best = max(best, -float(closure().detach()))
    return best


@pytest.mark.parametrize("seed", range(4))
def test_em_finds_what_a_direct_search_of_the_likelihood_finds(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random(14) < 0.6
    table = [[1 if good != (rng.random() < 0.2) else -1 for good in truth] for _ in range(4)]
    crowd = fit(votes_of(table), right=0, wrong=0)
    rates = [torch.tensor(each) for each in (crowd.share, crowd.hit_P, crowd.alarm_P)]
    assert crowd.log_likelihood == pytest.approx(float(log_likelihood(table, *rates)), abs=1e-4)
    assert crowd.log_likelihood >= maximised(table) - 0.02


tables = st.integers(2, 6).flatmap(
    lambda answers: st.lists(
        st.lists(st.sampled_from([None, 1, -1]), min_size=answers, max_size=answers), min_size=2, max_size=5
    )
)


@given(table=tables)
@settings(max_examples=50)
def test_what_the_others_say_is_what_a_sum_over_all_worlds_says(table):
    """Every assignment of good and bad to the answers, one by one, with the fitted rates."""
    crowd = fit(votes_of(table))
    if crowd is None:
        assert all(sum(row[answer] is not None for row in table) < 2 for answer in range(len(table[0])))
        return
    answers = len(crowd.good_A)

    def weigh(world, without=None):
        weight = math.prod(crowd.share if good else 1 - crowd.share for good in world)
        for index, (person, answer, up) in enumerate(zip(crowd.persons, crowd.answers, crowd.ups, strict=True)):
            if index != without:
                rate = (crowd.hit_P if world[answer] else crowd.alarm_P)[person]
                weight *= rate if up else 1 - rate
        return weight

    worlds = list(itertools.product([True, False], repeat=answers))
    found = crowd.others()
    for index in range(len(crowd.ups)):
        weights = [weigh(world, index) for world in worlds]
        good = sum(w for w, world in zip(weights, worlds, strict=True) if world[crowd.answers[index]])
        assert found[index] == pytest.approx(good / sum(weights), abs=1e-6)


@settings(max_examples=50)
@given(table=tables, seed=st.integers(0, 9))
def test_the_order_of_votes_and_names_does_not_matter(table, seed):
    votes = votes_of(table)
    one, other = fit(votes), fit([votes[i] for i in np.random.default_rng(seed).permutation(len(votes))])
    assert (one is None) == (other is None)
    if one is not None:
        assert one.log_likelihood == pytest.approx(other.log_likelihood)
        assert one.hit_P == pytest.approx(other.hit_P, abs=1e-4)


def test_rates_are_found_again():
    rng = np.random.default_rng(0)
    truth, hit, alarm = rng.random(400) < 0.7, [0.9, 0.8, 0.95, 0.6, 0.1], [0.1, 0.3, 0.2, 0.5, 0.9]
    table = [
        [1 if rng.random() < (h if good else a) else -1 for good in truth] for h, a in zip(hit, alarm, strict=True)
    ]
    crowd = fit(votes_of(table))
    assert crowd.hit_P == pytest.approx(hit, abs=0.07)
    assert crowd.alarm_P == pytest.approx(alarm, abs=0.12)
    assert crowd.share == pytest.approx(0.7, abs=0.1)


def test_only_the_last_vote_of_a_person_on_a_shared_answer_counts():
    rows = [("a", "x", 1, 0), ("a", "x", -1, 5), ("b", "x", 1, 1), ("b", "y", 1, 2), ("c", "x", 0, 3)]
    found = shared([CastVote(person, "q", answer, value, at) for person, answer, value, at in rows])
    assert {(vote.person, vote.value) for vote in found} == {("a", -1), ("b", 1)}
    assert fit([CastVote("b", "q", "y", 1, 2.0)]) is None
