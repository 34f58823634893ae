import dataclasses
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from homeroom.workspace import FeedbackError, NewAnswer, Plan, Queue, ShownItem, Workspace, tables

ALONE, TOGETHER = Plan(shared=0.0), Plan(shared=1.0)


@pytest.fixture
def queue(workspace: Workspace) -> Queue:
    return workspace.queue


def fill(queue: Queue, count: int, name: str = "i") -> list[str]:
    """Items of four answers; their ids."""
    asked = [([{"role": "user", "content": f"{name} {n}?"}], f"{name}-{n}") for n in range(count)]
    return [queue.add_item(messages, "abcd", id=id, user="maker").id for messages, id in asked]


def rank(workspace: Workspace, item: ShownItem | None, user: str, **more: Any) -> None:
    assert item is not None
    workspace.feedback.rank(item.question_id, [[answer.id] for answer in item.answers], user=user, **more)


def test_a_question_with_answers_enough_becomes_an_item(workspace: Workspace, queue: Queue) -> None:
    feedback = workspace.feedback
    conversation = feedback.open_conversation(user="ann").id
    feedback.add_message(conversation, "system", "Be brief.")
    question = feedback.add_message(conversation, "user", "Why?").id

    def answer(text: str, finish_reason: str = "stop") -> str:
        more: Any = {"model_id": "sft-1", "finish_reason": finish_reason, "parent_id": question}
        return feedback.add_message(conversation, "assistant", text, **more).id

    ids = [answer("one"), answer("two"), answer("three")]
    answer("one")  # says the same as another
    answer("cut of", "cancelled")
    assert queue.next("bob") is None
    ids.append(answer("four"))
    item = queue.next("bob", ALONE)
    assert item is not None
    assert (item.question_id, len(item.answers)) == (question, 4)
    assert item.history == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert {one.text for one in item.answers} == {"one", "two", "three", "four"}
    assert set(vars(item.answers[0])) == {"id", "text"}  # and not the model
    answer("five")
    assert queue.next("bob", ALONE) == item  # who comes later ranks the same answers
    assert feedback.counts()["items"] == 1
    feedback.set_consent(conversation, False)
    assert queue.next("bob", ALONE) is None


def test_everybody_sees_an_order_of_their_own_that_stays(workspace: Workspace, queue: Queue) -> None:
    fill(queue, 1)
    everybody = Plan(shared=1.0, annotators=100)
    seen = {user: queue.next(user, everybody) for user in map(str, range(30))}
    orders = {tuple(answer.text for answer in item.answers) for item in seen.values() if item}
    assert len(orders) > 10
    assert all(sorted(order) == list("abcd") for order in orders)
    assert {user: queue.next(user, everybody) for user in seen} == seen


def test_an_item_goes_to_one_person_and_a_share_to_several(workspace: Workspace, queue: Queue) -> None:
    fill(queue, 60)
    plan, done = Plan(shared=0.3, annotators=3), defaultdict(set)
    for _ in range(60):
        for user in "abcde":
            if item := queue.next(user, plan):
                rank(workspace, item, user)
                done[item.question_id].add(user)
    assert all(queue.next(user, plan) is None for user in "abcdef")
    assert len(done) == 60
    sizes = Counter(len(users) for users in done.values())
    assert set(sizes) == {1, 3}
    assert 8 <= sizes[3] <= 28  # 18 expected
    assert all(len(users) == plan.wanted(question) for question, users in done.items())


def test_what_one_person_holds_is_shown_to_no_other_until_it_is_given_up(workspace: Workspace, queue: Queue) -> None:
    first, second = fill(queue, 2)
    ann, bob = queue.next("ann", ALONE), queue.next("bob", ALONE)
    assert ann is not None
    assert bob is not None
    assert (ann.id, bob.id) == (first, second)
    assert queue.next("cy", ALONE) is None
    assert queue.next("ann", ALONE) == ann
    workspace.feedback.skip(ann.question_id, user="ann")
    assert queue.next("ann", ALONE) is None
    cy = queue.next("cy", ALONE)
    assert cy is not None
    assert cy.id == first
    with workspace._database.write() as connection:
        connection.execute(update(tables.claims).values(at="2020-01-01T00:00:00.000000+00:00"))
    dan = queue.next("dan", ALONE)
    assert dan is not None
    assert dan.id == first
    rank(workspace, cy, "cy")  # late, and counted all the same
    assert len(workspace.feedback.ranked()) == 1


def test_undo_brings_back_what_was_done_last(workspace: Workspace, queue: Queue) -> None:
    fill(queue, 3)
    one = queue.next("ann", ALONE)
    rank(workspace, one, "ann")
    two = queue.next("ann", ALONE)
    assert one is not None
    assert two is not None
    workspace.feedback.skip(two.question_id, user="ann")
    three = queue.next("ann", ALONE)
    progress = queue.progress("ann", ALONE)
    assert (progress.ranked, progress.skipped, progress.waiting) == (1, 1, 1)
    assert queue.undo("ann", id="u").question_id == two.question_id
    assert queue.undo("ann", id="u").question_id == two.question_id  # sent again
    assert queue.next("ann", ALONE) == two
    queue.undo("ann")
    assert queue.next("ann", ALONE) == one
    assert workspace.feedback.ranked() == []
    with pytest.raises(FeedbackError, match="nothing that 'ann' ranked or skipped"):
        queue.undo("ann")
    with pytest.raises(FeedbackError, match="id u in rankings was used before with another user"):
        queue.undo("bob", id="u")
    rank(workspace, one, "ann")
    assert queue.next("ann", ALONE) == two
    rank(workspace, two, "ann")
    assert queue.next("ann", ALONE) == three
    for item in (one, two):
        workspace.feedback.withdraw_ranking(item.question_id, user="ann")
    assert queue.next("ann", ALONE) == two  # what was taken back last


