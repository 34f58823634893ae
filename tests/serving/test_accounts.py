"""People with accounts, over HTTP: what each role reaches, and the ways in which others' browsers are made to act."""

import asyncio
import html
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from homeroom.serving import access
from homeroom.serving.access import COOKIE, FORM_TOKEN_HEADER, Access, Caller, form_token_of, role_of, user_of
from homeroom.serving.app import serving
from homeroom.serving.pages.sign_in import FORM_COOKIE
from homeroom.serving.settings import ServingSettings
from homeroom.workspace import Workspace
from homeroom.workspace.sessions import form_token

PASSWORDS = {"ann": "seven grey otters hum", "bob": "nine slow herons wade", "小明": "七只灰水獭在河边哼着歌"}
ROLES = {"ann": "operate", "bob": "annotate", "小明": "talk"}
NETWORK: Any = {"host": "0.0.0.0", "allow_network": True}
VOTE = {"message_id": "none", "value": 1}
addresses = (f"10.1.{number // 250}.{number % 250 + 1}" for number in count())


@dataclass
class Site:
    workspace: Workspace
    url: str
    clients: list[httpx.Client] = field(default_factory=list)

    def browser(self, **headers: str) -> httpx.Client:
        """At an address of its own, as by a proxy on this machine, so that no test's attempts are another's."""
        headers = {"X-Forwarded-For": next(addresses), "Accept": "text/html", **headers}
        self.clients.append(httpx.Client(base_url=self.url, headers=headers))
        return self.clients[-1]

    def signed_in(self, name: str) -> httpx.Client:
        client = self.browser()
        assert give(client, name=name, password=PASSWORDS[name]).headers.get("location") == "/"
        return client


def give(client: httpx.Client, **fields: str) -> httpx.Response:
    """Fill in the form of the sign-in page, as it comes, and send it."""
    form = re.search(r'name="form" value="([^"]+)"', client.get("/sign-in").text)
    assert form is not None
    return client.post("/sign-in", data={"form": form[1], **fields})


def alert(response: httpx.Response) -> str:
    found = re.search(r'role="alert">([^<]*)<', response.text)
    return html.unescape(found[1]) if found else ""


def token(client: httpx.Client) -> dict[str, str]:
    return {FORM_TOKEN_HEADER: form_token(client.cookies[COOKIE])}


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, taught: Path, publish: Any,
    start_once: Callable[..., tuple[subprocess.Popen[str], str]],
) -> Iterator[Site]:  # fmt: skip
    with Workspace.open(tmp_path_factory.mktemp("accounts")) as workspace:
        publish(workspace, taught, "taught")
        for name, role in ROLES.items():
            workspace.users.create(name, role, PASSWORDS[name])
        _, url = start_once(workspace, **NETWORK)
        site = Site(workspace, url)
        yield site
        for client in site.clients:
            client.close()


def code(response: httpx.Response) -> tuple[int, str | None]:
    is_json = response.headers.get("content-type", "").startswith("application/json")
    return response.status_code, response.json()["error"]["code"] if is_json and not response.is_success else None


def test_each_role_reaches_its_addresses_and_no_more(site: Site) -> None:
    needs = {"/": "talk", "/c/x": "talk", "/rank": "annotate", "/lessons": "operate", "/operate/x": "operate"}
    order = ("talk", "annotate", "operate")
    for name, role in ROLES.items():
        client = site.signed_in(name)
        assert ("/rank" in client.get("/").text) == (role != "talk")  # the chat page leads where one may go
        for path, needed in needs.items():
            response = client.get(path)
            if order.index(role) >= order.index(needed):
                assert response.status_code in (200, 404), (name, path)  # some of these pages are still to be made
            else:
                assert response.status_code == 403
                assert alert(response) == f"This page needs the role “{needed}”."
                assert f"signed in as {name}, with the role “{role}”" in html.unescape(response.text)
                chinese = client.get(path, headers={"Accept-Language": "zh-CN"})
                assert alert(chinese) == f"此页面需要“{needed}”权限。"
                as_program = client.get(path, headers={"Accept": "application/json"})
                assert code(as_program) == (403, "role_needed")
                assert f"homeroom users role NAME {needed}" in as_program.text
    stranger = site.browser()
    assert [stranger.get(path).headers.get("location") for path in needs] == ["/sign-in"] * len(needs)


