from hypothesis import given
from hypothesis import strategies as st

from homeroom.tasks.split import pick, share


@given(name=st.text(), salt=st.text())
def test_a_share_is_a_stable_number_below_one(name: str, salt: str) -> None:
    assert 0 <= share(name, salt) < 1
    assert share(name, salt) == share(name, salt)


def test_the_numbers_never_change() -> None:
    # Splits on people's disks depend on them.
    assert (share("a", "split"), share("画蛇添足", "x")) == (0.5559619236631027, 0.5960652314281184)


def test_shares_are_even_and_salts_are_independent() -> None:
    names = [str(number) for number in range(4_000)]
    below = [name for name in names if share(name, "one") < 0.25]
    assert 900 < len(below) < 1_100
    both = [name for name in below if share(name, "two") < 0.25]
    assert 180 < len(both) < 320


def test_pick_takes_every_option() -> None:
    assert {pick("abc", str(number), "salt") for number in range(50)} == {"a", "b", "c"}
