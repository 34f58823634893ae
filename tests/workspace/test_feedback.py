import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from homeroom.workspace import Feedback, FeedbackError, Workspace


@pytest.fixture
def feedback(workspace: Workspace) -> Feedback:
    return workspace.feedback


def ask(feedback: Feedback, question: str = "画蛇添足是什么意思？", answer: str = "多此一举。") -> tuple[str, str]:
    conversation = feedback.open_conversation()
    asked = feedback.add_message(conversation.id, "user", question)
    return asked.id, feedback.add_message(conversation.id, "assistant", answer).id


def test_messages_come_back_as_they_were(feedback: Feedback) -> None:
    conversation = feedback.open_conversation("chat-1", user="ada")
    asked = feedback.add_message("chat-1", "user", "<script>alert(1)</script>\n'; DROP TABLE votes; --")
    answered = feedback.add_message(
        "chat-1",
        "assistant",
        "🙂" * 300_000,
        id="answer-1",
        model_id="sft-1",
        sampling={"temperature": 0.7, "stop": ["\n"]},
        token_ids=[5, 6, 7],
        finish_reason="stop",
    )
    assert feedback.conversation("chat-1") == [asked, answered]
    assert feedback.message("answer-1") == answered
    assert (asked.parent_id, answered.parent_id) == (None, asked.id)
    assert answered.token_ids == [5, 6, 7]
    later = feedback.open_conversation()
    assert feedback.conversations() == [later, conversation]
    assert feedback.conversations(limit=1) == [later]


def test_a_conversation_grows_by_what_it_lacks_however_many_send_it(feedback: Feedback) -> None:
    with ThreadPoolExecutor(8) as pool:
        places = set(pool.map(lambda _: feedback.extend("c", "ada", [("user", "hello")]), range(16)))
    [(_, asked)] = places
    assert [(m.id, m.role, m.text, m.parent_id) for m in feedback.conversation("c")] == [(asked, "user", "hello", None)]
    answer = feedback.add_message("c", "assistant", "hi", parent_id=asked)
    turns = [("user", "hello"), ("assistant", "hi"), ("user", "and\0?")]
    assert feedback.extend("c", "ada", turns) == feedback.extend("c", "ada", turns)
    assert [(m.text, m.parent_id) for m in feedback.conversation("c")][2:] == [("and\ufffd?", answer.id)]
    with pytest.raises(FeedbackError, match="begins with another message"):
        feedback.extend("c", "ada", [("user", "something else"), ("user", "more")])
    with pytest.raises(FeedbackError, match="nothing was said"):
        feedback.extend("new", "ada", [])
    assert len(feedback.conversation("c")) == 3
    assert [one.id for one in feedback.conversations()] == ["c"]


def test_votes_on_several_answers_are_recorded_all_or_none(feedback: Feedback) -> None:
    _, answer = ask(feedback)
    question, other = ask(feedback, "q", "a")
    with pytest.raises(FeedbackError, match="only the assistant's answers are judged"):
        feedback.vote_all([(answer, 1, "v1"), (question, 1, "v2")])
    assert feedback.votes() == []
    votes = feedback.vote_all([(answer, 1, "v1"), (other, -1, "v2")], user="ada")
    assert [(v.message_id, v.value, v.user) for v in votes] == [(answer, 1, "ada"), (other, -1, "ada")]
    assert len(feedback.votes()) == 2


def test_a_retry_with_the_same_id_is_answered_with_the_first_row(feedback: Feedback) -> None:
    conversation = feedback.open_conversation("c")
    first = feedback.add_message("c", "assistant", "hello", id="m", token_ids=[1])
    vote = feedback.vote("m", 1, id="v")
    edit = feedback.edit("m", "better", id="e")
    assert feedback.open_conversation("c") == conversation
    assert feedback.add_message("c", "assistant", "hello", id="m", token_ids=[1]) == first
    assert feedback.vote("m", 1, id="v") == vote
    assert feedback.edit("m", "better", id="e") == edit
    counts = {"conversations": 1, "messages": 1, "edits": 1, "votes": 1, "up": 1, "down": 0}
    assert feedback.counts() == counts | {"rankings": 0, "comparisons": 0, "items": 0}


