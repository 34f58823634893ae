import json
from typing import Any

import httpx
import pytest
from openai import OpenAI

from homeroom.workspace import Workspace


@pytest.fixture(scope="module")
def answered(client: OpenAI) -> str:
    messages: Any = [{"role": "user", "content": "你好！"}]
    return client.chat.completions.create(model="homeroom", messages=messages).id


def test_a_vote_that_is_sent_twice_counts_once_and_the_newest_counts(
    url: str, workspace: Workspace, answered: str
) -> None:
    vote = {"id": "vote-1", "message_id": answered, "value": -1, "user": "rater"}
    first, retry = [httpx.post(f"{url}/v1/feedback/votes", json=vote).json() for _ in range(2)]
    assert first == retry
    assert (first["object"], first["id"], first["value"], first["user"]) == ("vote", "vote-1", -1, "rater")
    assert httpx.post(f"{url}/v1/feedback/votes", json=vote | {"id": "vote-2", "value": 1}).status_code == 200
    [judged] = workspace.feedback.votes()
    assert (judged.question, judged.value, judged.user) == ("你好！", 1, "rater")
    counts = httpx.get(f"{url}/v1/feedback/counts").json()
    assert (counts["votes"], counts["up"], counts["down"]) == (1, 1, 0)
    withdrawn = httpx.post(f"{url}/v1/feedback/votes", json=vote | {"id": "vote-3", "value": 0}).json()
    assert withdrawn["value"] == 0
    assert httpx.get(f"{url}/v1/feedback/counts").json()["votes"] == 0
    httpx.post(f"{url}/v1/feedback/votes", json=vote | {"id": "vote-4", "value": 1})


def test_votes_sent_together_are_recorded_all_or_not_at_all(url: str, workspace: Workspace, answered: str) -> None:
    votes = [{"message_id": answered, "value": value, "id": f"batch-{value}"} for value in (-1, 1)]
    before = workspace.feedback.counts()
    unknown = {"message_id": "nobody-said-this", "value": 1}
    response = httpx.post(f"{url}/v1/feedback/votes/batch", json={"votes": [*votes, unknown], "user": "several"})
    assert (response.status_code, response.json()["error"]["param"]) == (404, "message_id")
    assert workspace.feedback.counts() == before
    first, retry = [
        httpx.post(f"{url}/v1/feedback/votes/batch", json={"votes": votes, "user": "several"}).json() for _ in range(2)
    ]
    assert first == retry
    assert [(one["id"], one["value"], one["user"]) for one in first["data"]] == [
        ("batch--1", -1, "several"),
        ("batch-1", 1, "several"),
    ]
    assert [vote.value for vote in workspace.feedback.votes() if vote.user == "several"] == [1]


def test_a_better_answer(url: str, workspace: Workspace, answered: str) -> None:
    edit = {"message_id": answered, "text": "  你好！有什么可以帮你？ ", "user": "rater"}
    reply = httpx.post(f"{url}/v1/feedback/edits", json=edit).json()
    assert (reply["object"], reply["text"]) == ("edit", edit["text"])
    assert [vote.better_answer for vote in workspace.feedback.votes() if vote.user == "rater"] == [edit["text"]]


@pytest.mark.parametrize(
    ("path", "change", "status", "param"),
    [
        ("votes", {"value": 2}, 400, "value"),
        ("votes", {"value": False}, 400, "value"),
        ("votes", {"value": True}, 400, "value"),
        ("votes", {"value": "1"}, 400, "value"),
        ("votes", {"message_id": "nobody-said-this"}, 404, "message_id"),
        ("votes", {"id": "has space"}, 400, "id"),
        ("votes", {"id": "vote-1", "value": -1}, 400, None),  # that id named another vote
        ("votes", {"user": ""}, 400, "user"),
        ("votes", {"stars": 5}, 400, "stars"),
        ("votes/batch", {"votes": []}, 400, "votes"),
        ("votes/batch", {"votes": [{"message_id": "m", "value": 2}]}, 400, "votes[0].value"),
        ("edits", {"text": "  \n"}, 400, "text"),
        ("edits", {"text": 5}, 400, "text"),
        ("edits", {"message_id": "nobody-said-this"}, 404, "message_id"),
    ],
)
def test_feedback_that_cannot_be_meant_is_refused(
    url: str, workspace: Workspace, answered: str, path: str, change: dict[str, Any], status: int, param: str | None
) -> None:
    whole = {"votes": {"value": 1}, "edits": {"text": "x"}}
    body = ({"message_id": answered} | whole[path] if path in whole else {}) | change
    before = workspace.feedback.counts()
    response = httpx.post(f"{url}/v1/feedback/{path}", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param), response.text
    assert workspace.feedback.counts() == before


def test_only_answers_are_judged(url: str, workspace: Workspace, answered: str) -> None:
    question = workspace.feedback.message(answered).parent_id
    response = httpx.post(f"{url}/v1/feedback/votes", content=json.dumps({"message_id": question, "value": 1}))
    assert response.status_code == 400
    response = httpx.post(f"{url}/v1/feedback/votes", json={"message_id": question, "value": 1})
    assert "only the assistant's answers are judged" in response.json()["error"]["message"]
