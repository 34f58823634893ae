"""Who gets in: over HTTP, with keys that are made and revoked while the server runs."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AuthenticationError, OpenAI, RateLimitError
from starlette.types import Message

from homeroom.serving import access
from homeroom.serving.access import Access, Caller, recorded_as
from homeroom.serving.app import no_page, serving
from homeroom.serving.errors import ApiError
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.workspace import Workspace

HELLO: Any = [{"role": "user", "content": "你好！"}]


@pytest.fixture
def own(tmp_path: Path, taught: Path, publish: Any) -> Workspace:
    """A workspace whose keys are this test's own."""
    workspace = Workspace.open(tmp_path)
    publish(workspace, taught, "taught")
    return workspace


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_from_the_first_key_on_the_api_answers_only_to_keys(own: Workspace) -> None:
    with serving(own, ServingSettings(port=0, temperature=0.0, max_tokens=4)) as url:
        assert httpx.get(f"{url}/v1/models", headers=bearer("anything")).status_code == 200
        key = own.keys.create("ann")
        for headers in ({}, bearer("wrong"), bearer(key[:-1]), {"Authorization": "Bearer"}, {"Authorization": key}):
            for method, path in (("GET", "models"), ("POST", "chat/completions"), ("GET", "nothing"), ("GET", "")):
                response = httpx.request(method, f"{url}/v1/{path}", headers=headers)
                error = response.json()["error"]
                assert (response.status_code, error["code"], error["type"]) == (
                    401,
                    "invalid_api_key",
                    "invalid_request_error",
                )
                assert response.headers["www-authenticate"].startswith("Bearer")
                assert "homeroom keys create" in error["message"]
        for path in ("healthz", "metrics"):
            assert httpx.get(f"{url}/{path}").status_code == 200
        with (
            OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as client,
            pytest.raises(AuthenticationError, match="mistyped, revoked, or has expired"),
        ):
            client.models.list()
        with OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            completion = client.chat.completions.create(model="homeroom", messages=HELLO)
            vote = {"message_id": completion.id, "value": 1}
            assert httpx.post(f"{url}/v1/feedback/votes", json=vote, headers=bearer(key)).json()["user"] == "ann"
            batch = httpx.post(f"{url}/v1/feedback/votes/batch", json={"votes": [vote]}, headers=bearer(key)).json()
            assert batch["data"][0]["user"] == "ann"
            edit = {"message_id": completion.id, "text": "better", "user": "somebody"}
            assert httpx.post(f"{url}/v1/feedback/edits", json=edit, headers=bearer(key)).json()["user"] == "somebody"
            assert own.feedback.conversations(1)[0].user == "ann"
            own.keys.revoke("ann")
            with pytest.raises(AuthenticationError):
                client.models.list()


def test_a_key_can_be_required_before_there_is_one_or_never(own: Workspace) -> None:
    with serving(own, ServingSettings(port=0, require_key=True)) as url:
        assert httpx.get(f"{url}/v1/models").status_code == 401
    own.keys.create("ann")
    with serving(own, ServingSettings(port=0, require_key=False)) as url:
        assert httpx.get(f"{url}/v1/models").status_code == 200


def test_beyond_this_machine_it_starts_only_with_a_key_or_when_openness_was_asked_for(own: Workspace) -> None:
    settings = ServingSettings(host="0.0.0.0", port=0, allow_network=True)
    for _ in range(2):  # no key, and one that is valid no more
        with pytest.raises(
            HomeroomError, match=r"Run `homeroom users create me --role operate` first.*allow_open_network"
        ):
            serving(own, settings).__enter__()
        own.keys.create("me")
        own.keys.revoke("me")
    with pytest.raises(ValueError, match="Set allow_open_network = true as well"):
        ServingSettings(host="0.0.0.0", allow_network=True, require_key=False)
    key = own.keys.create("me")
    with serving(own, settings) as url:
        assert httpx.get(f"{url}/healthz").status_code == 200
        for path in (
            "v1/models",
            "metrics",
            "",
            "openapi.json",
            "sign-out",
            "_nicegui_ws/socket.io/?transport=polling",
        ):
            assert httpx.get(f"{url}/{path}").status_code == 401, path
            assert httpx.get(f"{url}/{path}", headers=bearer(key)).status_code != 401, path
    own.keys.revoke("me")