def test_an_id_is_not_taken_for_other_content(feedback: Feedback) -> None:
    _, answer = ask(feedback)
    feedback.vote(answer, 1, id="v")
    with pytest.raises(FeedbackError, match="id v in votes was used before with another value"):
        feedback.vote(answer, -1, id="v")
    assert feedback.votes()[0].value == 1


def test_the_newest_vote_of_each_user_counts(feedback: Feedback) -> None:
    _, answer = ask(feedback)
    assert feedback.vote_on(answer) is None
    feedback.vote(answer, 1)
    feedback.vote(answer, 1, user="ada")
    newest = feedback.vote(answer, -1)
    assert feedback.vote_on(answer) == newest
    assert [(judged.user, judged.value) for judged in feedback.votes()] == [("ada", 1), ("local", -1)]
    counts = feedback.counts()
    assert (counts["votes"], counts["up"], counts["down"]) == (2, 1, 1)


def test_a_vote_is_withdrawn_by_another_and_given_again(feedback: Feedback) -> None:
    _, answer = ask(feedback)
    feedback.vote(answer, 1)
    feedback.vote(answer, 1, user="ada")
    assert feedback.vote(answer, 0, id="w") == feedback.vote(answer, 0, id="w")
    assert feedback.vote_on(answer) is None
    assert [judged.user for judged in feedback.votes()] == ["ada"]
    assert feedback.counts()["votes"] == 1
    feedback.edit(answer, "better")  # which judges the answer, whatever became of the vote
    assert [(judged.user, judged.value) for judged in feedback.votes()] == [("ada", 1), ("local", -1)]
    vote = feedback.vote(answer, 1)
    assert feedback.vote_on(answer) == vote
    assert [(judged.user, judged.value) for judged in feedback.votes()] == [("ada", 1), ("local", 1)]


def test_what_nobody_may_learn_from_is_not_handed_out(feedback: Feedback) -> None:
    _, answer = ask(feedback)
    _, other = ask(feedback)
    conversation = feedback.message(answer).conversation_id
    for message in (answer, other):
        feedback.vote(message, 1)
        feedback.edit(message, "better", user="ada")
    assert not feedback.set_consent(conversation, False).consent
    assert {judged.message_id for judged in feedback.votes()} == {other}
    assert [one.consent for one in feedback.conversations()] == [True, False]
    feedback.set_consent(conversation, True)
    assert {judged.message_id for judged in feedback.votes()} == {answer, other}
    quiet = feedback.open_conversation("quiet", consent=False)
    assert not quiet.consent
    assert feedback.open_conversation("quiet") == quiet  # to open it again asks for nothing
    with pytest.raises(FeedbackError, match="there is no conversation 'nowhere'"):
        feedback.set_consent("nowhere", False)


def test_a_judged_answer_knows_its_question_and_history(feedback: Feedback) -> None:
    conversation = feedback.open_conversation().id
    feedback.add_message(conversation, "system", "Be brief.")
    feedback.add_message(conversation, "user", "Hi")
    feedback.add_message(conversation, "assistant", "Hello.")
    question = feedback.add_message(conversation, "user", "And now?").id
    first = feedback.add_message(conversation, "assistant", "Now what?", model_id="ppo-1", finish_reason="length").id
    again = feedback.add_message(conversation, "assistant", "Now this.", parent_id=question, sampling={"seed": 1}).id
    feedback.vote(first, -1)
    feedback.edit(first, "Now nothing.")
    feedback.edit(first, "Now that.")
    feedback.vote(again, 1)
    one, two = feedback.votes()
    assert one.history == two.history
    assert [turn["content"] for turn in one.history] == ["Be brief.", "Hi", "Hello.", "And now?"]
    assert one.history[0] == {"role": "system", "content": "Be brief."}
    assert one.question == "And now?"
    assert (one.message_id, one.answer, one.value, one.better_answer) == (first, "Now what?", -1, "Now that.")
    assert (one.model_id, one.finish_reason) == ("ppo-1", "length")
    assert (two.message_id, two.answer, two.value, two.better_answer) == (again, "Now this.", 1, None)
    assert two.sampling == {"seed": 1}


