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


def test_only_whose_conversation_it_is_says_whether_it_may_be_learned_from(
    url: str, workspace: Workspace, client: OpenAI
) -> None:
    messages: Any = [{"role": "user", "content": "你好！"}]
    made: Any = client.chat.completions.create(model="homeroom", messages=messages, user="ann")
    httpx.post(f"{url}/v1/feedback/votes", json={"message_id": made.id, "value": 1, "user": "ann"})
    said = {"conversation_id": made.homeroom["conversation_id"], "consent": False}
    for user in ({"user": "bob"}, {}):
        refused = httpx.post(f"{url}/v1/feedback/consent", json=said | user)
        assert (refused.status_code, refused.json()["error"]["param"]) == (404, "conversation_id")
    assert made.id in [vote.message_id for vote in workspace.feedback.votes()]
    reply = httpx.post(f"{url}/v1/feedback/consent", json=said | {"user": "ann"})
    assert reply.json() == {"object": "consent"} | said
    assert made.id not in [vote.message_id for vote in workspace.feedback.votes()]
    unknown = httpx.post(f"{url}/v1/feedback/consent", json=said | {"conversation_id": "none"})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "conversation_id")
    assert httpx.post(f"{url}/v1/feedback/consent", json=said | {"consent": "yes"}).status_code == 400


@pytest.fixture(scope="module")
def four(client: OpenAI) -> list[str]:
    """A question and four answers that differ; the ids of all."""
    messages: Any = [{"role": "user", "content": "How is the idiom 画蛇添足 pronounced?"}]
    made = client.chat.completions.create(model="homeroom", messages=messages, n=4, temperature=2, seed=1, max_tokens=8)
    assert len({choice.message.content for choice in made.choices}) == 4
    place: Any = made.model_extra
    return [place["homeroom"]["question_id"], *place["homeroom"]["answer_ids"]]


def test_an_annotators_round(url: str, workspace: Workspace, four: list[str]) -> None:
    def ask() -> Any:
        return httpx.get(f"{url}/v1/feedback/next", params={"user": "ann"}).json()

    question, *answers = four
    told = ask()
    assert told == ask()
    item = told["item"]
    assert (item["question_id"], {answer["id"] for answer in item["answers"]}) == (question, set(answers))
    assert told["progress"] == {"ranked": 0, "skipped": 0, "waiting": 1}
    assert item["history"][-1] == {"role": "user", "content": "How is the idiom 画蛇添足 pronounced?"}
    skipped = {"question_id": question, "state": "skipped", "user": "ann", "id": "s"}
    assert httpx.post(f"{url}/v1/feedback/rankings", json=skipped).json()["state"] == "skipped"
    assert ask() == {"object": "feedback.next", "item": None, "progress": {"ranked": 0, "skipped": 1, "waiting": 0}}
    undone = {"question_id": question, "state": "withdrawn", "user": "ann", "id": "u"}
    first, retry = [httpx.post(f"{url}/v1/feedback/rankings", json=undone).json() for _ in range(2)]
    assert first == retry
    assert ask()["item"] == item
    ranked = {"question_id": question, "tiers": [answers[:1], answers[1:]], "user": "ann", "id": "r"}
    ranked |= {"flags": {answers[3]: ["untrue"]}, "ideal_answer": "huà shé tiān zú"}
    first, retry = [httpx.post(f"{url}/v1/feedback/rankings", json=ranked).json() for _ in range(2)]
    assert first == retry
    assert (first["object"], first["tiers"], first["flags"]) == ("ranking", ranked["tiers"], ranked["flags"])
    assert ask()["progress"] == {"ranked": 1, "skipped": 0, "waiting": 0}
    (judged,) = workspace.feedback.ranked()
    assert (judged.user, judged.tiers, judged.ideal_answer) == ("ann", [[0], [1, 2, 3]], "huà shé tiān zú")
    assert all(answer.token_ids and answer.model_id and answer.sampling for answer in judged.answers)


def test_a_blind_comparison(url: str, workspace: Workspace, four: list[str]) -> None:
    sides = {"left_id": four[2], "right_id": four[1], "choice": "right", "id": "c", "user": "ann"}
    first, retry = [httpx.post(f"{url}/v1/feedback/comparisons", json=sides).json() for _ in range(2)]
    assert first == retry
    assert (first["object"], first["question_id"], first["kind"]) == ("comparison", four[0], "samples")
    (compared,) = workspace.feedback.compared()
    assert (compared.left.message_id, compared.choice) == (four[2], "right")
    counts = httpx.get(f"{url}/v1/feedback/counts").json()
    assert (counts["rankings"], counts["comparisons"], counts["items"]) == (1, 1, 1)
    assert httpx.get(f"{url}/v1/feedback/next", params={"user": ""}).status_code == 400


@pytest.mark.parametrize(
    ("path", "change", "status", "param"),
    [
        ("rankings", {}, 400, None),  # nothing is ranked
        ("rankings", {"question_id": "nowhere", "tiers": [["a"], ["b"]]}, 404, "question_id"),
        ("rankings", {"tiers": [["nobody"], ["none"]]}, 404, "tiers"),
        ("rankings", {"tiers": [[0], [1]]}, 400, "tiers[0][0]"),
        ("rankings", {"state": "lost"}, 400, "state"),
        ("rankings", {"state": "skipped", "ideal_answer": "x"}, 400, None),
        ("rankings", {"state": "withdrawn", "user": "nobody"}, 404, "question_id"),
        ("rankings", {"flags": {"a": ["dull"]}}, 400, "flags.a[0]"),
        ("rankings", {"ideal_answer": "  "}, 400, "ideal_answer"),
        ("rankings", {"user": "a\0b"}, 400, "user"),
        ("comparisons", {"choice": "both"}, 400, "choice"),
        ("comparisons", {"right_id": "nobody"}, 404, "right_id"),
        ("comparisons", {"kind": "trial"}, 400, None),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused(
    url: str, workspace: Workspace, four: list[str], path: str, change: dict[str, Any], status: int, param: str | None
) -> None:
    whole = {"rankings": {"question_id": four[0]}, "comparisons": {"left_id": four[1], "right_id": four[2]}}
    body = whole[path] | ({"choice": "tie"} if path == "comparisons" else {}) | change
    before = workspace.feedback.counts()
    response = httpx.post(f"{url}/v1/feedback/{path}", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param), response.text
    assert workspace.feedback.counts() == before


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
