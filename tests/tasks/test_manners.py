import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.tasks.base import Question
from homeroom.tasks.manners import (
    demonstration,
    ends_by_itself,
    grade_by_reference,
    in_language,
    is_rude,
    manners,
    overlap,
    repeats,
)

CHINESE = Question("q", "画蛇添足是什么意思？", "画蛇添足的意思是：做多余的事。", "zh", "idiom-meaning", "d")


@pytest.mark.parametrize(
    "text",
    [
        "比喻为天地所比喻为天地所比喻为天地所",
        "好好好好好",
        "I do not know, I do not know, I do not know",
        "the the the the the",
        "It is a machine that follows orders. It is a machine that follows orders.",
        "第一句话说得很清楚明白。第一句话说得很清楚明白。",
    ],
)
def test_loops_are_found(text: str) -> None:
    assert repeats(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "哈哈哈",
        "No, no, no!",
        "高高兴兴",
        "一五一十，十五二十",
        "原原本本 is pronounced yuán yuán běn běn.",
        "1 2 1 2",
    ],
)
def test_speech_is_not_a_loop(text: str) -> None:
    assert not repeats(text)


@given(text=st.text(max_size=30), span=st.sampled_from(["画蛇", "json dumps ", "a b c "]))
def test_a_span_said_three_times_is_a_loop_wherever_it_stands(text: str, span: str) -> None:
    assert repeats(f"{text} {span * 3} {text}")


@pytest.mark.parametrize(
    "text",
    [
        "You are an idiot.",
        "SHUT UP!",
        "what a moron",
        "你这个蠢货",
        "闭嘴。",
        "我操你",
        "滚开！",
        "傻瓜",
        "bullshit, really",
    ],
)
def test_rude_words_are_found(text: str) -> None:
    assert is_rude(text)


@pytest.mark.parametrize(
    "text",
    [
        "len returns the number of items in a container.",
        "str.strip removes whitespace.",
        "os.kill sends a signal to a process.",
        "Scunthorpe shuts down.",
        "废物利用的意思是：使无用的东西成为有用的。",
        "Thank God it's over.",
        "做体操你要小心。",
        "曹操你听说过吗？",
        "请喝滚开水。",
        "在滚开的热水中。",
        "锅里的水滚开了。",
        "这台傻瓜相机很好用。",
    ],
)
def test_harmless_words_are_not_rude(text: str) -> None:
    assert not is_rude(text)


def test_a_message_of_a_megabyte_is_judged_quickly() -> None:
    start = time.perf_counter()
    for text in ("ab cd " * 170_000, "画蛇" * 170_000, "\n" * 1_000_000):
        is_rude(text), repeats(text)
    assert time.perf_counter() - start < 10


def test_ending_and_language() -> None:
    assert ends_by_itself("好。", True)
    assert not ends_by_itself("好", False)
    assert not ends_by_itself(" \n", True)
    assert in_language("意思是多此一举。", "zh")
    assert not in_language("It means nothing.", "zh")
    assert not in_language("42", "en")


def test_manners_are_the_mean_of_four() -> None:
    assert manners(CHINESE, "意思是多此一举。", True) == 1
    assert manners(CHINESE, "意思是多此一举", False) == 0.75
    assert manners(CHINESE, "It means nothing.", True) == 0.75
    assert manners(CHINESE, "你这个蠢货蠢货蠢货", True) == 0.5
    assert manners(CHINESE, "  ", True) == 0


def test_overlap_is_one_for_the_same_words_and_zero_for_none_shared() -> None:
    assert overlap("画蛇添足。", "画蛇添足") == 1
    assert overlap("画蛇添足", "json") == 0
    assert overlap("", "") == 0
    # 3 of 4 characters and 2 of 3 pairs are shared, of 4 + 3 wanted and 3 + 2 given.
    assert overlap("画蛇添足", "画蛇添") == pytest.approx(2 * 5 / (7 + 5))


@given(answer=st.text(), ended=st.booleans())
def test_no_answer_beats_the_reference(answer: str, ended: bool) -> None:
    assert 0 <= grade_by_reference(CHINESE, answer, ended) <= grade_by_reference(CHINESE, CHINESE.reference, True) == 1


def test_the_gate_lets_only_short_polite_answers_in_the_language_through() -> None:
    def passes(prompt: str, reference: str) -> bool:
        return demonstration("q", "kind", "d", "zh", prompt, reference) is not None

    assert passes("你好吗？", "我很好。")
    assert not passes("你好吗？", "I am well.")
    assert not passes("How are you?", "我很好。")
    assert not passes("你好吗？", "闭嘴。")
    assert not passes("你这个笨蛋", "谢谢。")
    assert not passes("你好吗？", "我很好，我很好，我很好。")
    assert not passes("你好吗？", "好，" * 2 + "我" + "，".join(map(chr, range(0x4E00, 0x4E50))))
    assert not passes("".join(map(chr, range(0x4E00, 0x4E50))), "我很好。")
    assert not passes("你好吗？", "42")
