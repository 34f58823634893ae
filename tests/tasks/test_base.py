from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.tasks.base import Question, language_of, sample, units, unseen


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("画蛇添足是什么意思？", "zh"),
        ("什么是ai", "zh"),
        ("我是用Python编写的。", "zh"),
        ("《庄子·秋水》", "zh"),
        ("什麼是聊天機器人", "zh"),
        ("How is the idiom 画蛇添足 pronounced?", "en"),
        ("画蛇添足 is pronounced huà shé tiān zú.", "en"),
        ("json.dumps takes obj.", "en"),
        ("画蛇添足 has four characters.", "en"),
        ("Ünïcode", "en"),
        ("1963", None),
        ("🙂 … !?", None),
        ("", None),
        ("Привет", None),
    ],
)
def test_the_language_is_read_off_the_script(text: str, language: str | None) -> None:
    assert language_of(text) == language


def test_whoever_expects_no_quotation_counts_fewer_characters_to_a_word() -> None:
    text = "香药脆梅：果脯名（xiāng yào cuì méi）"
    assert (language_of(text), language_of(text, han_per_word=1.6)) == ("en", "zh")


def test_units_are_han_characters_and_words() -> None:
    assert units("用Python写json.dumps, 好 Tiān zú！") == ["用", "python", "写", "json", "dumps", "好", "tiān", "zú"]


@given(text=st.text())
def test_any_text_has_units_and_a_language(text: str) -> None:
    assert all(units(text))
    assert language_of(text) in ("zh", "en", None)


def questions(**counts: int) -> list[Question]:
    return [
        Question(f"{kind}{number}", f"{kind} {number}?", "a.", "en", kind, f"document {number}")
        for kind, count in counts.items()
        for number in range(count)
    ]


def kinds(chosen: list[Question]) -> Counter[str]:
    return Counter(question.kind for question in chosen)


def test_a_sample_is_spread_over_kinds_and_scarce_kinds_give_their_part_to_others() -> None:
    assert kinds(sample(questions(a=100, b=100, c=4), 34, "salt")) == {"a": 15, "b": 15, "c": 4}
    assert kinds(sample(questions(a=100, b=100), 40, "salt", {"a": 3, "b": 1})) == {"a": 30, "b": 10}
    assert kinds(sample(questions(a=100, b=100), 40, "salt", {"a": 1})) == {"a": 40}
    assert kinds(sample(questions(a=3, b=2), 40, "salt")) == {"a": 3, "b": 2}
    assert sample([], 10, "salt") == []


def test_a_sample_depends_on_the_salt_and_not_on_the_order() -> None:
    pool = questions(a=50, b=50)
    assert sample(pool[::-1], 20, "one") == sample(pool, 20, "one")
    assert sample(pool, 20, "two") != sample(pool, 20, "one")


def test_unseen_drops_what_was_asked_in_the_same_words() -> None:
    first, second, third = questions(a=3)
    again = Question("other", first.prompt, "b.", "en", "a", "another document")
    assert unseen([again, second, third], [first, second]) == [third]
