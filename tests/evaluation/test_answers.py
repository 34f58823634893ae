import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeroom.evaluation.answers import Answer, answerable, generate_answers
from homeroom.evaluation.judging import judge_answers, judge_scores
from homeroom.inference.request import Sampling
from homeroom.models.heads import RewardModel
from homeroom.tasks.base import Question
from homeroom.text.chat_template import prompt_ids
from homeroom.text.tokenizer import Tokenizer

ASKED = [
    Question(f"q{i}", prompt, reference, language, "idiom-meaning", f"d{i}")
    for i, (prompt, reference, language) in enumerate(
        [
            ("画蛇添足是什么意思？", "比喻做了多余的事。", "zh"),
            ("How are you today?", "I am fine.", "en"),
            ("守株待兔出自哪里？", "出自《韩非子》。", "zh"),
            ("What does dumps do?", "It serializes obj.", "en"),
        ]
    )
]
SAMPLING = Sampling(temperature=0.7, max_tokens=12)


@pytest.fixture
def judge(model):
    return RewardModel(copy.deepcopy(model)).eval()


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(order=st.permutations(ASKED), count=st.integers(1, 4), slots=st.integers(1, 5))
def test_an_answer_depends_on_its_question_and_the_seed_alone(model, tokenizer, order, count, slots):
    alone = {q.id: generate_answers(model, tokenizer, [q], SAMPLING, 3)[0] for q in ASKED}
    together = generate_answers(model, tokenizer, order[:count], SAMPLING, 3, slots=slots)
    assert [answer.question_id for answer in together] == [q.id for q in order[:count]]
    assert {a.question_id: a.token_ids for a in together} == {q.id: alone[q.id].token_ids for q in order[:count]}


def test_questions_draw_from_streams_of_their_own(model, tokenizer):
    twice = [ASKED[0], replace(ASKED[0], id="the same words")]
    first, second = generate_answers(model, tokenizer, twice, SAMPLING, 0)
    assert first.token_ids != second.token_ids


def test_another_seed_gives_another_answer(model, tokenizer):
    first, second = (generate_answers(model, tokenizer, ASKED, SAMPLING, seed) for seed in (1, 2))
    assert [a.token_ids for a in first] != [a.token_ids for a in second]


def test_an_answer_ended_exactly_when_the_end_token_came(model, tokenizer):
    heard = []
    answers = generate_answers(model, tokenizer, ASKED, SAMPLING, 0, on_answer=heard.append)
    for answer in answers:
        assert answer.ended == (answer.token_ids[-1] == tokenizer.end_id)
        assert answer.ended or len(answer.token_ids) == 12
        assert answer.text == tokenizer.decode(answer.token_ids).strip()
    assert sorted(heard) == sorted(len(answer.token_ids) for answer in answers)


def test_a_question_that_leaves_no_room_for_an_answer_is_left_out(model, tokenizer):
    long = Question("long", "How are you? " * 20, "Fine.", "en", "dialogue", "d")
    assert answerable([ASKED[0], long], model.config.max_length, tokenizer, 12) == [ASKED[0]]


def test_the_judge_scores_the_whole_conversation_as_it_was_sampled(model, tokenizer, judge):
    answers = generate_answers(model, tokenizer, ASKED, SAMPLING, 0)
    scores = judge_scores(ASKED, answers, judge, tokenizer)
    for question, answer, score in zip(ASKED, answers, scores, strict=True):
        row = prompt_ids(question.prompt, tokenizer) + list(answer.token_ids)
        with torch.no_grad():
            values = judge(torch.tensor([row[:48]])).values_BT
        assert score == pytest.approx(float(values[0, -1]), abs=1e-4)
    assert any(tokenizer.encode(answer.text) != list(answer.token_ids) for answer in answers if not answer.ended)


def test_the_judge_reads_what_a_model_with_another_tokenizer_said(tokenizer, judge):
    other = Tokenizer.train(["It serializes obj."] * 3, 300)
    said = [Answer("q3", "It serializes obj.", (*ids, other.end_id), True)
            for ids in (other.encode("It serializes obj."), tokenizer.encode("It serializes obj."))]  # fmt: skip
    assert said[0].token_ids != said[1].token_ids
    first, second = (judge_scores([ASKED[3]], [answer], judge, tokenizer)[0] for answer in said)
    assert first == second


def test_grades_stand_beside_the_answer_they_belong_to(model, tokenizer, judge):
    said = [
        ("比喻做了多余的事。", True),
        ("你好你好你好你好你好你好", True),
        ("You are an idiot.", True),
        ("It serializes obj", False),
    ]
    answers = [
        type(a)(a.question_id, text, tuple(tokenizer.encode(text)), ended)
        for a, (text, ended) in zip(generate_answers(model, tokenizer, ASKED, SAMPLING, 0), said, strict=True)
    ]
    right, looping, rude, cut = judge_answers(ASKED, answers, judge, tokenizer)
    assert right.chrf == pytest.approx(1)
    assert right.grade == 1
    assert looping.grade == rude.grade < cut.grade < 1
    assert (right.in_language, right.repeats, right.rude, right.ended) == (True, False, False, True)
    assert looping.repeats
    assert not looping.in_language
    assert looping.chrf < 0.2
    assert rude.rude
    assert not rude.in_language
    assert not cut.ended
    assert 0.5 < cut.chrf < 1
    assert [graded.document_id for graded in (right, looping, rude, cut)] == ["d0", "d1", "d2", "d3"]
