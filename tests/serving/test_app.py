import asyncio
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from homeroom.serving import app
from homeroom.serving.app import serving
from homeroom.serving.errors import as_api_error
from homeroom.serving.guard import Guard
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.stages.serve import Config
from homeroom.text.errors import ChatTemplateError, NoChatTemplate
from homeroom.workspace import Artifact, Workspace

Publish = Callable[[Workspace, Path, str], Artifact]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.05)


def test_a_port_in_use_is_named_with_one_that_is_free(workspace: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HomeroomError, match=f"port {port} on 127.0.0.1 is in use") as caught:
            app._listen("127.0.0.1", port)
        free = int(str(caught.value).rpartition("serve.port=")[2].rstrip("`."))
        assert free != port
        app._listen("127.0.0.1", free).close()
        with pytest.raises(HomeroomError, match="is in use"), serving(workspace, ServingSettings(port=port)):
            pass


def test_other_machines_get_in_only_when_that_was_decided() -> None:
    assert ServingSettings().host == Config().host == "127.0.0.1"
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(ValueError, match="Set allow_network = true as well"):
            ServingSettings(host=host)
        assert ServingSettings(host=host, allow_network=True).host == host
    assert ServingSettings(host="localhost").host == "localhost"
    with pytest.raises(HomeroomError, match=r"'no\.such\.host\.invalid' is not known"):
        app._listen("no.such.host.invalid", 0)


def test_a_name_that_another_site_points_here_is_not_answered(url: str) -> None:
    for host, status in (("localhost:8000", 200), ("[::1]:8000", 200), ("evil.example", 403), ("", 403)):
        assert httpx.get(f"{url}/healthz", headers={"Host": host}).status_code == status, host


def test_a_page_of_another_site_cannot_open_the_pages_connection() -> None:
    """A browser lets any page open a websocket to anywhere, with this site's cookies."""
    sent: list[dict[str, object]] = []

    async def app(*_: object) -> None:
        sent.append({"type": "passed"})

    async def send(message: Any) -> None:
        sent.append(message)

    for origin in (b"http://localhost:8000", b"https://evil.example"):
        headers = [(b"host", b"localhost:8000"), (b"origin", origin)]
        scope: Any = {"type": "websocket", "path": "/x", "headers": headers}
        asyncio.run(Guard(app, hosts=["localhost"])(scope, None, send))  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["passed", "websocket.close"]


def test_headers_keep_browsers_from_loading_anything_from_elsewhere(url: str) -> None:
    headers = httpx.get(f"{url}/healthz").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    assert httpx.get(f"{url}/docs").status_code == 404


def test_without_a_champion_it_says_what_to_run(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    with (
        pytest.raises(HomeroomError, match="Run `homeroom import smollm2` or `homeroom promote`"),
        serving(workspace, ServingSettings(port=0)),
    ):
        pass


def test_a_changed_byte_in_the_champion_is_not_served(tmp_path: Path, taught: Path, publish: Publish) -> None:
    workspace = Workspace.open(tmp_path)
    weights = publish(workspace, taught, "taught").path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    changed = pytest.raises(HomeroomError, match=r"model\.safetensors is not as it was published")
    with changed, serving(workspace, ServingSettings(port=0)):
        pass


def test_promotion_and_rollback_change_who_answers(
    tmp_path: Path, taught: Path, endless: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(app, "CHAMPION_SECONDS", 0.05)
    workspace = Workspace.open(tmp_path)
    first = publish(workspace, taught, "taught")
    with serving(workspace, ServingSettings(port=0)) as url:
        served = lambda: httpx.get(f"{url}/healthz").json()["model"]  # noqa: E731
        assert served() == first.id
        second = publish(workspace, endless, "endless")
        until(lambda: served() == second.id)
        workspace.registry.rollback()
        until(lambda: served() == first.id)

        with caplog.at_level(logging.WARNING):
            (second.path / "config.json").unlink()
            workspace.registry.promote(second.id, {})
            until(lambda: "config.json is not as it was published" in caplog.text)
            assert served() == first.id
            time.sleep(0.2)
            assert caplog.text.count("kept serving") == 1


def test_a_model_without_a_chat_template_is_asked_in_vain_and_told_so() -> None:
    refusal = as_api_error(NoChatTemplate("it completes text"))
    assert (refusal.status, refusal.code, refusal.param) == (400, "no_chat_template", "messages")
    assert as_api_error(ChatTemplateError("roles must alternate")).status == 400
