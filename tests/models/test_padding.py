"""Sequences side by side in few rows: each whole, in one place, and told apart."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from homeroom.models.padding import Packing

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=40)


def test_the_longest_first_into_the_first_row_with_room():
    packing = Packing.tight([2, 5, 3, 4])
    assert packing.bins == [[1], [3], [2, 0]]
    assert packing.fill([[7, 7], [1, 2, 3, 4, 5], [8, 8, 9], [6, 6, 6, 6]]).tolist() == [
        [1, 2, 3, 4, 5],
        [6, 6, 6, 6, 0],
        [8, 8, 9, 7, 7],
    ]
    assert packing.document_BT.tolist() == [[2] * 5, [4, 4, 4, 4, 0], [3, 3, 3, 1, 1]]
    assert packing.last_S.tolist() == [14, 4, 12, 8]


@given(LENGTHS)
def test_every_sequence_is_whole_and_in_one_place(lengths):
    packing = Packing.tight(lengths)
    assert packing.width == max(lengths)
    document = packing.document_BT.flatten()
    for number, length in enumerate(lengths, start=1):
        (places,) = (document == number).nonzero(as_tuple=True)
        assert places.tolist() == list(range(int(places[0]), int(places[0]) + length))
        assert int(places[0]) // packing.width == int(places[-1]) // packing.width  # one row
        assert int(packing.last_S[number - 1]) == int(places[-1])
    assert int((document > 0).sum()) == sum(lengths)


@given(LENGTHS)
def test_no_two_rows_would_fit_into_one(lengths):
    """What first fit promises; else there would be more rows than need be."""
    filled = [sum(lengths[number] for number in members) for members in Packing.tight(lengths).bins]
    smallest = torch.tensor(filled).sort().values[:2]
    assert len(filled) == 1 or int(smallest.sum()) > max(lengths)