def test_a_key_has_its_users_role_and_is_only_its_user(site: Site) -> None:
    def ask(secret: str, path: str, **body: object) -> tuple[int, str | None]:
        headers = {"Authorization": f"Bearer {secret}"}
        return code(httpx.request("POST" if body else "GET", f"{site.url}{path}", json=body or None, headers=headers))

    talks, alone, operates = (
        site.workspace.keys.create("laptop", user="小明"),
        site.workspace.keys.create("script"),
        site.workspace.keys.create("desktop", user="ann"),
    )
    assert ask(talks, "/v1/models") == (200, None)
    assert ask(talks, "/v1/feedback/votes", **VOTE) == (404, "message_not_found")
    assert ask(talks, "/v1/feedback/rankings") == (403, "role_needed")
    assert ask(alone, "/v1/feedback/rankings")[1] != "role_needed"
    assert ask(alone, "/v1/operate/x") == (403, "role_needed")
    assert ask(operates, "/v1/operate/x") == (404, "unknown_url")
    assert ask(talks, "/v1/feedback/votes", user="ann", **VOTE) == (403, "other_user")
    for person in ("ann", "ANN", "小明", "local"):
        assert ask(alone, "/v1/feedback/votes", user=person, **VOTE) == (403, "other_user")
    assert ask(alone, "/v1/feedback/votes", user="rater 7", **VOTE) == (404, "message_not_found")
    messages = [{"role": "user", "content": "x"}]
    assert ask(talks, "/v1/chat/completions", model="homeroom", messages=messages, user="ann") == (403, "other_user")
    for secret, user in ((talks, "小明"), (alone, "rater 1"), (operates, "rater 1")):
        assert ask(secret, "/v1/feedback/votes", user=user, **VOTE) == (404, "message_not_found")


