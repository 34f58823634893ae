import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from homeroom.evaluation.annotators import (
    RankedList,
    Rating,
    agreement_by_person,
    alpha,
    ranking_agreement_by_person,
    ranking_alpha,
)
from homeroom.evaluation.comparison import proportion_interval

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: four observers, twelve units.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
tables = st.integers(1, 12).flatmap(
    lambda items: st.lists(
        st.lists(st.none() | st.integers(0, 4), min_size=items, max_size=items), min_size=2, max_size=6
    )
)


def ratings(table):
    return [
        Rating(f"p{person}", f"i{item}", value)
        for person, row in enumerate(table)
        for item, value in enumerate(row)
        if value is not None
    ]


def reference(table, level):
    data = [[np.nan if value is None else value for value in row] for row in table]
    return krippendorff.alpha(reliability_data=data, level_of_measurement=level)


@pytest.mark.parametrize(("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_the_published_example(level, expected):
    found = alpha(ratings(PUBLISHED), level)
    assert found.alpha == pytest.approx(expected, abs=5e-4)
    assert found.low < found.alpha < found.high
    assert (found.items, found.persons) == (11, 4)  # nobody but one rated the last


@given(table=tables, level=st.sampled_from(["nominal", "ordinal"]))
def test_alpha_equals_the_public_implementation(table, level):
    found = alpha(ratings(table), level, resamples=10)
    columns = [[value for value in column if value is not None] for column in zip(*table, strict=True)]
    pairable = {value for column in columns if len(column) > 1 for value in column}
    assert (found.alpha is None) == (len(pairable) < 2)
    assume(len(pairable) > 1)
    assert found.alpha == pytest.approx(reference(table, level), abs=1e-9)
    assert found.low <= found.alpha <= found.high <= 1


rankings = st.lists(
    st.builds(
        RankedList,
        st.sampled_from("abcd"),
        st.sampled_from(["q1", "q2", "q3"]),
        st.dictionaries(st.sampled_from("uvwxyz"), st.integers(1, 3), min_size=1, max_size=5),
    ),
    max_size=12,
)


@given(rankings=rankings)
def test_alpha_of_rankings_is_that_of_their_pairs_in_both_orders(rankings):
    last = {(one.person, one.question): one.ranks for one in rankings}
    pairs = [(q, x, y) for q in ("q1", "q2", "q3") for x in "uvwxyz" for y in "uvwxyz" if x != y]
    table = [
        [np.sign(last[p, q][y] - last[p, q][x]) if {x, y} <= last.get((p, q), {}).keys() else None for q, x, y in pairs]
        for p in "abcd"
    ]
    found = ranking_alpha(rankings, resamples=10)
    if found.alpha is not None:
        assert found.alpha == pytest.approx(reference(table, "ordinal"), abs=1e-9)


@given(rankings=rankings)
def test_names_of_answers_do_not_matter(rankings):
    names = dict(zip("uvwxyz", "zyxwvu", strict=True))
    renamed = [RankedList(r.person, r.question, {names[a]: rank for a, rank in r.ranks.items()}) for r in rankings]
    assert ranking_alpha(renamed, resamples=10).alpha == pytest.approx(ranking_alpha(rankings, resamples=10).alpha)
    assert ranking_agreement_by_person(renamed) == ranking_agreement_by_person(rankings)


def test_the_interval_holds_what_more_items_would_show():
    """Nearly: a percentile bootstrap of 60 items holds 92 of 100, of 150 items 94."""
    rng = np.random.default_rng(0)

    def crowd(items):
        truth = rng.integers(1, 6, size=items)
        return np.clip(truth + rng.integers(-1, 2, size=(4, items)), 1, 5).tolist()

    truth = alpha(ratings(crowd(4000)), resamples=1).alpha
    found = [alpha(ratings(crowd(60)), seed=seed, resamples=300) for seed in range(100)]
    assert 85 <= sum(one.low <= truth <= one.high for one in found) <= 99


def test_agreement_with_others_on_shared_items():
    """b is alone with item 3; a agrees with one of two on item 1, and with b on 2."""
    said = [("a", "1", 1), ("b", "1", 1), ("c", "1", 5), ("a", "2", 4), ("a", "2", 2), ("b", "2", 2), ("b", "3", 3)]
    found = agreement_by_person([Rating(*row) for row in said])
    assert found == {
        "a": proportion_interval(1.5, 2),
        "b": proportion_interval(1.5, 2),
        "c": proportion_interval(0, 1),
    }
    assert agreement_by_person([Rating(*row) for row in said], within=4)["c"].mean == 1
    assert agreement_by_person([Rating("a", "1", 1), Rating("b", "2", 1)]) == {}


def test_agreement_on_rankings_counts_pairs_that_both_ordered():
    lists = [
        RankedList("a", "q", {"x": 1, "y": 2, "z": 3}),
        RankedList("b", "q", {"x": 1, "z": 2, "y": 2}),
        RankedList("c", "q", {"w": 1, "x": 2}),
    ]
    assert ranking_agreement_by_person(lists) == {
        "a": proportion_interval(2 / 3, 1),
        "b": proportion_interval(2 / 3, 1),
    }


def test_wilson_holds_for_outcomes_between_yes_and_no():
    rng = np.random.default_rng(1)
    found = [
        proportion_interval(float(rng.choice([0, 0.5, 1], p=[0.2, 0.2, 0.6], size=40).sum()), 40) for _ in range(500)
    ]
    assert sum(one.low <= 0.7 <= one.high for one in found) / 500 >= 0.95
