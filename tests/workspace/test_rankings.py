import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeroom.workspace import FLAGS, Feedback, FeedbackError, Workspace


@pytest.fixture
def feedback(workspace: Workspace) -> Feedback:
    return workspace.feedback


def ask(feedback: Feedback, answers: int = 4, name: str = "q", models: tuple[str, ...] = ("sft-1",)) -> list[str]:
    """A question with answers; the ids of the question and of each answer."""
    conversation = feedback.open_conversation(user="asker").id
    question = feedback.add_message(conversation, "user", f"{name}?", id=name)
    ids = [name]
    for place in range(answers):
        said = feedback.add_message(
            conversation,
            "assistant",
            f"{name} {place}",
            id=f"{name}-{place}",
            parent_id=question.id,
            model_id=models[place % len(models)],
            token_ids=[place, 5],
            sampling={"seed": place},
            finish_reason="stop",
        )
        ids.append(said.id)
    return ids


def test_a_ranking_is_joined_with_what_was_ranked(feedback: Feedback) -> None:
    question, *answers = ask(feedback)
    said = feedback.rank(
        question,
        [[answers[2]], [answers[0], answers[3]]],
        flags={answers[3]: ["unhelpful", "toxic"], answers[0]: []},
        ideal_answer="An ideal\0 answer.",
        id="r",
        user="ann",
    )
    assert said.flags == {answers[3]: ["toxic", "unhelpful"]}
    [ranked] = feedback.ranked()
    assert (ranked.id, ranked.question, ranked.user, ranked.question_id) == ("r", "q?", "ann", question)
    assert ranked.history == [{"role": "user", "content": "q?"}]
    assert [one.text for one in ranked.answers] == ["q 2", "q 0", "q 3"]
    best = ranked.answers[0]
    assert (best.token_ids, best.model_id, best.sampling) == ([2, 5], "sft-1", {"seed": 2})
    assert (ranked.tiers, ranked.flags) == ([[0], [1, 2]], [[], [], ["toxic", "unhelpful"]])
    assert ranked.ideal_answer == "An ideal\ufffd answer."
    assert feedback.ranking_by(question, "ann") == said
    assert feedback.ranking_by(question) is None
    assert feedback.counts()["rankings"] == 1


def test_a_ranking_sent_twice_is_one_and_its_id_is_not_taken_for_another(feedback: Feedback) -> None:
    question, *answers = ask(feedback)
    order = [answers[:1], answers[1:]]
    first = feedback.rank(question, order, id="r", flags={answers[0]: ["toxic"]})
    assert feedback.rank(question, order, id="r", flags={answers[0]: ["toxic"]}) == first
    with pytest.raises(FeedbackError, match="id r in rankings was used before with another tiers, flags"):
        feedback.rank(question, [answers], id="r")
    with pytest.raises(FeedbackError, match="id r in rankings was used before with another state"):
        feedback.skip(question, id="r")
    gone = feedback.withdraw_ranking(question, id="w")
    assert feedback.withdraw_ranking(question, id="w") == gone
    with pytest.raises(FeedbackError, match="no ranking of question 'q' by 'local' to withdraw"):
        feedback.withdraw_ranking(question)


def test_a_comparison_knows_sides_and_kind(feedback: Feedback) -> None:
    _, one, two = ask(feedback, 2)
    first = feedback.compare(one, two, "left", id="c", user="ann")
    assert feedback.compare(one, two, "left", id="c", user="ann") == first
    _, new, old = ask(feedback, 2, "t", ("improve-1", "sft-1"))
    feedback.compare(old, new, "tie", kind="trial", user="ann")
    samples, trial = feedback.compared()
    assert (samples.left.text, samples.right.text, samples.choice, samples.kind) == ("q 0", "q 1", "left", "samples")
    assert (trial.left.model_id, trial.right.model_id, trial.choice) == ("sft-1", "improve-1", "tie")
    feedback.compare(two, one, "right", user="ann")  # the same choice, seen from the other side
    feedback.compare(two, one, "left", user="bob")
    assert [(c.user, c.left.message_id, c.choice) for c in feedback.compared()] == [
        ("ann", old, "tie"),
        ("ann", two, "right"),
        ("bob", two, "left"),
    ]
    assert feedback.counts()["comparisons"] == 3


