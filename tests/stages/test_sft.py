"""What demonstrations become: conversations of one question or of a few, each as the template would render it."""

from collections import Counter

import pytest

from homeroom.stages.sft import conversations
from homeroom.tasks.base import Question
from homeroom.text.chat_template import render
from homeroom.text.tokenizer import Tokenizer

ASKED = [
    Question(str(number), f"What is {number}?", "It is " + "very " * (number % 5) + f"{number}.", "en", "number", "d")
    for number in range(200)
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([question.prompt + question.reference for question in ASKED], 300)


def rendered(questions, tokenizer):
    said = [
        message
        for question in questions
        for message in (
            {"role": "user", "content": question.prompt},
            {"role": "assistant", "content": question.reference},
        )
    ]
    return render(said, tokenizer)


def test_several_questions_make_one_conversation_and_every_answer_is_learned(tokenizer):
    made = conversations(ASKED, tokenizer, 1000, turns=3)
    turns = [list(row.token_ids).count(tokenizer.assistant_id) for row in made]
    waiting = iter(ASKED)
    for row, count in zip(made, turns, strict=True):
        expected = rendered([next(waiting) for _ in range(count)], tokenizer)
        assert (list(row.token_ids), list(row.learn)) == (expected.token_ids, expected.learn)
    assert next(waiting, None) is None
    share = {count: number / len(made) for count, number in Counter(turns).items()}
    assert share.keys() == {1, 2, 3}
    assert 0.4 < share[1] < 0.6
    assert made != conversations(ASKED, tokenizer, 1000, turns=3, seed=1)


def test_a_conversation_takes_what_fits_and_what_fits_nowhere_is_left_out(tokenizer):
    longest = max(len(row.token_ids) for row in conversations(ASKED, tokenizer, 1000))
    made = conversations(ASKED, tokenizer, longest - 1, turns=4)
    assert max(len(row.token_ids) for row in made) <= longest - 1
    answered = sum(list(row.token_ids).count(tokenizer.assistant_id) for row in made)
    fitting = [one for one in ASKED if len(rendered([one], tokenizer).token_ids) < longest]
    assert answered == len(fitting) < len(ASKED)


def test_one_question_each_where_that_is_asked_for(tokenizer):
    alone = [rendered([question], tokenizer).token_ids for question in ASKED]
    assert [list(row.token_ids) for row in conversations(ASKED, tokenizer, 1000)] == alone
