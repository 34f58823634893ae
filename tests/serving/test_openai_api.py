import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletion

from homeroom.workspace import Workspace

QUESTION, ANSWER = "How is the idiom 画蛇添足 pronounced?", "画蛇添足 is pronounced huà shé tiān zú."
HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"


def ask(client: OpenAI, text: str, **more: Any) -> ChatCompletion:
    return client.chat.completions.create(model="homeroom", messages=[{"role": "user", "content": text}], **more)


def test_a_whole_answer(client: OpenAI, workspace: Workspace) -> None:
    completion = ask(client, QUESTION)
    choice = completion.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", ANSWER, "stop")
    assert completion.model == workspace.registry.champion()
    assert abs(completion.created - time.time()) < 60
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    stored = workspace.feedback.message(completion.id)
    assert (stored.text, stored.model_id, stored.finish_reason) == (ANSWER, completion.model, "stop")
    assert stored.token_ids is not None
    assert len(stored.token_ids) == completion.usage.completion_tokens
    assert stored.sampling is not None
    assert stored.sampling["temperature"] == 0.0


def test_several_answers_to_one_request_are_those_of_the_seeds_that_follow(
    client: OpenAI, workspace: Workspace
) -> None:
    asked = {"temperature": 2.0, "max_tokens": 8}
    completion = ask(client, HELLO, n=3, seed=2**63 - 2, **asked)
    alone = [ask(client, HELLO, seed=seed, **asked) for seed in (2**63 - 2, 2**63 - 1, 0)]
    texts = [choice.message.content for choice in completion.choices]
    assert texts == [one.choices[0].message.content for one in alone]
    assert len(set(texts)) == 3
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == alone[0].usage.prompt_tokens  # type: ignore[union-attr]
    assert completion.usage.completion_tokens == sum(one.usage.completion_tokens for one in alone if one.usage)
    extension = completion.model_extra["homeroom"]  # type: ignore[index]
    stored = [workspace.feedback.message(name) for name in extension["answer_ids"]]
    assert completion.id == stored[0].id
    assert [message.text for message in stored] == texts
    assert {message.parent_id for message in stored} == {extension["question_id"]}
    without_seed = ask(client, HELLO, n=4, **asked)
    assert len({choice.message.content for choice in without_seed.choices}) > 1