def test_an_item_is_put_in_once_however_often_it_is_sent(workspace: Workspace, queue: Queue) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    answers = [NewAnswer("so", model_id="sft-1", token_ids=[1, 2], sampling={"seed": 3}), "no\0ne"]
    item = queue.add_item(messages, answers, id="i", user="maker")
    counts = workspace.feedback.counts()
    assert queue.add_item(messages, answers, id="i", user="maker") == item
    assert workspace.feedback.counts() == counts
    stored = [workspace.feedback.message(id) for id in item.answer_ids]
    assert [(m.text, m.model_id, m.token_ids) for m in stored] == [("so", "sft-1", [1, 2]), ("no\ufffdne", None, None)]
    assert {m.parent_id for m in stored} == {item.question_id}
    for change, message in (
        ({"answers": ["so"]}, "at least two answers"),
        ({"answers": ["so", "so"]}, "no two that say the same"),
        ({"answers": ["so", "other"]}, "id i in items was used before"),
        ({"messages": messages[:1]}, "end with a question"),
        ({"messages": []}, "end with a question"),
        ({"messages": [{"role": "robot", "content": "x"}, messages[1]]}, "not robot"),
        ({"messages": [messages[1], *messages]}, "a system message comes first"),
        ({"messages": [{"role": "user", "content": "x"}]}, "used before with another role, text"),
        ({"user": "other"}, "used before with another user"),
        ({"id": "x" * 71}, "at most 70"),
    ):
        with pytest.raises(FeedbackError, match=message):
            queue.add_item(**{"messages": messages, "answers": answers, "id": "i", "user": "maker"} | change)  # type: ignore[arg-type]
    assert workspace.feedback.counts() == counts


def test_people_who_ask_at_once_are_shown_different_items(workspace: Workspace, queue: Queue) -> None:
    fill(queue, 16)
    with ThreadPoolExecutor(8) as threads:
        shown = list(threads.map(lambda user: queue.next(str(user), ALONE), range(16)))
    assert len({item.id for item in shown if item}) == 16
    assert queue.next("late", ALONE) is None


def test_who_takes_a_skip_back_comes_before_who_was_shown_it_meanwhile(workspace: Workspace, queue: Queue) -> None:
    fill(queue, 1)
    item = queue.next("a", ALONE)
    assert item is not None
    workspace.feedback.skip(item.question_id, user="a")
    assert queue.next("b", ALONE) == dataclasses.replace(item, answers=queue.next("b", ALONE).answers)  # type: ignore[union-attr]
    queue.undo("a")
    assert queue.next("b", ALONE) is None
    assert queue.next("a", ALONE) == item


_steps = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["rank", "rank", "skip", "undo", "look"])), max_size=20
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps, shared=st.sampled_from([0.0, 0.5, 1.0]), data=st.data())
def test_whatever_people_do_no_item_is_ranked_by_too_many_and_none_is_lost(
    workspace: Workspace, queue: Queue, steps: Any, shared: float, data: st.DataObject
) -> None:
    plan, name = Plan(shared=shared, annotators=2), str(workspace.feedback.counts()["items"])
    for conversation in workspace.feedback.conversations():  # earlier examples', also of one that failed
        workspace.feedback.set_consent(conversation.id, False)
    fill(queue, 4, name)
    for user, step in steps:
        before = queue.progress(user, plan)
        if step == "undo":
            if before.ranked or before.skipped:
                queue.undo(user)
                assert sum(vars(queue.progress(user, plan)).values()) >= before.ranked + before.skipped - 1
            continue
        item = queue.next(user, plan)
        assert (item is None) == (before.waiting == 0)
        if item is None or step == "look":
            assert queue.next(user, plan) == item
        elif step == "rank":
            rank(workspace, item, user)
            assert queue.progress(user, plan).ranked == before.ranked + 1
        else:
            workspace.feedback.skip(item.question_id, user=user)
            assert queue.progress(user, plan).skipped == before.skipped + 1
    for user in "abcdx":
        while item := queue.next(user, plan):
            rank(workspace, item, user)
    ranked = Counter(one.question_id for one in workspace.feedback.ranked())
    assert ranked == {f"item-{name}-{n}-0": plan.wanted(f"item-{name}-{n}-0") for n in range(4)}


def test_what_was_ranked_since_and_what_was_said_before(workspace: Workspace, queue: Queue) -> None:
    fill(queue, 3)
    began = tables.now()
    first = queue.next("ann", ALONE)
    rank(workspace, first, "ann", ideal_answer="ideal")
    assert first is not None
    assert (queue.ranked_since("ann", began), queue.ranked_since("bob", began)) == (1, 0)
    second = queue.next("ann", ALONE)
    assert second is not None
    between = tables.now()
    workspace.feedback.skip(second.question_id, user="ann")
    rank(workspace, queue.next("ann", ALONE), "ann")
    assert (queue.ranked_since("ann", began), queue.ranked_since("ann", between)) == (2, 1)
    for _ in range(3):
        queue.undo("ann")
    assert queue.ranked_since("ann", began) == 0
    said = queue.taken_back(first.question_id, "ann")
    assert said is not None
    assert (said.state, said.ideal_answer) == ("ranked", "ideal")
    assert said.tiers == [[answer.id] for answer in first.answers]
    assert (queue.taken_back(first.question_id, "bob"), queue.taken_back(second.question_id, "ann")) == (None, None)
    assert (queue.has("i-0"), queue.has("i-9")) == (True, False)
