import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.evaluation.rater import RULE, grade, purity, reason, variety, votes

GOOD = "The idiom is pronounced huà shé tiān zú."
WORSE = [
    pytest.param("成语的意思是做了多余的事。", True, "other language", id="another language"),
    pytest.param("The idiom is pronounced huà shé", False, "does not end", id="cut off"),
    pytest.param("It is it is it is it is it is it is.", True, "repeats", id="repeats"),
    pytest.param("The 画 idiom 蛇 is pronounced huà shé.", True, "mixed languages", id="Chinese among English"),
    pytest.param("The idiom is pronounced \N{REPLACEMENT CHARACTER}.", True, "mixed languages", id="half a character"),
    pytest.param("The idiom is pronounced huà shé", True, "incomplete sentence", id="no full stop"),
    pytest.param("The big cat and the big cat and the big dog.", True, "repeated text", id="says things twice"),
    pytest.param("", True, "other language", id="says nothing"),
]


@pytest.mark.parametrize(("answer", "ended", "why"), WORSE)
def test_the_better_answer_gets_the_thumb_and_the_worse_one_its_reason(answer, ended, why):
    grades = [grade(answer, "en", ended), grade(GOOD, "en", True)]
    assert votes(grades) == [-1, 1]
    assert reason(grades[0], max(grades)) == why
    assert reason(grades[1], max(grades)) == "good"


def test_what_stood_in_the_question_is_no_foreign_word():
    assert purity("画蛇添足 is pronounced huà shé tiān zú.", "en", "How is 画蛇添足 pronounced?") == 1
    assert purity("画蛇 is pronounced.", "en") == 0.5
    assert purity("json 的意思", "zh") == 0.75
    assert purity("", "zh") == 1


def test_the_rater_knows_the_right_answer():
    key = "The idiom is pronounced huà shé tiān zú."
    grades = [grade(text, "en", True, key=key) for text in ("The idiom is pronounced mǎ mǎ hū hū.", GOOD, "No idea.")]
    assert votes(grades) == [-1, 1, -1]
    assert [reason(one, max(grades)) for one in grades] == ["less right", "good", "less right"]
    assert votes([grade(key, "en", False, key=key), grade("No idea.", "en", True, key=key)]) == [-1, 1]  # manners first


def test_what_comes_first_in_the_rule_outweighs_all_that_follows():
    other_language = grade("画蛇添足的意思是多此一举。", "en", True)
    cut_off_loop = grade("The end the end the end the end the", "en", False)
    assert votes([other_language, cut_off_loop]) == [-1, 1]


def test_equals_share_their_thumb():
    good, bad = grade(GOOD, "en", True), grade("不知道。", "en", True)
    assert votes([good, good]) == [1, 1]
    assert votes([bad, bad]) == [-1, -1]
    assert votes([good, good, bad]) == [1, 1, -1]


def test_a_lone_answer_is_judged_by_the_rule_alone():
    assert votes([grade(GOOD, "en", True)]) == [1]
    assert votes([grade(GOOD, "en", False)]) == [-1]


def test_the_rule_is_said_in_words():
    for word in ("language", "ends by itself", "not repeat", "right answer"):
        assert word in RULE


def test_variety_counts_characters_of_chinese_and_words_of_english():
    assert variety("画蛇添足") == 1
    assert variety("哈哈哈哈哈哈") == 1 / 4
    assert variety("one two three one two three") == 3 / 4
    assert variety("") == variety("word") == 1


@given(st.lists(st.tuples(st.text(max_size=40), st.booleans()), min_size=1, max_size=5), st.sampled_from(["zh", "en"]))
def test_some_answer_is_never_worse_than_another_with_a_better_thumb(answers, language):
    grades = [grade(text, language, ended) for text, ended in answers]
    thumbs = votes(grades)
    ups = [one for one, thumb in zip(grades, thumbs, strict=True) if thumb > 0]
    downs = [one for one, thumb in zip(grades, thumbs, strict=True) if thumb < 0]
    assert all(up > down for up in ups for down in downs)