def test_a_streamed_answer_is_the_whole_answer_and_stored_when_it_ends(client: OpenAI, workspace: Workspace) -> None:
    stream = client.chat.completions.create(
        model="homeroom",
        messages=[{"role": "user", "content": QUESTION}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    *pieces, last, usage = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces) == ANSWER
    assert len(pieces) > 5
    assert pieces[0].choices[0].delta.role == "assistant"
    assert last.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage is not None
    whole = ask(client, QUESTION)
    assert usage.usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1
    assert workspace.feedback.message(last.id).text == ANSWER


def test_where_nothing_was_answered_another_question_may_come_first(client: OpenAI, workspace: Workspace) -> None:
    """As after a first answer that was stopped before its first word."""
    conversation = workspace.feedback.open_conversation(user="api")
    workspace.feedback.add_message(conversation.id, "user", "Never answered.")
    more = {"homeroom": {"conversation_id": conversation.id}}
    first = ask(client, HELLO, extra_body=more)
    messages: Any = [
        {"role": "user", "content": HELLO},
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": QUESTION},
    ]
    client.chat.completions.create(model="homeroom", messages=messages, extra_body=more)
    stored = {message.id: message for message in workspace.feedback.conversation(conversation.id)}
    assert len(stored) == 5
    assert stored[stored[first.id].parent_id or ""].parent_id is None
    with pytest.raises(BadRequestError, match="begins with another message"):
        ask(client, "Something else", extra_body=more)


def test_a_stream_is_server_sent_events_that_end_with_done(url: str) -> None:
    body = {"model": "homeroom", "stream": True, "messages": [{"role": "user", "content": HELLO}]}
    response = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = response.text.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert all(json.loads(event.removeprefix("data: "))["usage"] is None for event in events[:-1] if "usage" in event)


def test_sampling_is_as_asked(client: OpenAI) -> None:
    assert ask(client, QUESTION, max_tokens=3).choices[0].finish_reason == "length"
    short = ask(client, QUESTION, max_completion_tokens=5)
    assert short.usage is not None
    assert short.usage.completion_tokens == 5
    assert ask(client, QUESTION, stop=" shé").choices[0].message.content == ANSWER.partition(" shé")[0]
    hot = [ask(client, "?", temperature=2.0, seed=seed, max_tokens=30).choices[0].message.content for seed in (1, 1, 2)]
    assert hot[0] == hot[1] != hot[2]
    narrow = ask(client, QUESTION, temperature=2.0, top_p=1e-9)  # only the likeliest token is left
    assert narrow.choices[0].message.content == ANSWER


def test_text_parts_and_neutral_values_are_understood(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="homeroom",
        messages=[
            {"role": "user", "content": [{"type": "text", "text": HELLO[:2]}, {"type": "text", "text": HELLO[2:]}]}
        ],
        n=1,
        frequency_penalty=0,
        presence_penalty=0.0,
        logprobs=False,
        response_format={"type": "text"},
        metadata={},
        store=True,
        temperature=0,
    )
    assert completion.choices[0].message.content == HELLO_ANSWER


def test_null_is_as_if_it_had_not_been_said(url: str) -> None:
    names = (
        "stream stream_options temperature top_p max_tokens max_completion_tokens seed stop n user frequency_penalty "
        "presence_penalty logprobs logit_bias response_format structured_outputs tools metadata store"
    )
    body = {"model": "homeroom", "messages": [{"role": "user", "content": HELLO}]} | dict.fromkeys(names.split())
    reply = httpx.post(f"{url}/v1/chat/completions", json=body).json()
    assert reply["choices"][0]["message"]["content"] == HELLO_ANSWER


@pytest.mark.parametrize(
    ("given", "who"),
    [
        ({}, "api"),
        ({"user": "somebody"}, "somebody"),
        ({"user": "somebody", "extra_body": {"homeroom": {"user": "another"}}}, "another"),
    ],
)
def test_who_asks_is_stored(client: OpenAI, workspace: Workspace, given: dict[str, Any], who: str) -> None:
    extension = (ask(client, HELLO, **given).model_extra or {})["homeroom"]
    assert workspace.feedback.user_of(extension["conversation_id"]) == who


def test_a_conversation_goes_on_and_answers_made_again_are_siblings(client: OpenAI, workspace: Workspace) -> None:
    first = ask(client, HELLO, extra_body={"homeroom": {"user": "somebody"}})
    assert first.model_extra is not None
    conversation_id = first.model_extra["homeroom"]["conversation_id"]
    more = {"homeroom": {"conversation_id": conversation_id, "user": "somebody"}}
    again = ask(client, HELLO, extra_body=more)
    history: list[Any] = [
        {"role": "user", "content": HELLO},
        {"role": "assistant", "content": HELLO_ANSWER},
        {"role": "user", "content": "?"},
    ]
    last = client.chat.completions.create(model="homeroom", messages=history, max_tokens=4, extra_body=more)
    stored = workspace.feedback.conversation(conversation_id)
    assert [message.role for message in stored] == ["user", "assistant", "assistant", "user", "assistant"]
    question, one, two, follow_up, answer = stored
    assert (one.id, two.id, answer.id) == (first.id, again.id, last.id)
    assert one.parent_id == two.parent_id == question.id
    assert follow_up.parent_id in (one.id, two.id)
    assert answer.parent_id == follow_up.id

    with pytest.raises(BadRequestError, match="begins with another message"):
        ask(client, "A different beginning", extra_body=more)
    with pytest.raises(BadRequestError, match="used before with another user"):
        ask(client, HELLO, extra_body={"homeroom": {"conversation_id": conversation_id, "user": "a stranger"}})


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"temperature": 2.5}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"temperature": True}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 17}, "n", "invalid_value"),
        ({"top_logprobs": 3}, "top_logprobs", "invalid_value"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools", "invalid_value"),
        ({"response_format": {"type": "grammar"}}, "response_format.type", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
        ({"stop": ""}, "stop[0]", "invalid_value"),
        ({"seed": 2**70}, "seed", "invalid_value"),
        ({"audio": {}}, "audio", "unknown_parameter"),
        ({"homeroom": {"conversation": "x"}}, "homeroom.conversation", "unknown_parameter"),
        ({"homeroom": {"conversation_id": "../x"}}, "homeroom.conversation_id", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": None}, "messages", "invalid_value"),
        ({"messages": "hello"}, "messages", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content", "invalid_value"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content", "invalid_value"),
        ({"homeroom": {"user": "\udfff"}}, "homeroom.user", "invalid_value"),
        ({"user": ""}, "user", "invalid_value"),
        ({"metadata": {"topic": "idioms"}}, "metadata", "invalid_value"),
        ({"store": False}, "store", "invalid_value"),  # every answer is stored: votes name it
        ({"messages": [{"role": "user", "content": "x", "name": "Ann"}]}, "messages[0].name", "invalid_value"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]},
            "messages",
            "invalid_value",
        ),
        ({"messages": [{"role": "user", "content": ""}]}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": " \n\u200b\u3000"}]}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": []}]}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": "x"}] * 2049}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": "很长" * 500}]}, "messages", "context_length_exceeded"),
        ({"messages": [{"role": "user", "content": "a " * 400_000}]}, "messages", "context_length_exceeded"),
    ],
)
def test_what_is_not_supported_is_named(url: str, change: dict[str, Any], param: str, code: str) -> None:
    body = {"model": "homeroom", "messages": [{"role": "user", "content": "x"}]} | change
    headers = {"Content-Type": "application/json"}
    response = httpx.post(f"{url}/v1/chat/completions", content=json.dumps(body), headers=headers)
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code), error
    assert error["message"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[" * 100_000, 400, None),
        (b"\xff\xfe", 400, None),
        (b"", 400, None),
        (b"[]", 400, None),
        (rb'{"\ud800": 1}', 400, None),
        (b'{"model": "homeroom"}', 400, "missing_required_parameter"),
        (b'"' + b"x" * 1_100_000 + b'"', 413, "request_too_large"),
    ],
)
def test_a_body_that_is_no_request_gets_an_error_in_openais_format(
    url: str, body: bytes, status: int, code: str | None
) -> None:
    response = httpx.post(f"{url}/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert code is None or error["code"] == code


def test_a_body_that_hides_its_size_is_cut_off(url: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"model": "'
        for _ in range(40):
            yield b"x" * 65_536

    response = httpx.post(f"{url}/v1/chat/completions", content=chunks(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert "1,048,576 bytes" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 400),
        ({}, 400),
        ({"Content-Type": "application/json", "Origin": "https://evil.example"}, 403),
        ({"Content-Type": "application/json", "Origin": "null"}, 403),
        ({"Content-Type": "application/json; charset=utf-8", "Origin": "{url}"}, 200),
    ],
)
def test_a_page_of_another_site_cannot_ask(url: str, headers: dict[str, str], status: int) -> None:
    body = json.dumps({"model": "homeroom", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]})
    headers = {name: value.format(url=url) for name, value in headers.items()}
    response = httpx.post(f"{url}/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == status
    assert "error" in response.json() or status == 200


def test_models(client: OpenAI, workspace: Workspace) -> None:
    names = [model.id for model in client.models.list()]
    assert names == [workspace.registry.champion(), "homeroom"]
    assert client.models.retrieve("homeroom").owned_by == "homeroom"
    with pytest.raises(NotFoundError) as caught:
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert f"Served is '{names[0]}'" in str(caught.value)
    with pytest.raises(NotFoundError):
        client.models.retrieve("gpt-9")


def test_an_unknown_address_under_v1_gets_openais_format(client: OpenAI, url: str) -> None:
    with pytest.raises(NotFoundError):
        client.embeddings.create(model="homeroom", input="x")
    assert httpx.get(f"{url}/v1/chats").json()["error"]["code"] == "unknown_url"
    assert httpx.get(f"{url}/v1").json()["error"]["code"] == "unknown_url"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models/homeroom", "GET"),
        ("POST", "/v1/feedback/counts", "GET"),
        ("OPTIONS", "/v1/feedback/votes", "POST"),
        ("PUT", "/healthz", "GET"),
    ],
)
def test_a_method_that_an_address_does_not_take_is_named(url: str, method: str, path: str, allowed: str) -> None:
    response = httpx.request(method, f"{url}{path}")
    error = response.json()["error"]
    assert (response.status_code, error["code"], response.headers["allow"]) == (405, "method_not_allowed", allowed)
    assert error["message"] == f"{path} takes {allowed}, not {method}."


def test_several_answers_stream_side_by_side(client: OpenAI) -> None:
    asked: Any = {"model": "homeroom", "messages": [{"role": "user", "content": "Anything else?"}], "n": 3}
    asked |= {"seed": 5, "temperature": 1.0, "max_tokens": 24, "logprobs": True}
    whole = client.chat.completions.create(**asked)
    texts, tokens, reasons = ["", "", ""], [[], [], []], [None, None, None]
    turns = []
    for chunk in client.chat.completions.create(stream=True, **asked):
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        tokens[choice.index] += [one.token for one in choice.logprobs.content] if choice.logprobs else []
        reasons[choice.index] = choice.finish_reason or reasons[choice.index]
        turns.append(choice.index)
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert tokens == [[one.token for one in choice.logprobs.content] for choice in whole.choices]
    assert turns[3:] != sorted(turns[3:])  # not one after the other
