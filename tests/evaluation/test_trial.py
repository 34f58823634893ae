import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from homeroom.evaluation.trial import BlindVote, TrialSettings, count

votes = st.lists(
    st.builds(
        BlindVote,
        person=st.sampled_from("abcd"),
        question=st.integers(0, 60).map(str),
        outcome=st.sampled_from([0.0, 0.5, 1.0, 1.0]),
    ),
    max_size=150,
)
settings = st.builds(
    TrialSettings,
    maximum=st.integers(20, 100),
    votes_per_person=st.one_of(st.none(), st.integers(1, 11)),
    votes_per_question=st.integers(1, 2),
)


@given(cast=votes, rules=settings)
def test_every_vote_is_counted_or_set_aside_and_nobody_counts_more_than_allowed(cast, rules):
    counted = count(cast, rules)
    test = counted.test
    taken = len(cast) - counted.repeated - counted.beyond
    on_one = rules.votes_per_question
    assert taken <= min(rules.votes_per_person or len(cast), len(cast)) * len({vote.person for vote in cast})
    assert test.n <= len({vote.question for vote in cast})
    if on_one == 1:
        assert test.n + test.late == taken
    assert counted.people <= len({vote.person for vote in cast})


@given(cast=votes, rules=settings, at=st.integers(0, 150))
def test_later_votes_never_change_a_verdict(cast, rules, at):
    """So that counting anew after a kill, with what came meanwhile, decides the same."""
    before, after = count(cast[:at], rules).test, count(cast, rules).test
    if before.verdict != "open":
        assert (after.verdict, after.interval) == (before.verdict, before.interval)


@given(outcomes=st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=300), limit=st.integers(1, 11))
def test_nobody_decides_alone(outcomes, limit):
    cast = [BlindVote("ann", str(at), outcome) for at, outcome in enumerate(outcomes)]
    assert count(cast, TrialSettings(votes_per_person=limit)).test.verdict == "open"


def crowd(outcome, people=4, each=10):
    return [BlindVote(f"p{person}", f"{person} {vote}", outcome) for person in range(people) for vote in range(each)]


def test_several_people_decide_and_one_may_where_that_is_meant():
    assert count(crowd(1.0), TrialSettings()).test.verdict == "better"
    assert count(crowd(0.0), TrialSettings()).test.verdict == "worse"
    assert count(crowd(0.5), TrialSettings(maximum=40)).test.verdict == "no better"
    assert count(crowd(1.0, 1, 20), TrialSettings(votes_per_person=None)).test.verdict == "better"


def test_a_question_asked_again_and_again_counts_once():
    same = [BlindVote(f"p{number}", "hi", 1.0) for number in range(50)]
    counted = count(same, TrialSettings())
    assert (counted.test.n, counted.repeated) == (1, 49)
    counted = count([*same[:1], *same], TrialSettings(votes_per_question=3))
    assert (counted.test.n, counted.repeated, counted.people) == (1, 48, 3)


@pytest.mark.parametrize("given_", [{"votes_per_person": 12}, {"maximum": 9}, {"confidence": 0.5}])
def test_settings_that_let_one_person_decide_are_refused(given_):
    with pytest.raises(ValidationError, match="would let one person decide"):
        TrialSettings(**given_)
    assert TrialSettings(**{**given_, "votes_per_person": None})
