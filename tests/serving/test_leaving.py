"""One slot and a model that never ends: whoever leaves must make room."""

import contextlib
import gc
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI, RateLimitError, Stream
from openai.types.chat import ChatCompletionChunk

from homeroom.serving.app import serving
from homeroom.serving.settings import ServingSettings
from homeroom.workspace import Artifact, Workspace

MESSAGES: Any = [{"role": "user", "content": "x"}]


@pytest.fixture(scope="module")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, endless: Path, publish: Callable[[Workspace, Path, str], Artifact]
) -> Workspace:
    workspace = Workspace.open(tmp_path_factory.mktemp("endless"))
    publish(workspace, endless, "endless")
    return workspace


@pytest.fixture(scope="module")
def url(workspace: Workspace) -> Iterator[str]:
    settings = ServingSettings(port=0, slots=1, max_waiting=2, temperature=0.0, max_tokens=4000)
    with serving(workspace, settings) as url:
        yield url


def wait_for_no_work(url: str) -> None:
    deadline = time.monotonic() + 30
    while httpx.get(f"{url}/healthz").json()["answers_in_work"]:
        assert time.monotonic() < deadline, "the slot was not freed within 30 s"
        time.sleep(0.02)


def begin(client: OpenAI) -> Stream[ChatCompletionChunk]:
    return client.chat.completions.create(model="homeroom", messages=MESSAGES, stream=True)


def test_a_client_that_leaves_a_stream_frees_its_slot_and_what_was_written_is_stored(
    client: OpenAI, url: str, workspace: Workspace
) -> None:
    stream = begin(client)
    chunks = [next(stream) for _ in range(5)]
    assert httpx.get(f"{url}/healthz").json()["answers_in_work"] == 1
    stream.close()
    wait_for_no_work(url)
    short = client.chat.completions.create(model="homeroom", messages=MESSAGES, max_tokens=3)
    assert short.choices[0].finish_reason == "length"
    stored = workspace.feedback.message(chunks[0].id)
    assert stored.finish_reason == "cancelled"
    assert stored.text.startswith("".join(chunk.choices[0].delta.content or "" for chunk in chunks))


def test_a_client_that_does_not_wait_for_the_whole_answer_frees_its_slot(url: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/chat/completions", json={"model": "homeroom", "messages": MESSAGES}, timeout=0.3)
    wait_for_no_work(url)


def test_a_client_that_does_not_wait_for_several_answers_frees_all_their_slots(url: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/chat/completions", json={"model": "homeroom", "messages": MESSAGES, "n": 2}, timeout=0.3)
    wait_for_no_work(url)


def answers_counted(url: str) -> dict[str, float]:
    counted = httpx.get(f"{url}/metrics").text
    return {
        reason: float(n)
        for reason, n in re.findall(r'homeroom_answers_total\{finish_reason="(\w+)".*\} (\S+)', counted)
    }


@pytest.mark.parametrize("stream", [True, False])
def test_a_completion_whose_client_leaves_is_counted_as_cancelled_and_logged_as_nothing(
    url: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    before = answers_counted(url)
    body = {"model": "homeroom", "prompt": "x", "max_tokens": 4000, "stream": stream}
    leaving = contextlib.nullcontext() if stream else pytest.raises(httpx.ReadTimeout)
    with leaving, httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=0.3) as reply:
        next(reply.iter_lines())
    wait_for_no_work(url)
    deadline = time.monotonic() + 10
    while answers_counted(url).get("cancelled", 0) == before.get("cancelled", 0):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert answers_counted(url).get("error", 0) == before.get("error", 0)
    gc.collect()
    assert not caplog.records


def test_of_more_answers_than_there_is_room_for_none_begins(url: str, workspace: Workspace) -> None:
    before = workspace.feedback.counts()
    more = {"n": 3, "homeroom": {"conversation_id": "refused"}}
    reply = httpx.post(f"{url}/v1/chat/completions", json={"model": "homeroom", "messages": MESSAGES, **more})
    assert reply.status_code == 400  # to come back would not help
    assert "asks for 3 answers; at most 2 may" in reply.json()["error"]["message"]
    assert httpx.get(f"{url}/healthz").json()["answers_in_work"] == 0
    assert workspace.feedback.counts() == before


def test_too_many_are_told_to_come_back(client: OpenAI, url: str) -> None:
    streams = [begin(client) for _ in range(2)]
    with pytest.raises(RateLimitError, match="already in work or waiting") as refused:
        client.chat.completions.create(model="homeroom", messages=MESSAGES)
    assert refused.value.code == "too_many_requests"
    assert int(refused.value.response.headers["retry-after"]) >= 1
    counted = httpx.get(f"{url}/metrics").text
    assert "homeroom_answers_in_work 1.0" in counted
    assert "homeroom_answers_waiting 1.0" in counted
    assert re.search(r'homeroom_refused_total{reason="queue_full"} [1-9]', counted)
    for stream in streams:
        stream.close()
    wait_for_no_work(url)
