"""A person's conversations are found again by any words that were said in them."""

import time

import pytest
from sqlalchemy import insert

from homeroom.workspace import Feedback, FeedbackError, Workspace, tables


@pytest.fixture
def feedback(workspace: Workspace) -> Feedback:
    return workspace.feedback


def talk(feedback: Feedback, question: str, answer: str, user: str = "local") -> str:
    conversation = feedback.open_conversation(user=user).id
    feedback.add_message(conversation, "user", question)
    feedback.add_message(conversation, "assistant", answer)
    return conversation


def test_words_are_found_whatever_their_case_and_width(feedback: Feedback) -> None:
    idiom = talk(feedback, "画蛇添足是什么意思？", "比喻做了多余的事。")
    python = talk(feedback, "What does  json.dumps\ndo?", "It serializes an object to a STRASSE of text.")

    def found(text: str) -> list[str]:
        return [one.conversation_id for one in feedback.search("local", text, 9)]

    assert found("蛇添") == [idiom]
    assert found("多余") == [idiom]
    assert found("JSON.Dumps") == found("ｊｓｏｎ") == found("straße") == [python]
    assert found("json   OBJECT") == [python]  # every word, wherever it stands
    assert found("json 多余") == []
    assert found("？") == [python, idiom]  # the full-width question mark is the other's
    assert found("%") == found("_") == []
    assert found(" ") == [python, idiom]


def test_a_search_shows_where_it_found_what_the_title_does_not_have(feedback: Feedback) -> None:
    talk(feedback, "Tell me  of snakes", "x" * 50 + " the Painted legs " + "y" * 50)
    [in_title] = feedback.search("local", "SNAKES", 9)
    assert (in_title.title, in_title.excerpt) == ("Tell me of snakes", "")
    [in_answer] = feedback.search("local", "snakes painted", 9)
    assert in_answer.excerpt.startswith("…")
    assert in_answer.excerpt.endswith("…")
    assert " the Painted legs " in in_answer.excerpt


def test_nobody_finds_what_others_said(feedback: Feedback) -> None:
    talk(feedback, "my secret", "kept", user="ada")
    assert feedback.search("local", "secret", 9) == []
    assert feedback.titles("local", 9) == []
    assert [one.title for one in feedback.titles("ada", 9)] == ["my secret"]


def test_the_newest_come_first_and_no_more_than_asked(feedback: Feedback) -> None:
    made = [talk(feedback, f"question {number}", "answer") for number in range(4)]
    assert [one.conversation_id for one in feedback.titles("local", 3)] == made[:0:-1]
    assert [one.conversation_id for one in feedback.search("local", "answer", 3)] == made[:0:-1]


def test_ten_thousand_messages_are_searched_while_somebody_types(workspace: Workspace, feedback: Feedback) -> None:
    rows = [
        {"id": f"m{number}", "conversation_id": f"c{number // 10}", "role": ("user", "assistant")[number % 2],
         "text": f"{number} of the many things that were said in the course of a year " * 3, "at": tables.now()}
        for number in range(10_000)
    ]  # fmt: skip
    owners = [{"id": f"c{number}", "user": "local", "at": tables.now()} for number in range(1000)]
    with workspace._database.write() as connection:
        connection.execute(insert(tables.conversations), owners)
        connection.execute(insert(tables.messages), rows)
    began = time.process_time()
    assert [one.conversation_id for one in feedback.search("local", "7003 things", 9)] == ["c700"]
    assert time.process_time() - began < 3  # 0.13 s on a quiet core


def test_a_conversation_may_begin_and_go_on_in_several_ways(feedback: Feedback) -> None:
    conversation, first = feedback.ask(None, "ada", "one", None)
    answers = [feedback.add_message(conversation, "assistant", "the same", parent_id=first).id for _ in range(2)]
    assert feedback.ask(conversation, "ada", "one", None) == (conversation, first)
    _, other = feedback.ask(conversation, "ada", "another\0", None)
    # Two answers of the same text: the question stands under the one that was meant.
    _, under = feedback.ask(conversation, "ada", "and then?", answers[0])
    assert [(m.id, m.parent_id, m.text) for m in feedback.conversation(conversation)][3:] == [
        (other, None, "another\ufffd"), (under, answers[0], "and then?"),
    ]  # fmt: skip
    assert feedback.ask(conversation, "ada", "one", under)[1] != first  # the same words in another place
    elsewhere = feedback.open_conversation(user="ada").id
    with pytest.raises(FeedbackError, match="is not in conversation"):
        feedback.ask(elsewhere, "ada", "q", answers[0])
    with pytest.raises(FeedbackError, match="another user"):
        feedback.ask(conversation, "eve", "q", None)
    with pytest.raises(FeedbackError, match="there is no message"):
        feedback.ask(conversation, "ada", "q", "nowhere")
    assert len(feedback.conversation(conversation)) == 6
