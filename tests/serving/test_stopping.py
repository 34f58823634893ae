"""How a server ends, in a process of its own: signals, exit code, what clients see and what is stored."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import APIError, InternalServerError, OpenAI

from homeroom.workspace import Workspace

LONG: Any = [{"role": "user", "content": "x"}]
Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def own(tmp_path: Path, endless: Path, publish: Any) -> Workspace:
    workspace = Workspace.open(tmp_path)
    publish(workspace, endless, "endless")
    return workspace


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 60 s"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_finished_what_is_new_is_refused(start: Start, own: Workspace, number: signal.Signals) -> None:
    process, url = start(own)
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(model="homeroom", messages=LONG, stream=True, max_tokens=600)
        chunks = [next(stream) for _ in range(3)]
        process.send_signal(number)
        until(lambda: httpx.get(f"{url}/healthz").status_code == 503)
        health = httpx.get(f"{url}/healthz").json()
        assert (health["status"], health["answers_in_work"]) == ("stopping", 1)
        with pytest.raises(InternalServerError, match="The server is stopping") as refused:
            client.chat.completions.create(model="homeroom", messages=LONG)
        assert (refused.value.status_code, refused.value.code) == (503, "stopping")
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 30
        for path in ("v1/models", "v1/nothing", ""):
            assert httpx.get(f"{url}/{path}").status_code == 503, path
        assert 'homeroom_refused_total{reason="stopping"} 4.0' in httpx.get(f"{url}/metrics").text
        chunks += list(stream)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert process.wait(10) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")
    stored = own.feedback.message(chunks[0].id)
    assert (stored.finish_reason, len(stored.token_ids or [])) == ("length", 600)
    assert stored.text == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_with_nothing_to_finish_it_ends_at_once(start: Start, own: Workspace) -> None:
    process, url = start(own)
    with httpx.Client() as kept_alive:
        assert kept_alive.get(f"{url}/healthz").status_code == 200
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("how", ["when the time is over", "at a second signal"])
def test_an_answer_that_is_cut_short_says_so_and_is_stored(start: Start, own: Workspace, how: str) -> None:
    process, url = start(own, shutdown_seconds=0.5 if how == "when the time is over" else 600)
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(model="homeroom", messages=LONG, stream=True)
        chunks = [next(stream) for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        if how == "at a second signal":
            until(lambda: httpx.get(f"{url}/healthz").status_code == 503)
            process.send_signal(signal.SIGTERM)
        with pytest.raises(APIError, match="The server is stopping"):
            chunks.extend(stream)  # up to where it broke off
    assert process.wait(15) == 0
    stored = own.feedback.message(chunks[0].id)
    assert stored.finish_reason == "cancelled"
    assert stored.text == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
