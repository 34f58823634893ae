"""The table of roles: every address of the API has a row, and what has none is shut."""

import httpx
import pytest

from homeroom.serving.roles import NEEDED, needed, row_of
from homeroom.workspace.users import ROLES


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("/", "talk"),
        ("/c/2f", "talk"),
        ("/cat", "operate"),
        ("/c", "talk"),
        ("/_nicegui_ws/socket.io/", "talk"),
        ("/_nicegui_other", "operate"),
        ("/v1/chat/completions", "talk"),
        ("/v1/nothing", "talk"),
        ("/v1/feedback/votes/batch", "talk"),
        ("/v1/feedback/export", "operate"),
        ("/v1/feedback/rankings", "annotate"),
        ("/v1/feedback/next", "annotate"),
        ("/v1/operate/promote", "operate"),
        ("/rank/1", "annotate"),
        ("/lessons", "operate"),
        ("/operate/x/y", "operate"),
        ("/nothing", "operate"),
        ("//", "operate"),
        ("//rank", "operate"),
        ("/c/../operate", "talk"),  # the router takes it for a conversation's name as well
        ("x", "operate"),
    ],
)
def test_which_role_an_address_needs(path: str, role: str) -> None:
    assert needed(path) == role


def test_every_address_of_the_api_was_given_its_role(url: str) -> None:
    described = httpx.get(f"{url}/openapi.json").json()["paths"]
    assert {path for path in described if path != "/healthz" and row_of(path) in ("/", "/v1", "/v1/feedback")} == set()
    assert set(NEEDED.values()) == set(ROLES)
