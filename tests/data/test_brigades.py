import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.data.brigades import (
    AGREEING,
    SHARES,
    BrigadeSettings,
    against_the_rest,
    bet,
    find_brigades,
    hypergeometric_tail,
    newcomers,
)
from homeroom.data.crowd import CastVote, fit

HOUR, DAY = 3600.0, 86400.0

SETTINGS = BrigadeSettings()


def found(votes, **settings):
    chosen = BrigadeSettings(**settings)
    regulars = {vote.person for vote in votes} - newcomers(votes, chosen).keys()
    return find_brigades(votes, fit(votes, first=frozenset(regulars)), chosen)


def members(votes):
    return {person for one in found(votes) for person in one.members}


@pytest.mark.parametrize(
    ("people", "votes", "per_answer", "days"),
    [(4, 60, 3, 7), (10, 100, 2, 7), (10, 200, 5, 0.05), (30, 400, 3, 7), (30, 400, 1.2, 7), (30, 400, 3, 0.05)],
)
def test_an_honest_crowd_is_left_alone(crowds, people, votes, per_answer, days):
    """Of any size, with hours or days between votes: at most 1 % are accused."""
    rng = np.random.default_rng(7)
    assert sum(bool(found(crowds.honest(rng, people, votes, per_answer, days)[0])) for _ in range(50)) == 0


@pytest.mark.parametrize(
    ("people", "votes", "accounts", "days"),
    [(20, 300, 3, 7), (20, 300, 8, 7), (40, 500, 5, 7), (40, 500, 5, 0.05), (40, 500, 10, 0.05), (40, 500, 20, 1)],
)
def test_a_brigade_of_three_votes_in_ten_is_found(crowds, people, votes, accounts, days):
    """Also where all the others voted within the same hour, so that time tells nothing."""
    rng = np.random.default_rng(5)
    caught, innocent = [], []
    for _ in range(40):
        crowd, truth = crowds.honest(rng, people, round(0.7 * votes), days=days)
        accused = members(crowd + crowds.brigade(rng, truth, accounts, round(0.3 * votes), "opposite", days))
        caught.append(sum(name.startswith("brigade") for name in accused))
        innocent.append(len(accused) - caught[-1])
    assert np.mean(np.array(caught) > 0) >= 0.95
    assert np.mean(caught) >= 0.8 * accounts
    assert np.mean(innocent) <= 1


@pytest.mark.parametrize("days", [7, 0.05])
def test_a_brigade_that_is_the_majority_where_it_went_is_found(crowds, days):
    """Five accounts on 30 of 93 answers, which hold three honest votes each."""
    rng = np.random.default_rng(6)
    hits = innocent = 0
    for _ in range(30):
        crowd, truth = crowds.honest(rng, 30, 280, days=days)
        accused = members(crowd + crowds.brigade(rng, truth, 5, 120, "opposite", days, targets=30))
        hits += len(caught := {name for name in accused if name.startswith("brigade")}) >= 4
        innocent += len(accused - caught)
    assert hits >= 29
    assert innocent <= 30


def test_a_crowd_as_sloppy_as_allowed_is_left_alone(crowds):
    """A third of all votes is wrong, and everybody came within the same hour."""
    rng = np.random.default_rng(12)
    for _ in range(20):
        assert not found(crowds.honest(rng, 60, 900, 6, 0.04, noise=(0.3, 0.35))[0])


def test_visitors_of_few_votes_are_no_brigade_because_regulars_cast_many():
    """Five votes are easily alike and fifty hardly ever: as many votes of everyone are compared."""
    rng = np.random.default_rng(13)
    accused = 0
    for _ in range(20):
        rows = [
            cast_alone(rng, f"{kind} {n}", k, at)
            for kind, most in (("regular", 50), ("visitor", 5))
            for n in range(30)
            for k in range(most)
            for at in [rng.uniform(0, HOUR) if kind == "visitor" else rng.uniform(0, 7 * DAY)]
        ]
        accused += bool(found(rows))
    assert accused == 0


def cast_alone(rng, person, number, at):
    """A vote on an answer that nobody else sees; four of five are up."""
    return CastVote(person, "q", f"{person}'s {number}", 1 if rng.random() < 0.8 else -1, at)


