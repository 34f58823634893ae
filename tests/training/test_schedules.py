import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.training import schedules
from homeroom.training.schedules import warmup_stable_decay


def test_the_example_in_its_docstring_holds():
    assert doctest.testmod(schedules).failed == 0


def test_values():
    rates = [warmup_stable_decay(step, 10, warmup=4, decay=5, floor=0.2) for step in range(10)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 0.84, 0.68, 0.52, 0.36])


def test_without_warmup_and_decay_it_is_flat():
    assert {warmup_stable_decay(step, 7, warmup=0, decay=0) for step in range(7)} == {1.0}


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60), st.floats(0, 1))
def test_it_never_stands_still_at_zero_never_exceeds_one_and_rises_before_it_falls(total, warmup, decay, floor):
    rates = [warmup_stable_decay(step, total, warmup=warmup, decay=decay, floor=floor) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
