import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.tasks.base import Question, sample
from homeroom.tasks.dialogues import Dialogues
from homeroom.tasks.functions import Functions
from homeroom.tasks.idioms import Idioms
from homeroom.tasks.manners import in_language, is_rude, manners, repeats
from homeroom.tasks.rankings import (
    TIERS,
    OtherAnswers,
    OwnAnswer,
    build_ranking,
    repetitive,
    rude,
    truncated,
)


@pytest.fixture(scope="module")
def pool(real_idioms: Any, real_functions: Any, real_dialogues: Any) -> list[Question]:
    tasks = Idioms(real_idioms[:500]), Functions(real_functions[:500]), Dialogues(real_dialogues)
    return sample([question for task in tasks for question in task.questions], 1_000, "test")


@pytest.fixture(scope="module")
def others(pool: list[Question]) -> OtherAnswers:
    return OtherAnswers(pool)


def ask(others: OtherAnswers, question: Question, *own: OwnAnswer, answers: int = 6, seed: int = 0) -> Any:
    return build_ranking(question, others, own, random.Random(seed), answers)


def test_each_answer_has_its_fault_and_no_other(pool: list[Question], others: OtherAnswers) -> None:
    references: dict[str, set[str]] = {}
    for question in pool:
        references.setdefault(question.kind, set()).add(question.reference)
    for seed, question in enumerate(pool):
        for answer in ask(others, question, seed=seed).answers:
            polite, in_its_language = not is_rude(answer.text), in_language(answer.text, question.language)
            assert (answer.kind == "rude") == (not polite)
            assert (answer.kind == "repetitive") == repeats(answer.text)
            if answer.kind == "other language":
                assert not in_its_language
                assert manners(question, answer.text, answer.ended) == 0.75
            if answer.kind == "another question's":
                assert answer.text in references[question.kind] - {question.reference}
                assert manners(question, answer.text, answer.ended) == 1
            if answer.kind == "truncated":
                assert question.reference.startswith(answer.text)
                assert answer.text[-1] not in "。.！？!?"


def test_the_right_answer_is_first_and_alone_in_its_tier(pool: list[Question], others: OtherAnswers) -> None:
    for question in pool:
        first, *worse = ask(others, question).answers
        assert (first.text, first.tier, first.kind, first.ended) == (question.reference, 0, "right", True)
        assert all(before.tier <= after.tier for before, after in pairwise(worse))
        assert all(answer.tier > 0 and answer.text != question.reference for answer in worse)


def test_rankings_have_the_size_asked_for_and_all_kinds_come_up(pool: list[Question], others: OtherAnswers) -> None:
    for size in (4, 6, 8):
        sizes = Counter(len(ask(others, question, answers=size).answers) for question in pool)
        assert sizes[size] > 0.95 * len(pool)
    found = [
        answer for seed, question in enumerate(pool) for answer in ask(others, question, answers=4, seed=seed).answers
    ]
    kinds = Counter(answer.kind for answer in found)
    assert set(kinds) == set(TIERS) - {"own"}
    assert min(kinds.values()) > 0.4 * len(pool)
    broken = [answer.ended for answer in found if answer.kind in ("truncated", "repetitive")]
    assert 0.4 < sum(broken) / len(broken) < 0.6


