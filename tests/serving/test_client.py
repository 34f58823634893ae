import socket
from collections.abc import Iterator

import pytest

from homeroom.serving.client import Client
from homeroom.settings import HomeroomError
from homeroom.workspace import Workspace

HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"


def ask(client: Client) -> object:
    return client.ask(HELLO, "c", temperature=0.0, max_tokens=20, seed=1)


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_what_a_client_asks_and_votes_is_stored_once(url: str, workspace: Workspace) -> None:
    client = Client(url, workspace.registry.champion() or "", "a program")
    said = client.ask(HELLO, "asked", temperature=0.0, max_tokens=50, seed=1, count=2)
    assert [(one.text, one.ended) for one in said] == 2 * [(HELLO_ANSWER, True)]
    assert len({one.message_id for one in said}) == 2
    for _ in range(2):
        client.vote([(said[1].message_id, 1, "v1")])
    assert [(v.message_id, v.value, v.user) for v in workspace.feedback.votes() if v.question == HELLO] == [
        (said[1].message_id, 1, "a program")
    ]


def test_a_model_that_is_not_served_is_not_answered_for_by_another(url: str) -> None:
    with pytest.raises(HomeroomError, match=r"answered 404: The model 'sft-gone' .* is not served now"):
        ask(Client(url, "sft-gone", "a program"))


def test_a_server_that_is_gone_or_silent_is_said_without_a_traceback(silent: str) -> None:
    with pytest.raises(
        HomeroomError, match=r"127.0.0.1:\d+/v1/chat/completions gave no answer \(.*timed out.*Try again"
    ):
        ask(Client(silent, "m", "a program", timeout=0.2))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(HomeroomError, match=r"gave no answer \(.*refused"):
        ask(Client(f"http://127.0.0.1:{port}", "m", "a program"))