def test_a_judged_answer_has_the_tokens_that_were_sampled(feedback: Feedback) -> None:
    _, unknown = ask(feedback)
    conversation = feedback.open_conversation()
    sampled = feedback.add_message(conversation.id, "assistant", "hello", token_ids=[7, 8, 5])
    for message_id in (unknown, sampled.id):
        feedback.vote(message_id, 1)
    assert [judged.token_ids for judged in feedback.votes()] == [None, [7, 8, 5]]


def test_a_better_answer_alone_judges_the_answer_worse(feedback: Feedback) -> None:
    _, answer = ask(feedback)
    feedback.edit(answer, "比喻做了多余的事。")
    assert [(judged.value, judged.better_answer) for judged in feedback.votes()] == [(-1, "比喻做了多余的事。")]
    assert feedback.counts()["votes"] == 0


def test_what_does_not_fit_is_refused(feedback: Feedback) -> None:
    asked, answer = ask(feedback)
    elsewhere = feedback.open_conversation().id
    for wrong, message in (
        (lambda: feedback.vote("nobody", 1), "there is no message 'nobody'"),
        (lambda: feedback.vote(asked, 1), "only the assistant's answers are judged"),
        (lambda: feedback.vote(answer, 2), "a vote is 1 or -1, or 0 to withdraw it, not 2"),  # type: ignore[arg-type]
        (lambda: feedback.vote(answer, True), "or 0 to withdraw it, not True"),  # type: ignore[arg-type]
        (lambda: feedback.edit(answer, " "), "cannot be empty"),
        (lambda: feedback.add_message("nowhere", "user", "x"), "there is no conversation 'nowhere'"),
        (lambda: feedback.conversation("nowhere"), "there is no conversation 'nowhere'"),
        (lambda: feedback.add_message(elsewhere, "user", "x", parent_id=answer), "is not in conversation"),
        (lambda: feedback.add_message(elsewhere, "robot", "x"), "not 'robot'"),  # type: ignore[arg-type]
    ):
        with pytest.raises(FeedbackError, match=message):
            wrong()
    assert feedback.counts()["messages"] == 2
    assert feedback.votes() == []


def test_text_that_is_not_unicode_is_repaired(feedback: Feedback) -> None:
    _, answer = ask(feedback, question="a\ud83d\ude42b\ud800c\0d")
    feedback.vote(answer, 1)
    assert feedback.votes()[0].question == "a🙂b�c�d"


VOTER = """if True:
    import sys
    from pathlib import Path
    from homeroom.workspace import Workspace
    folder, user, *messages = sys.argv[1:]
    with Workspace.open(Path(folder)) as workspace:
        print("ready", flush=True)
        sys.stdin.readline()
        for message in messages:
            workspace.feedback.vote(message, 1 if user == "a" else -1, user=user, id=f"{user}-{message}")
"""


def test_two_processes_voting_at_once_lose_nothing(workspace: Workspace) -> None:
    messages = [ask(workspace.feedback)[1] for _ in range(40)]
    voters = [
        subprocess.Popen(
            [sys.executable, "-c", VOTER, str(workspace.path), user, *messages],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for user in "ab"
    ]
    for voter in voters:
        assert voter.stdout is not None
        assert voter.stdout.readline() == "ready\n"
    for voter in voters:
        voter.communicate("go\n")
        assert voter.returncode == 0
    assert {(judged.message_id, judged.user, judged.value) for judged in workspace.feedback.votes()} == {
        (message, user, value) for message in messages for user, value in (("a", 1), ("b", -1))
    }


def test_threads_voting_at_once_lose_nothing(feedback: Feedback) -> None:
    _, answer = ask(feedback)
    with ThreadPoolExecutor(8) as threads:
        votes = list(threads.map(lambda n: feedback.vote(answer, 1, user=str(n)), range(80)))
    assert len({vote.id for vote in votes}) == 80
    assert feedback.counts()["votes"] == 80


def test_threads_retrying_one_vote_make_one(feedback: Feedback) -> None:
    _, answer = ask(feedback)
    with ThreadPoolExecutor(8) as threads:
        votes = set(threads.map(lambda _: feedback.vote(answer, 1, id="v"), range(40)))
    assert len(votes) == 1