def test_what_comes_with_a_session_needs_the_sessions_own_token(site: Site) -> None:
    client, again, another = site.signed_in("bob"), site.signed_in("bob"), site.signed_in("ann")
    right = token(client)
    wrong: list[dict[str, str]] = [
        {},
        {FORM_TOKEN_HEADER: ""},
        {FORM_TOKEN_HEADER: "0" * 64},
        {FORM_TOKEN_HEADER: client.cookies[COOKIE]},
        {FORM_TOKEN_HEADER: right[FORM_TOKEN_HEADER].upper()},
        token(again),  # of another session, even of the same person
        token(another),
    ]
    for headers in wrong:
        for method in ("POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
            for path in ("/sign-out", "/v1/feedback/votes", "/", "/_nicegui_ws/socket.io/?transport=polling"):
                refused = client.request(method, path, headers=headers, json=VOTE)
                assert code(refused) == (403, "wrong_form_token"), (headers, method, path)
    assert code(client.post("/v1/feedback/votes", headers=right, json=VOTE)) == (404, "message_not_found")
    assert code(client.get("/v1/models")) == (200, None)
    assert client.get("/").status_code == 200  # nothing of it signed anybody out
    assert client.post("/sign-out", headers=right).status_code == 204
    assert client.cookies.get(COOKIE) is None
    assert again.get("/").status_code == 200


def test_a_key_needs_no_token_even_beside_a_cookie(site: Site) -> None:
    client = site.signed_in("bob")
    key = site.workspace.keys.create("tablet", user="ann")
    headers = {"Authorization": f"Bearer {key}"}
    assert code(client.post("/v1/feedback/votes", headers=headers, json=VOTE)) == (404, "message_not_found")
    wrong = {"Authorization": "Bearer hr-wrong", **token(client)}
    assert code(client.post("/v1/feedback/votes", headers=wrong, json=VOTE)) == (401, "invalid_api_key")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_pages_of_another_site_are_refused_even_with_the_token(site: Site, origin: str) -> None:
    client = site.signed_in("bob")
    headers = {"Origin": origin, **token(client)}
    for sent in (
        {"json": VOTE},
        {"data": VOTE},
        {"content": b'{"value": 1}', "headers": {"Content-Type": "text/plain"}},
    ):
        sent = {**sent, "headers": {**sent.get("headers", {}), **headers}}  # type: ignore[dict-item]
        for path in ("/v1/feedback/votes", "/sign-out", "/sign-in"):
            assert code(client.post(path, **sent)) == (403, "other_site")  # type: ignore[arg-type]
    assert client.get("/").status_code == 200


def test_a_form_of_another_page_signs_nobody_in(site: Site) -> None:
    """Who is signed in as somebody else without knowing it tells them what they ask."""
    mallory = {"name": "bob", "password": PASSWORDS["bob"]}
    own = "A" * 43
    for form, cookie in (("", ""), ("-", ""), (own, ""), ("", own), (own, "B" * 43), ("x", "x"), ("é" * 43, own)):
        client = site.browser()
        if cookie:
            client.cookies.set(FORM_COOKIE, cookie)
        refused = client.post("/sign-in", data={"form": form, **mallory})
        assert (refused.status_code, COOKIE in refused.cookies) == (403, False)
        assert "not this browser's own" in alert(refused)


def test_a_session_that_was_put_into_a_browser_before_is_not_gone_on_with(site: Site) -> None:
    mallory = site.signed_in("小明").cookies[COOKIE]
    for planted in ("chosen-by-mallory", mallory):
        client = site.browser()
        client.cookies.set(COOKIE, planted, domain="127.0.0.1")
        assert give(client, name="ann", password=PASSWORDS["ann"]).status_code == 303
        tokens = [cookie.value for cookie in client.cookies.jar if cookie.name == COOKIE]
        new = next(value for value in tokens if value and value != planted)
        session = site.workspace.sessions.find(new)
        assert session is not None
        assert getattr(session.holder, "name", None) == "ann"
        assert site.workspace.sessions.find(planted) is None


def test_the_page_tells_no_names_and_slows_who_guesses(site: Site) -> None:
    answers = set()
    for name in ("ann", "nobody"):
        client = site.browser()
        for _ in range(4):
            response = give(client, name=name, password="wrong and long")
            answers.add((response.status_code, alert(response)))
        slowed = give(client, name=name.upper(), password=PASSWORDS["ann"])  # even if it were right
        assert slowed.status_code == 429
        assert re.search(r"Try again in [12] s", alert(slowed))
        assert slowed.headers["retry-after"] in ("1", "2")
    assert answers == {(403, "Name and password do not go together, or the account was closed.")}
    assert site.signed_in("ann").get("/").status_code == 200  # elsewhere nobody was slowed
    shown = give(site.browser(), name='"><script>alert(1)</script>', password="x").text
    assert "<script>alert" not in shown


def test_a_session_outlives_the_server_and_ends_with_its_account(
    tmp_path: Path, taught: Path, publish: Any, start: Callable[..., tuple[subprocess.Popen[str], str]]
) -> None:
    workspace = Workspace.open(tmp_path)
    publish(workspace, taught, "taught")
    workspace.users.create("ann", "talk", PASSWORDS["ann"])
    process, url = start(workspace, **NETWORK)
    site = Site(workspace, url)
    one, two = site.signed_in("ann"), site.signed_in("ann")
    process.send_signal(signal.SIGKILL)
    process.wait(15)
    _, url = start(workspace, **NETWORK)
    for client in (one, two):
        client.base_url = httpx.URL(url)
        assert client.get("/").status_code == 200
    kept = two.cookies[COOKIE]
    assert two.post("/sign-out", headers=token(two)).status_code == 204
    two.cookies.set(COOKIE, kept)
    assert two.get("/").status_code == 303  # also for who has copied the cookie
    assert one.get("/").status_code == 200
    workspace.users.set_password("ann", PASSWORDS["bob"])
    assert one.get("/").status_code == 303
    assert give(one, name="ann", password=PASSWORDS["bob"]).status_code == 303
    assert one.get("/").status_code == 200
    workspace.users.disable("ann")
    assert one.get("/").status_code == 303
    assert give(one, name="ann", password=PASSWORDS["bob"]).status_code == 403
    for client in site.clients:
        client.close()
    workspace.close()


@pytest.fixture
def own(tmp_path: Path, taught: Path, publish: Any) -> Iterator[Workspace]:
    with Workspace.open(tmp_path) as workspace:
        publish(workspace, taught, "taught")
        yield workspace


def test_on_this_machine_all_is_open_until_a_user_is_made(own: Workspace) -> None:
    with serving(own, ServingSettings(port=0)) as url:

        def statuses() -> list[int]:
            paths = ("/lessons", "/c/x", "/v1/models", "/v1/operate/x", "/metrics", "/healthz")
            return [httpx.get(f"{url}{path}").status_code for path in paths]

        assert statuses() == [404, 404, 200, 404, 200, 200]
        own.users.create("ann", "talk", PASSWORDS["ann"])
        assert statuses() == [401, 401, 401, 401, 200, 200]
        own.users.disable("ann")
        assert statuses() == [401, 401, 401, 401, 200, 200]  # no way back for who can only reach the port


def test_strangers_of_an_open_network_may_talk_alone(own: Workspace) -> None:
    settings = ServingSettings(port=0, allow_open_network=True, **NETWORK)
    with serving(own, settings) as url:
        assert httpx.get(f"{url}/v1/models").status_code == 200
        assert code(httpx.get(f"{url}/v1/feedback/next")) == (403, "role_needed")
        assert code(httpx.get(f"{url}/lessons")) == (403, "role_needed")


def test_beyond_this_machine_an_active_user_is_enough_to_start(own: Workspace) -> None:
    settings = ServingSettings(port=0, **NETWORK)
    own.users.create("ann", "operate", PASSWORDS["ann"])
    own.users.disable("ann")
    with pytest.raises(Exception, match="users create me --role operate"):
        access.check_start(settings, own)
    own.users.enable("ann")
    access.check_start(settings, own)


def test_a_pages_connection_says_whose_page_it_is_and_ends_with_session_and_role(
    own: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "RECHECK_SECONDS", 0.0)
    own.users.create("ann", "operate", PASSWORDS["ann"])
    seen: list[str] = []
    events: list[Callable[[], object]] = []
    made_for: dict[str, Caller] = {}

    async def page(scope: Any, receive: Any, send: Any) -> None:
        state = scope["state"]
        seen.append(f"{user_of(state, 'nobody')} {role_of(state)} {form_token_of(state) is not None}")
        for _ in range(2):
            seen.append((await receive())["type"].removeprefix("websocket."))
            now_and_then()

    async def receive() -> Message:
        return {"type": "websocket.receive", "text": "x"}

    async def send(message: Message) -> None:
        seen.append(f"{message['type'].removeprefix('websocket.')} {message.get('code')}")

    class Running:
        stopping = False

    def now_and_then() -> None:
        """What happens while the page is open."""
        if events:
            events.pop()()

    def connect(headers: dict[str, str], *happens: Callable[[], object]) -> list[str]:
        seen.clear()
        events[:] = happens
        door = Access(page, ServingSettings(port=0, **NETWORK), own, Running(), made_for.get)  # type: ignore[arg-type]
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        query = b"client_id=olga-s&tab_id=1"
        scope = {"type": "websocket", "path": "/_nicegui_ws/", "headers": pairs, "query_string": query}
        asyncio.run(door(scope, receive, send))
        return seen

    def cookie() -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={own.sessions.begin(own.users.get('ann'))}"}

    here = {"Origin": "http://10.0.0.1:8000"}  # that it is the Host is the guard's to see
    assert connect(cookie()) == ["close 1008"]
    assert connect(here) == ["close 1008"]
    assert connect(cookie() | here) == ["ann operate True", "receive", "receive"]
    for end in (lambda: own.users.set_role("ann", "talk"), lambda: own.users.disable("ann")):
        assert connect(cookie() | here, end)[1:] == ["receive", "disconnect"]
    # It tries again by itself, and the page is still what an operator saw.
    own.users.enable("ann")
    session = cookie() | here
    found = own.sessions.find(session["Cookie"].partition("=")[2])
    made_for["olga-s"] = Caller.of(found.holder, found.form_token)
    assert connect(session) == ["ann talk True", "receive", "receive"]
    own.users.set_role("ann", "operate")
    assert connect(session) == ["close 1008"]
    own.users.set_role("ann", "talk")
    assert connect(session)[0] == "ann talk True"
    assert connect(cookie() | here) == ["close 1008"]  # another session may be another person's
