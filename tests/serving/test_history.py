"""What the chat page shows of earlier conversations."""

import pytest
from sqlalchemy import insert

from homeroom.serving.pages.history import listed, past
from homeroom.workspace import Workspace, tables


@pytest.fixture
def workspace(tmp_path):
    with Workspace.open(tmp_path) as opened:
        yield opened


def talk(feedback, user):
    conversation = feedback.open_conversation(user=user).id
    feedback.add_message(conversation, "user", f"Question of {user}")
    return conversation, feedback.add_message(conversation, "assistant", "Answer").id


def test_conversations_of_programs_do_not_push_a_persons_out(workspace, monkeypatch):
    feedback = workspace.feedback
    mine, answer = talk(feedback, "local")
    feedback.vote(answer, -1)
    feedback.edit(answer, "Worse")
    feedback.edit(answer, "Better")
    feedback.edit(answer, "Another's", user="api")
    others = [{"id": f"other {number}", "user": "api", "at": tables.now()} for number in range(1001)]
    with workspace._database.write() as connection:
        connection.execute(insert(tables.conversations), others)
    monkeypatch.setattr(feedback, "votes", lambda: pytest.fail("the whole workspace's votes were read"))
    assert [one.conversation_id for one in listed(feedback, "local")] == [mine]
    shown = past(feedback, "local", mine)
    assert [(one.question.text, one.answer.id, one.vote, one.better) for one in shown] == [
        ("Question of local", answer, -1, "Better")
    ]


def test_another_users_conversation_is_not_shown(workspace):
    theirs, _ = talk(workspace.feedback, "visitor-1")
    assert past(workspace.feedback, "local", theirs) is None
    assert past(workspace.feedback, "local", "nowhere") is None
    assert listed(workspace.feedback, "local") == []


def test_the_newest_branch_is_shown_or_the_one_through_a_message(workspace):
    feedback = workspace.feedback

    def ask(text, under):
        return feedback.ask(conversation, "local", text, under)[1]

    def answer(question, text="the same"):
        return feedback.add_message(conversation, "assistant", text, parent_id=question).id

    conversation = feedback.open_conversation().id
    first = ask("one", None)
    a1, a2 = answer(first), answer(first)
    follow = ask("two", a1)
    b1 = answer(follow)
    edited = ask("two, in other words", a1)
    b2 = answer(edited)
    beginning = ask("another beginning", None)
    c1 = answer(beginning)
    feedback.ask(conversation, "local", "nobody answered this", c1)
    feedback.vote(a1, 1)

    def shown(through=None):
        return [(p.question.id, p.answer.id, p.vote) for p in past(feedback, "local", conversation, through)]

    assert shown() == [(beginning, c1, 0)]
    assert shown(first) == shown(a1) == shown(edited) == [(first, a1, 1), (edited, b2, 0)]
    assert shown(a2) == [(first, a2, 0)]
    assert shown(follow) == [(first, a1, 1), (follow, b1, 0)]
    assert shown("nowhere") == []
    head, tail = past(feedback, "local", conversation, follow)
    assert (head.questions, head.answers) == ((first, beginning), (a1, a2))
    assert (tail.questions, tail.answers) == ((follow, edited), (b1,))


def test_what_a_program_said_before_the_first_question_is_not_a_turn(workspace):
    feedback = workspace.feedback
    conversation = feedback.open_conversation().id
    system = feedback.add_message(conversation, "system", "Be brief.").id
    question = feedback.add_message(conversation, "user", "Hi").id
    answer = feedback.add_message(conversation, "assistant", "Hello.").id
    [turn] = past(feedback, "local", conversation)
    assert (turn.question.id, turn.question.parent_id, turn.answer.id) == (question, system, answer)
    assert turn.questions == (question,)
