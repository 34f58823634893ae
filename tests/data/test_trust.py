import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.data.crowd import CastVote
from homeroom.data.trust import TrustSettings, binomial_tail, cap_of, judge_votes

DAY = 86400.0
votes = st.lists(
    st.builds(
        CastVote,
        st.sampled_from("abcdef"),
        st.sampled_from(["q1", "q2"]),
        st.sampled_from([f"a{n}" for n in range(8)]),
        st.sampled_from([-1, 0, 1]),
        st.integers(0, 10**6).map(float),
        st.sampled_from(["m", "n"]),
    ),
    max_size=40,
    unique_by=lambda vote: (vote.person, vote.answer, vote.at),
)


@given(votes=votes, restored=st.sets(st.sampled_from("abcdef")), cap=st.integers(1, 5), seed=st.integers(0, 9))
def test_every_vote_has_a_weight_or_a_reason(votes, restored, cap, seed):
    settings = TrustSettings(votes_per_person=cap)
    trust = judge_votes(votes, settings, restored)
    assert len(trust.votes) == len(votes)
    for vote, judged in zip(votes, trust.votes, strict=True):
        assert 0 <= judged.weight <= 1
        assert judged.reason is None or judged.weight == 0
        if vote.person in restored:
            assert judged.weight == (judged.reason is None)
            assert judged.reason in (None, "replaced")
    for person in set("abcdef") - restored:
        kept = [v for v, one in zip(votes, trust.votes, strict=True) if v.person == person and one.reason is None]
        assert len(kept) <= cap
        assert len({vote.answer for vote in kept}) == len(kept)
    figures = trust.figures()
    assert json.loads(json.dumps(figures)) == figures
    assert figures["votes"] == len(votes) == sum(person.votes for person in trust.persons)
    assert sum(figures["set_aside"].values()) + sum(one.reason is None for one in trust.votes) == len(votes)
    order = np.random.default_rng(seed).permutation(len(votes))
    shuffled = judge_votes([votes[at] for at in order], settings, restored)
    for at, judged in zip(order, shuffled.votes, strict=True):
        assert judged.reason == trust.votes[at].reason
        assert judged.weight == pytest.approx(trust.votes[at].weight, abs=1e-3)


def test_a_brigade_is_set_aside_and_can_be_restored(crowds):
    rng = np.random.default_rng(0)
    crowd, truth = crowds.honest(rng, 30, 400)
    rows = crowd + crowds.brigade(rng, truth, 4, 150, "opposite")
    trust = judge_votes(rows)
    for vote, judged in zip(rows, trust.votes, strict=True):
        assert (judged.reason == "brigade") == vote.person.startswith("brigade")
    restored = judge_votes(rows, restored={"brigade 1"})
    back = {person.person: person for person in restored.persons}
    assert (back["brigade 1"].found, back["brigade 1"].restored) == (("brigade",), True)
    assert back["brigade 1"].counted == back["brigade 1"].votes > 0
    assert back["brigade 2"].counted == 0
    assert back["brigade 2"].agreement < 0.3
    assert restored.brigades == trust.brigades


def test_weights_follow_agreement_and_are_1_without_evidence(crowds):
    rng = np.random.default_rng(1)
    rows, truth = crowds.honest(rng, 12, 400, noise=(0.05, 0.1), one_thumb=0)
    liar = [crowds.cast("liar", at, -1 if truth[at] else 1, at * DAY) for at in range(60)]
    coin = [crowds.cast("coin", at, rng.choice([-1, 1]), at * DAY) for at in range(60)]
    alone = [crowds.cast("alone", 1000 + n, 1, n * DAY) for n in range(20)]
    new = [crowds.cast("new", 0, -1 if truth[0] else 1, 0.0)]
    trust = judge_votes(rows + liar + coin + alone + new)
    weights = {one.person: one.weight for one in trust.persons}
    assert weights["liar"] == 0
    assert {one.reason for one in trust.votes[len(rows) : len(rows) + 60]} == {"disagreement"}
    assert all((one.weight == 0) == (one.reason is not None) for one in trust.votes)
    assert judge_votes(rows + liar, restored={"liar"}).votes[-1].weight == 1
    assert weights["coin"] < 0.6
    assert weights["alone"] == 1
    assert weights["new"] > 0.7
    assert np.mean([weight for person, weight in weights.items() if person.startswith("person")]) > 0.9


def test_who_disagrees_with_a_brigade_weighs_no_less(crowds):
    rng = np.random.default_rng(2)
    crowd, truth = crowds.honest(rng, 30, 400)
    rows = crowd + crowds.brigade(rng, truth, 4, 150, "opposite")
    before = {one.person: one.weight for one in judge_votes(crowd).persons}
    after = {one.person: one.weight for one in judge_votes(rows).persons}
    assert after | before == pytest.approx(after, abs=1e-3)