def test_a_ranking_is_the_same_for_the_same_seed(pool: list[Question], others: OtherAnswers) -> None:
    assert ask(others, pool[0], seed=3) == ask(others, pool[0], seed=3)
    assert len({str(ask(others, pool[0], seed=seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize(
    ("text", "ended", "tier"),
    [
        ("画蛇添足的意思是别的。", True, "own"),
        ("画蛇添足的意思是", False, "truncated"),
        ("画蛇添足添足添足添足", True, "repetitive"),
        ("It means nothing.", True, "other language"),
        ("你真是个笨蛋。", True, "rude"),
    ],
)
def test_the_models_own_answer_stands_with_its_fault(others: OtherAnswers, text: str, ended: bool, tier: str) -> None:
    question = Question("q", "画蛇添足是什么意思？", "画蛇添足的意思是：做多余的事。", "zh", "idiom-meaning", "d")
    for seed in range(10):
        answers = ask(others, question, OwnAnswer(text, ended, [1, 2]), answers=4, seed=seed).answers
        (own,) = (answer for answer in answers if answer.kind == "own")
        assert (own.text, own.ended, own.tier, own.token_ids) == (text, ended, TIERS[tier], [1, 2])
        assert all(answer.token_ids is None for answer in answers if answer is not own)


def test_own_answers_leave_the_size_as_it_was_asked_for(pool: list[Question], others: OtherAnswers) -> None:
    own = [OwnAnswer(f"{number} is a number.", True, [number]) for number in range(10)]
    kinds = [answer.kind for answer in ask(others, pool[0], *own, answers=5).answers]
    assert (kinds[0], len(kinds), kinds.count("own")) == ("right", 5, 4)


def test_of_its_own_answers_the_nearer_to_the_right_one_stands_higher(others: OtherAnswers) -> None:
    question = Question("q", "How do you say 画蛇添足?", "画蛇添足 is pronounced huà shé tiān zú.", "en", "k", "d")
    far, near, like_near = (
        "画蛇 is pronounced mǎ.",
        "画蛇添足 is pronounced huà shé tiān zǔ.",
        "画蛇添足 is pronounced huà shé tiān zu.",
    )
    rude_one = "画蛇添足 is pronounced huà shé tiān zú. You are an idiot."
    own = [OwnAnswer(text, True, [n]) for n, text in enumerate((far, rude_one, near, like_near))]
    answers = {answer.text: answer for answer in ask(others, question, *own, answers=7).answers}
    assert answers[near].tier == answers[like_near].tier == TIERS["own"] < answers[far].tier == TIERS["own"] + 1
    assert answers[rude_one].tier == TIERS["rude"]
    assert [answers[text].token_ids for text in (far, near)] == [[0], [2]]
    assert all(answers[far].tier < answer.tier for answer in answers.values() if answer.kind == "another question's")


def test_an_own_answer_that_is_right_or_empty_is_not_ranked_below(pool: list[Question], others: OtherAnswers) -> None:
    for text in (pool[0].reference, " "):
        assert "own" not in [answer.kind for answer in ask(others, pool[0], OwnAnswer(text, True, [1, 2])).answers]


def test_another_answer_to_the_same_question_is_not_wrong() -> None:
    def answer(prompt: str, reference: str) -> Question:
        return Question(f"{prompt} {reference}", prompt, reference, "en", "dialogue", reference)

    asked = answer("How is it going?", "Good.")
    pool = OtherAnswers(
        [asked, answer("How is it going?", "Fine."), answer("How are you?", "Good."), answer("Hello", "Hi.")]
    )
    found = {pool.another(asked, random.Random(seed)) for seed in range(50)}
    assert found - {None} == {"Hi."}


def test_without_others_a_ranking_is_shorter(pool: list[Question]) -> None:
    question = next(question for question in pool if question.kind == "idiom-meaning")
    kinds = [answer.kind for answer in ask(OtherAnswers([question]), question).answers]
    assert sorted(kinds) == ["repetitive", "right", "rude", "truncated"]
    with pytest.raises(ValueError, match="needs at least 4"):
        ask(OtherAnswers([]), question, answers=3)


@given(text=st.text(min_size=1), seed=st.integers())
def test_any_answer_can_be_spoilt_or_is_left_alone(text: str, seed: int) -> None:
    rng = random.Random(seed)
    cut = truncated(text, rng)
    assert cut is None or (text.startswith(cut) and len(cut) < len(text))
    looped = repetitive(text, rng)
    assert looped is None or repeats(looped)
    assert is_rude(rude(Question("q", "p", text, "zh", "k", "d"), rng))
