"""Questions of a file into the annotators' queue, answered by a small model."""

import json
from pathlib import Path

import pytest

from homeroom.serving.queueing import queue_file
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.workspace import PLAN, Plan, Workspace

ALONE = Plan(shared=0.0)
SETTINGS = ServingSettings(max_tokens=12)
HELLO = "Hello, how are you?"


def written(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    return path


def test_questions_are_answered_and_wait_and_are_not_asked_twice(workspace: Workspace, tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "So?"},
    ]
    lines = [
        {"prompt": "Why is it so?"},
        {"messages": turns},
        {"prompt": "Given", "answers": ["one", "two", "three"]},
        {"prompt": "too few", "answers": ["one"]},
        {"messages": turns[:2]},
        "{",
    ]
    file = written(tmp_path / "q.jsonl", *lines)
    done = queue_file(workspace, SETTINGS, file, answers=3, temperature=2.0)
    assert (done.added, done.known, sorted(done.bad)) == (3, 0, [4, 5, 6])
    assert "at least two answers" in done.bad[4]
    assert "the last message is the question" in done.bad[5]
    again = queue_file(workspace, SETTINGS, file, answers=3, temperature=2.0)
    assert (again.added, again.known, sorted(again.bad)) == (0, 3, [4, 5, 6])
    seen = {}
    while item := workspace.queue.next("ann", ALONE):
        seen[item.history[-1]["content"]] = item
        workspace.feedback.rank(item.question_id, [[answer.id for answer in item.answers]], user="ann")
    assert set(seen) == {"Why is it so?", "So?", "Given"}
    assert seen["So?"].history == turns
    assert {answer.text for answer in seen["Given"].answers} == {"one", "two", "three"}
    sampled = [workspace.feedback.message(answer.id) for answer in seen["Why is it so?"].answers]
    champion = workspace.champion()
    assert champion is not None
    assert len({message.text for message in sampled}) == 3
    for message in sampled:
        assert message.model_id == champion.id
        assert message.token_ids
        assert message.sampling is not None
        assert message.sampling["temperature"] == 2.0
    assert workspace.queue.progress("ann", PLAN).ranked == 3


def test_a_model_that_always_says_the_same_gives_nothing_to_rank(workspace: Workspace, tmp_path: Path) -> None:
    file = written(tmp_path / "q.jsonl", {"prompt": HELLO})
    done = queue_file(workspace, SETTINGS.model_copy(update={"max_tokens": 4}), file, answers=2, temperature=0.0)
    assert (done.added, done.bad) == (0, {1: "6 answers all say the same, so there is nothing to rank"})


def test_without_a_model_only_answers_that_were_given_are_queued(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "w") as empty:
        given = written(tmp_path / "given.jsonl", {"prompt": "Given", "answers": ["one", "two"]})
        assert queue_file(empty, SETTINGS, given).added == 1
        with pytest.raises(HomeroomError, match="homeroom import smollm2"):
            queue_file(empty, SETTINGS, written(tmp_path / "asked.jsonl", {"prompt": HELLO}))
        with pytest.raises(HomeroomError, match=r"nowhere\.jsonl cannot be read"):
            queue_file(empty, SETTINGS, tmp_path / "nowhere.jsonl")
