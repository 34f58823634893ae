"""Looks before the end: they may find by luck what is not there as rarely as one look at the end."""

from statistics import NormalDist

import numpy as np
import pytest

from homeroom.evaluation.gate import Bar, early, gate
from homeroom.evaluation.looks import STEPS, Look, chance_at, looks
from tests.evaluation.test_gate import N, better, measured

QUESTIONS = 400


def ahead(bounds, trials=200_000):
    """How often one of two equals is further ahead at any of the last looks than its bound."""
    steps = np.random.default_rng(0).normal(size=(trials, STEPS)).cumsum(1) / np.sqrt(np.arange(1, STEPS + 1))
    return (steps[:, -len(bounds) :] > np.array(bounds)).any(1).mean()


def standard_errors(look):
    return NormalDist().inv_cdf(1 - look.by_chance)


def test_looking_three_times_is_wrong_as_rarely_as_looking_once():
    every = looks(QUESTIONS, least=1)
    assert [look.answered for look in every] == [200, 300, 400]
    wrong = ahead([standard_errors(look) for look in every])
    assert 0.022 < wrong < 0.026
    naive = ahead([NormalDist().inv_cdf(0.975)] * 3)
    assert naive > 0.035


def test_nothing_is_decided_before_the_least_number():
    assert [look.answered for look in looks(100, least=60)] == [75, 100]
    assert looks(40, least=40) == [Look(40, 40)]
    assert looks(30, least=200) == [Look(30, 30)]


def test_one_look_needs_what_it_always_needed():
    assert chance_at(100, None) == 0.025
    assert chance_at(100, 100) < 0.025
    assert chance_at(50, 100) == pytest.approx(0.0021, abs=1e-4)


def halfway(candidate):
    return candidate.model_copy(update={"answers": candidate.answers[: N // 2], "planned": N})


@pytest.mark.parametrize(("share", "ends"), [(0.9, True), (0.1, True), (0.56, False), (0.5, False)])
def test_it_ends_where_the_winner_is_clear_and_goes_on_where_not(share, ends):
    champion = measured("champion", np.zeros(N))
    candidate = halfway(measured("c", better(share)))
    end = early(champion, Bar(questions=100))
    assert (end.least, end.decided(candidate)) == (100, ends)
    verdict = gate(candidate, champion, Bar(questions=100))
    assert verdict.accepted == (share == 0.9)
    assert verdict.lines[0].measured == "150 of 300, which decided it"


def test_who_wins_clearly_but_is_ruder_so_far_is_asked_on():
    champion, clear = measured("champion", np.zeros(N), rude={0}), better(0.9)
    end = early(champion, Bar(questions=100))
    assert end.decided(halfway(measured("c", clear, rude={5, 250, 260})))
    assert not end.decided(halfway(measured("c", clear, rude={5, 6})))
    assert end.decided(halfway(measured("c", -clear, rude={5, 6})))  # who loses, loses


def test_an_early_interval_is_wider_than_the_same_answers_would_have_at_the_end():
    champion, whole = measured("champion", np.zeros(N)), measured("c", better(0.6))
    half = halfway(whole)
    alone = half.model_copy(update={"planned": None})
    wide, narrow = (gate(one, champion, Bar(questions=1)).win_rate for one in (half, alone))
    assert wide.mean == narrow.mean
    assert wide.low < narrow.low < narrow.high < wide.high
    # 2.86 standard errors to either side instead of 1.96
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(2.86 / 1.96, rel=0.1)