def test_a_crowd_that_does_not_agree_says_nothing_of_anybody():
    rng = np.random.default_rng(3)
    rows = [
        CastVote(f"p{person}", "q", f"a{answer}", int(rng.choice([-1, 1])), answer * DAY)
        for person in range(6)
        for answer in range(40)
    ]
    found = [one.weight for one in judge_votes(rows).persons]
    assert np.mean(found) > 0.5


def test_turning_round_again_and_again_is_contradictory_and_a_change_of_mind_is_not(crowds):
    often = [crowds.cast("often", n, 1 if k % 2 else -1, DAY * (n + k / 10)) for n in range(5) for k in range(4)]
    once = [crowds.cast("once", n, 1, DAY * n) for n in range(20)] + [crowds.cast("once", 3, -1, 30 * DAY)]
    steady = [crowds.cast("steady", n, 1, DAY * (n + k / 10)) for n in range(5) for k in range(4)]
    rows = often + once + steady
    trust = judge_votes(rows)
    assert {one.person: one.found for one in trust.persons} == {"often": ("contradictory",), "once": (), "steady": ()}
    reasons = Counter((vote.person, judged.reason) for vote, judged in zip(rows, trust.votes, strict=True))
    assert reasons["once", "replaced"] == 1
    assert reasons["once", None] == 20
    assert (reasons["steady", None], reasons["steady", "replaced"]) == (5, 15)
    assert (reasons["often", "contradictory"], reasons["often", "replaced"]) == (5, 15)


def test_honest_people_who_err_do_not_contradict_themselves():
    rng = np.random.default_rng(4)
    accused = 0
    for _ in range(100):
        rows = [
            CastVote(f"p{person}", "q", f"a{answer}", 1 if rng.random() < 0.9 else -1, float(again))
            for person in range(10)
            for answer in range(10)
            for again in range(3)
        ]
        accused += any("contradictory" in one.found for one in judge_votes(rows).persons)
    assert accused <= 3


@given(counts=st.lists(st.integers(1, 300), min_size=1, max_size=30), share=st.floats(0.05, 0.5))
def test_the_cap_is_the_largest_that_keeps_its_share(counts, share):
    settings = TrustSettings(votes_per_person=200, share_per_person=share)
    allowed = max(share, min(1.0, 2 / len(counts)))
    fitting = [
        cap for cap in range(1, 201) if cap == 1 or cap <= allowed * sum(min(count, cap) for count in counts) + 1e-9
    ]
    assert min(cap_of(counts, settings), max(counts)) == min(max(fitting), max(counts))


def test_one_person_alone_may_teach_everything(crowds):
    rows = [crowds.cast("owner", n, 1 if n % 3 else -1, n * 60.0) for n in range(300)]
    assert all(one.weight == 1 for one in judge_votes(rows).votes)


def test_what_stays_below_a_cap_covers_as_many_questions_as_it_can():
    rows = [CastVote("a", f"q{n % 4}", f"a{n}", 1, 0.0 if n % 4 == 0 else float(n)) for n in range(40)]
    trust = judge_votes(rows, TrustSettings(votes_per_person=8))
    kept = [vote for vote, one in zip(rows, trust.votes, strict=True) if one.reason is None]
    assert Counter(vote.question for vote in kept) == {"q0": 2, "q1": 2, "q2": 2, "q3": 2}
    assert trust.figures()["set_aside"] == {"cap": 32}


def test_an_eager_person_counts_for_a_fifth():
    rows = [CastVote("eager", f"q{n}", f"e{n}", 1, float(n)) for n in range(500)]
    rows += [CastVote(f"p{n % 20}", f"q{n}", f"a{n}", 1, n * DAY) for n in range(200)]
    counted = {one.person: one.counted for one in judge_votes(rows).persons}
    assert counted["eager"] == 50
    assert sum(counted.values()) == 250


def test_no_votes_are_no_error():
    assert judge_votes([]).figures()["votes"] == 0


def test_a_vote_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"given \[5\]"):
        judge_votes([CastVote("a", "q", "x", 5, 0.0)])


def test_the_binomial_tail_on_literal_coins():
    assert [binomial_tail(3, 0.5, k) for k in range(5)] == pytest.approx([1, 7 / 8, 4 / 8, 1 / 8, 0])
    assert binomial_tail(2, 0.1, 1) == pytest.approx(0.19)
    assert [binomial_tail(3, p, k) for p in (0, 1) for k in (0, 1, 3, 4)] == [1, 0, 0, 0, 1, 1, 1, 0]


def test_the_binomial_tail_of_more_coins_than_a_float_has_combinations():
    assert binomial_tail(4001, 0.5, 2001) == pytest.approx(0.5)
    assert binomial_tail(4000, 0.05, 1) == pytest.approx(1)
    assert binomial_tail(4000, 0.05, 400) < 1e-30