def test_many_accounts_with_one_direction_are_found_without_shared_answers(crowds):
    rng = np.random.default_rng(8)
    for _ in range(10):
        crowd, _ = crowds.honest(rng, 40, 600)
        aside = [
            crowds.cast(f"brigade {n}", 10_000 + 100 * n + k, -1, 3 * DAY + rng.uniform(0, HOUR))
            for n in range(10)
            for k in range(12)
        ]
        one, *_ = found(crowd + aside)
        assert one.sign == "one direction"
        assert {name for name in one.members if name.startswith("brigade")} == {f"brigade {n}" for n in range(10)}
        assert one.by_chance <= 0.01


def test_one_direction_about_one_model_is_found():
    """They like one model and dislike the other, and so cast as many ups as downs."""
    rng = np.random.default_rng(9)
    rows = [
        CastVote(f"person {n}", "q", f"{n}-{k}", 1 if rng.random() < 0.6 else -1, rng.uniform(0, 7 * DAY), "AB"[k % 2])
        for n in range(40)
        for k in range(20)
    ]
    rows += [
        CastVote(f"brigade {n}", "q", f"b{n}-{k}", 1 if k % 2 else -1, DAY + rng.uniform(0, HOUR), "AB"[k % 2])
        for n in range(8)
        for k in range(12)
    ]
    brigades = found(rows)
    assert {one.model for one in brigades} <= {"A", "B"}
    assert brigades[0].members == tuple(f"brigade {n}" for n in range(8))
    json.dumps([one.figures() for one in brigades])


def test_who_was_there_before_is_no_newcomer(crowds):
    early = [crowds.cast("regular", n, 1, n * DAY) for n in range(10)]
    visits = [crowds.cast("visitor", n, 1, 3 * DAY + n * 60) for n in range(8)] + [
        crowds.cast("visitor", n, 1, 0) for n in (8, 9)
    ]
    assert newcomers(early + visits, SETTINGS) == {"visitor": (3 * DAY, 3 * DAY + 7 * 60)}
    more = [*visits, crowds.cast("visitor", 10, 1, 9 * DAY)]
    assert newcomers(more, SETTINGS) == {}  # 3 of 11 votes at other times


def test_two_accounts_are_no_brigade(crowds):
    rng = np.random.default_rng(10)
    for _ in range(10):
        crowd, truth = crowds.honest(rng, 20, 210)
        assert not {
            n for n in members(crowd + crowds.brigade(rng, truth, 2, 90, "opposite")) if n.startswith("brigade")
        }


def test_on_average_a_bet_against_honest_people_gains_nothing():
    """Exact: over all votes that five people as wrong as allowed can cast on answers that everybody knows."""
    honest_at, people, n = 0.65, 5, 4
    chance = [math.comb(n, k) * honest_at**k * (1 - honest_at) ** (n - k) for k in range(n + 1)]
    gain = [
        [k * math.log(a / honest_at) + (n - k) * math.log((1 - a) / (1 - honest_at)) for a in AGREEING]
        for k in range(n + 1)
    ]
    expected = 0.0
    for world in np.ndindex(*[n + 1] * people):
        expected += math.prod(chance[k] for k in world) * math.exp(bet([gain[k] for k in world])[0])
    assert expected == pytest.approx(1, abs=1e-9)


@given(gains=st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=1, max_size=8))
def test_a_bet_is_the_mean_of_its_products(gains):
    products = [math.prod(1 - s + s * math.exp(g[number]) for g in gains) for s in SHARES for number in range(3)]
    brings, accused = bet(gains)
    assert math.exp(brings) == pytest.approx(sum(products) / len(products), rel=1e-6)
    assert set(accused) <= set(range(len(gains)))


def test_a_persons_gain_is_the_likelihood_ratio_of_their_votes(crowds):
    rng = np.random.default_rng(11)
    votes, _ = crowds.honest(rng, 6, 60)
    crowd = fit(votes)
    gains, others = against_the_rest(crowd, 0.65), crowd.others()
    for number, person in enumerate(crowd.names):
        literal = np.zeros(len(AGREEING))
        for good, up in zip(others[crowd.persons == number], crowd.ups[crowd.persons == number], strict=True):
            right = good if up else 1 - good
            literal += [
                math.log((right * a + (1 - right) * (1 - a)) / (right * 0.65 + (1 - right) * 0.35)) for a in AGREEING
            ]
        assert gains[person] == pytest.approx(literal) or gains[person] == [-math.inf] * 3


def test_fishers_tea():
    """The lady who got three of four cups right (Fisher 1935): 17 of 70."""
    assert hypergeometric_tail(4, 4, 8, 3) == pytest.approx(17 / 70)
    assert hypergeometric_tail(4, 4, 8, 0) == 1
