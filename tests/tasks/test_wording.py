import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from homeroom.tasks.wording import HAN, plain, simplified


@pytest.mark.parametrize(
    ("traditional", "same"),
    [
        ("你覺得這個乾淨嗎？", "你觉得这个干净吗？"),
        ("畫蛇添足", "画蛇添足"),
        ("Python 函數", "Python 函数"),
        ("tea", "tea"),
    ],
)
def test_both_scripts_read_alike(traditional: str, same: str) -> None:
    assert simplified(traditional) == simplified(same) == same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ｗｈａｔ is  tea ?", "what is tea", True),
        ("「畫蛇添足」是什麼意思？", "“画蛇添足”是什么意思", True),
        ("画蛇添足是什么意思？", "守株待兔是什么意思？", False),
        ("What is tea?", "What is rain?", False),
    ],
)
def test_typography_and_script_tell_nothing_apart(one: str, other: str, same: bool) -> None:
    assert (plain(one) == plain(other)) is same


@given(st.text(alphabet=st.characters(categories=("L", "P", "Z")), max_size=40))
@example("薴")
def test_what_is_plain_stays_so(text: str) -> None:
    assert simplified(simplified(text)) == simplified(text)
    assert len(simplified(text)) == len(text)


def test_every_block_of_han_characters_is_known() -> None:
    assert all(map(HAN.fullmatch, "㐀一鿿豈𠀀𰀀"))
    assert not any(map(HAN.fullmatch, "aあ가。"))
