from collections.abc import Callable
from typing import Any

import pytest

from homeroom.tasks.base import Question
from homeroom.tasks.dialogues import Dialogues
from homeroom.tasks.manners import manners

Make = Callable[..., Any]


def exchanges(make: Make, *turns: str, roles: tuple[str, ...] = ("user", "assistant")) -> list[tuple[str, str]]:
    messages = [{"role": roles[number % len(roles)], "content": turn} for number, turn in enumerate(turns)]
    return [(q.prompt, q.reference) for q in Dialogues([make("dialogue", messages=messages)]).questions]


def test_every_answered_message_is_a_question(make: Make) -> None:
    turns = ("Hello", "Hi", "How are you?", "I am well.", "Good")
    assert exchanges(make, *turns) == [("Hello", "Hi."), ("How are you?", "I am well.")]


def test_only_what_a_user_says_is_asked(make: Make) -> None:
    assert exchanges(make, "Be nice.", "Hello", "Hi", roles=("system", "user", "assistant")) == [("Hello", "Hi.")]
    assert exchanges(make, "Hello", "Hi", roles=("assistant", "user")) == []


def test_punctuation_is_made_uniform(make: Make) -> None:
    assert exchanges(make, "你好吗?", "我很好,谢谢.你呢") == [("你好吗？", "我很好，谢谢。你呢？")]
    assert exchanges(make, "你用什么写的", "Python 3.11写的") == [("你用什么写的", "Python 3.11写的。")]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("Where is it?", "See https://example.org for more."),
        ("Can you sort?", "Sure:\n```\nsorted(x)\n```"),
        ("EACH YEAR IN BASEBALL THE", "The Gold Glove."),
        ("I", "w"),
        ("Are you there?", "Shut up."),
        ("你是机器人吗", "I am."),
        ("How many?", "42"),
        ("Hello there", "hello there"),
        ("What is long?", "word " * 50),
        ("", "Hi."),
    ],
)
def test_odd_exchanges_are_left_out(make: Make, asked: str, answered: str) -> None:
    assert exchanges(make, asked, answered) == []


def test_a_long_answer_is_cut_after_a_sentence(make: Make) -> None:
    first = "The first computers filled whole rooms and needed people to look after them all day."
    assert exchanges(make, "What were they?", f"{first} Then they shrank to the size of a watch.") == [
        ("What were they?", first)
    ]
    assert exchanges(make, "What were they?", f"{first[:-1]}? Then they shrank to the size of a watch.") == []


def test_the_same_exchange_is_asked_once(make: Make) -> None:
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    louder = [{"role": "user", "content": "HELLO"}, {"role": "assistant", "content": "Hi."}]
    task = Dialogues([make("dialogue", messages=messages), make("dialogue", messages=louder)])
    assert len(task.questions) == 1


@pytest.mark.parametrize("messages", [None, "text", [], [1, 2], [{"role": "user"}, {"role": "assistant"}]])
def test_what_is_no_conversation_is_left_out(make: Make, messages: Any) -> None:
    assert Dialogues([make("dialogue", messages=messages), make("prose")]).questions == []


def test_talk_is_graded_mostly_by_manners() -> None:
    question = Question("q", "Hello", "Hi.", "en", "dialogue", "d")
    task = Dialogues([])
    assert task.grade(question, "Hi.", True) == 1
    assert task.grade(question, "Good morning.", True) == 0.8


def test_real_dialogues_make_clean_demonstrations(real_dialogues: Any) -> None:
    task = Dialogues(real_dialogues)
    languages = [question.language for question in task.questions]
    assert languages.count("en") > 800
    assert languages.count("zh") > 350
    for question in task.questions:
        assert manners(question, question.reference, True) == 1
        assert len(question.reference) <= 120
        assert "http" not in question.reference