def test_an_open_network_is_open_until_a_key_is_made(own: Workspace) -> None:
    settings = ServingSettings(host="0.0.0.0", port=0, allow_network=True, allow_open_network=True)
    with serving(own, settings) as url:
        response = httpx.get(f"{url}/v1/models")
        assert response.status_code == 200
        assert response.headers["x-ratelimit-limit-requests"] == "120"
        own.keys.create("me")
        assert httpx.get(f"{url}/v1/models").status_code == 401


def test_a_caller_who_asks_too_often_is_told_when_to_come_back(own: Workspace) -> None:
    ann, bob = own.keys.create("ann"), own.keys.create("bob")
    with serving(own, ServingSettings(port=0, requests_per_minute=2)) as url:
        replies = [httpx.get(f"{url}/v1/models", headers=bearer(ann)) for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200, 200, 429]
        assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["1", "0", "0"]
        assert all(reply.headers["x-ratelimit-limit-requests"] == "2" for reply in replies)
        assert re.fullmatch(r"[\d.]+m?s|1m0s", replies[2].headers["x-ratelimit-reset-requests"])
        assert 25 <= int(replies[2].headers["retry-after"]) <= 30
        assert replies[2].json()["error"]["code"] == "rate_limit_exceeded"
        assert httpx.get(f"{url}/v1/models", headers=bearer(bob)).status_code == 200
        assert httpx.get(f"{url}/healthz").status_code == 200
        with OpenAI(base_url=f"{url}/v1", api_key=ann, max_retries=0) as client, pytest.raises(RateLimitError):
            client.models.list()
        wrong = [httpx.get(f"{url}/v1/models").status_code for _ in range(4)]
        assert wrong == [401] * 4  # who has no key has no share
        assert 'homeroom_refused_total{reason="rate"} 2.0' in httpx.get(f"{url}/metrics").text


def test_the_largest_body_is_a_setting(own: Workspace) -> None:
    with serving(own, ServingSettings(port=0, max_body_bytes=2000)) as url:
        body = {"model": "homeroom", "messages": [{"role": "user", "content": "x" * 2000}]}
        response = httpx.post(f"{url}/v1/chat/completions", json=body)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
        assert "2,000 bytes" in response.json()["error"]["message"]


def test_a_pages_connection_ends_soon_after_its_key(own: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "RECHECK_SECONDS", 0.0)
    secret = own.keys.create("ann")
    settings = ServingSettings(host="0.0.0.0", port=0, allow_network=True)
    received: list[str] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            received.append((await receive())["type"])
            own.keys.revoke("ann") if own.keys.valid() else None

    async def receive() -> Message:
        return {"type": "websocket.receive", "text": "x"}

    async def send(message: Message) -> None:
        received.append(f"{message['type']} {message.get('code')}")

    class Running:
        stopping = False

    async def connect(headers: list[tuple[bytes, bytes]]) -> None:
        door = Access(page, settings, own, Running(), no_page)  # type: ignore[arg-type]
        scope: Any = {"type": "websocket", "path": "/_nicegui_ws/", "headers": headers}
        await door(scope, receive, send)

    asyncio.run(connect([(b"authorization", f"Bearer {secret}".encode())]))
    assert received == ["websocket.receive", "websocket.disconnect"]
    received.clear()
    asyncio.run(connect([]))
    assert received == ["websocket.close 1008"]


def test_a_stranger_on_an_open_server_is_nobody_who_has_a_say(own: Workspace) -> None:
    own.users.create("ann", "operate", "seven grey otters hum")
    stranger = {"caller": Caller(None, "talk"), "users": own.users}
    assert [recorded_as(stranger, name, "api") for name in (None, "rater 7")] == ["api", "rater 7"]
    for person in ("ann", "local"):
        with pytest.raises(ApiError, match="who asks is nobody"):
            recorded_as(stranger, person, "api")
    at_home = {"caller": Caller(None, "operate"), "users": own.users}
    assert recorded_as(at_home, "local", "api") == "local"
