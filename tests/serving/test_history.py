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
    assert [(one.question, one.answer.id, one.vote, one.better) for one in shown] == [
        ("Question of local", answer, -1, "Better")
    ]


def test_another_users_conversation_is_not_shown(workspace):
    theirs, _ = talk(workspace.feedback, "visitor-1")
    assert past(workspace.feedback, "local", theirs) is None
    assert past(workspace.feedback, "local", "nowhere") is None
    assert listed(workspace.feedback, "local") == []