def test_what_is_no_ranking_or_comparison_is_refused(feedback: Feedback) -> None:
    question, one, two, *_ = ask(feedback)
    other, third, fourth = ask(feedback, 2, "t", ("improve-1", "sft-1"))
    lone = feedback.add_message(feedback.open_conversation().id, "assistant", "hello").id
    wrong: Any = ["toxic", "boring"]
    for refused, message in (
        (lambda: feedback.rank(question, [[one]]), "at least two answers"),
        (lambda: feedback.rank(question, [[one, two], []]), "at least one in every tier"),
        (lambda: feedback.rank(question, [[one], [two, one]]), "each answer once"),
        (lambda: feedback.rank(question, [[one], [third]]), "t-0 is no answer to question q"),
        (lambda: feedback.rank(question, [[one], [question]]), "only the assistant's answers"),
        (lambda: feedback.rank(question, [[one], ["nobody"]]), "no message 'nobody'"),
        (lambda: feedback.rank("nowhere", [[one], [two]]), "no question 'nowhere'"),
        (lambda: feedback.rank(one, [[one], [two]]), "a question is the user's"),
        (lambda: feedback.rank(question, [[one], [two]], flags={third: ["toxic"]}), "t-0 is not"),
        (lambda: feedback.rank(question, [[one], [two]], flags={one: wrong}), "not boring"),
        (lambda: feedback.rank(question, [[one], [two]], ideal_answer=" "), "cannot be empty"),
        (lambda: feedback.skip(one), "a question is the user's"),
        (lambda: feedback.skip("nowhere"), "no question 'nowhere'"),
        (lambda: feedback.compare(one, one, "left"), "not two answers to one question"),
        (lambda: feedback.compare(one, third, "left"), "not two answers to one question"),
        (lambda: feedback.compare(lone, lone, "left"), "not two answers to one question"),
        (lambda: feedback.compare(one, question, "left"), "only the assistant's answers"),
        (lambda: feedback.compare(third, fourth, "left"), "so this is no samples"),
        (lambda: feedback.compare(one, two, "left", kind="trial"), "both are of sft-1, so this is no trial"),
        (lambda: feedback.compare(one, two, "both"), "left, right or tie"),  # type: ignore[arg-type]
    ):
        with pytest.raises(FeedbackError, match=message):
            refused()
    assert feedback.counts()["rankings"] == feedback.counts()["comparisons"] == 0
    assert other


def test_without_consent_nobody_sees_what_was_ranked(feedback: Feedback) -> None:
    question, one, two = ask(feedback, 2)
    feedback.rank(question, [[one], [two]])
    feedback.compare(one, two, "left")
    conversation = feedback.message(question).conversation_id
    feedback.set_consent(conversation, False)
    assert (feedback.ranked(), feedback.compared()) == ([], [])
    feedback.set_consent(conversation, True)
    assert (len(feedback.ranked()), len(feedback.compared())) == (1, 1)


@st.composite
def _orders(draw: st.DrawFn) -> list[list[int]]:
    places = draw(st.permutations(range(4)))[: draw(st.integers(2, 4))]
    tiers: list[list[int]] = []
    for place in places:
        if tiers and draw(st.booleans()):
            tiers[-1].append(place)
        else:
            tiers.append([place])
    return tiers


_steps = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["q", "t"]),
        st.one_of(_orders(), st.sampled_from(["skip", "withdraw", "quiet", "open"])),
        st.dictionaries(st.integers(0, 3), st.lists(st.sampled_from(FLAGS), max_size=3), max_size=2),
        st.booleans(),
    ),
    max_size=14,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps)
def test_of_each_person_and_question_the_newest_counts(workspace: Workspace, steps: Any) -> None:
    """Against the same history kept in a dict, every step sent once or, as after a lost reply, twice."""
    feedback, run = workspace.feedback, uuid.uuid4().hex  # names of its own: all examples share the workspace
    said: dict[tuple[str, str], Any] = {}
    quiet: set[str] = set()
    ids = {name: ask(feedback, 4, f"{run}-{name}") for name in "qt"}
    for number, (user, name, step, flags, twice) in enumerate(steps):
        question, *answers = ids[name]
        id = f"{run}-{number}"
        for again in range(1 + twice):
            if isinstance(step, list):
                ranked = {place for tier in step for place in tier}
                by_id = {answers[place]: each for place, each in flags.items() if place in ranked}
                order = [[answers[place] for place in tier] for tier in step]
                feedback.rank(question, order, flags=by_id, id=id, user=user)
                kept = {one: sorted(set(each), key=FLAGS.index) for one, each in by_id.items() if each}
                said[user, question] = number, order, kept
            elif step == "skip":
                feedback.skip(question, id=id, user=user)
                said[user, question] = "skipped"
            elif step == "withdraw":
                if said.pop((user, question), None) or again:
                    feedback.withdraw_ranking(question, id=id, user=user)
                else:
                    break
            else:
                (quiet.add if step == "quiet" else quiet.discard)(question)
                feedback.set_consent(feedback.message(question).conversation_id, step == "open")
    found = [
        (
            int(one.id.removeprefix(f"{run}-")),
            [[one.answers[place].message_id for place in tier] for tier in one.tiers],
            {answer.message_id: flags for answer, flags in zip(one.answers, one.flags, strict=True) if flags},
            one.user,
            one.question_id,
        )
        for one in feedback.ranked()
        if one.id.startswith(run)
    ]
    counted = {key: value for key, value in said.items() if value != "skipped" and key[1] not in quiet}
    assert found == sorted(((*value, *key) for key, value in counted.items()), key=lambda row: row[0])
    for user in ("ann", "bob"):
        for question, *_ in ids.values():
            state = getattr(feedback.ranking_by(question, user), "state", None)
            wanted = said.get((user, question))
            assert state == (wanted if wanted in (None, "skipped") else "ranked")
