"""A person has all of their own deleted: over HTTP, and on the chat page in a real Chromium. Nobody else's goes."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from homeroom.serving.access import COOKIE, FORM_TOKEN_HEADER
from homeroom.serving.app import serving
from homeroom.serving.pages.strings import CHINESE, ENGLISH
from homeroom.serving.settings import ServingSettings
from homeroom.settings import Frozen
from homeroom.workspace import Artifact, User, Workspace
from homeroom.workspace.sessions import form_token

PASSWORD = "seven grey otters hum"
PEOPLE = {"Ann": "talk", "小明": "talk", "olga": "operate"}
MINE = "/v1/feedback/mine"
Violations = Callable[[Page], list[str]]


class Made(Frozen):
    by: str


def talk(workspace: Workspace, user: str) -> dict[str, str]:
    """A conversation with a vote of its person and one of somebody else; the ids."""
    conversation, question = workspace.feedback.ask(None, user, f"What is {user}?", None)
    answer = workspace.feedback.add_message(conversation, "assistant", "So.", parent_id=question).id
    vote = workspace.feedback.vote(answer, 1, user=user).id
    workspace.feedback.vote(answer, -1, user="dan")
    return {"conversation": conversation, "message_id": answer, "vote_id": vote}


def said_by(workspace: Workspace) -> dict[str, int]:
    """How many conversations and votes there are, by person."""
    names = [one.user for one in workspace.feedback.conversations()]
    names += [one.user for one in workspace.feedback.votes()]
    return {name: names.count(name) for name in sorted(set(names))}


@dataclass
class Site:
    """A server with accounts, and a way to sign in."""

    workspace: Workspace
    url: str
    clients: list[httpx.Client] = field(default_factory=list)

    def session(self, name: str) -> str:
        user = self.workspace.users.verify(name, PASSWORD)
        assert isinstance(user, User)
        return self.workspace.sessions.begin(user)

    def browser(self, name: str) -> tuple[httpx.Client, dict[str, str]]:
        """As a browser sends, with the session's cookie; and the header that its own page adds."""
        token = self.session(name)
        self.clients.append(httpx.Client(base_url=self.url, cookies={COOKIE: token}))
        return self.clients[-1], {FORM_TOKEN_HEADER: form_token(token)}

    def ask(self, key: str, method: str = "DELETE", path: str = MINE, **body: Any) -> httpx.Response:
        """As a program does."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.request(method, self.url + path, headers=headers, json=body or None)


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, taught: Path, publish: Any, start_once: Callable[..., tuple[Any, str]]
) -> Iterator[Site]:
    with Workspace.open(tmp_path_factory.mktemp("mine")) as workspace:
        publish(workspace, taught, "taught")
        for name, role in PEOPLE.items():
            workspace.users.create(name, role, PASSWORD)
        site = Site(workspace, start_once(workspace)[1])
        yield site
        for client in site.clients:
            client.close()


@pytest.fixture
def site(served: Site) -> Site:
    """Nobody has said anything yet."""
    for name in said_by(served.workspace):
        served.workspace.forget(name)
    return served


def learned(workspace: Workspace, said: dict[str, str], by: str) -> tuple[Artifact, Artifact]:
    """A harvest that read this, and a model that was made of it."""
    row = {"message_id": said["message_id"], "vote_id": said["vote_id"], "edit_id": None}
    with workspace.publish("harvest", Made(by=by)) as read:
        (read.path / "sources.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with workspace.publish("improve", Made(by=by), [read.artifact]) as model:
        (model.path / "model.safetensors").write_bytes(by.encode())
    return read.artifact, model.artifact


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_a_program_deletes_what_its_person_said_and_hears_what_was_made_of_it(site: Site) -> None:
    talk(site.workspace, "小明")
    harvest, model = learned(site.workspace, talk(site.workspace, "Ann"), "program")
    key = site.workspace.keys.create("laptop", user="ann")
    before = said_by(site.workspace)
    told = site.ask(key).json()
    assert told == {
        "object": "feedback.deleted", "user": "Ann", "artifacts": [harvest.id, model.id], "models": [model.id],
        "rows": {"votes": 2, "messages": 2, "conversations": 1},
    }  # fmt: skip
    after = said_by(site.workspace)
    assert before.pop("Ann") == 2
    assert after == before | {"dan": before["dan"] - 1}  # whose vote was on an answer that is gone
    again = site.ask(key)
    assert (again.status_code, again.json()["rows"], again.json()["artifacts"]) == (200, {}, [])


def test_nobody_deletes_what_another_said(site: Site) -> None:
    for name in ("Ann", "小明", "olga"):
        talk(site.workspace, name)
    before = said_by(site.workspace)
    keys = [site.workspace.keys.create(f"of {user}", user=user) for user in ("小明", "olga")]
    for key in keys:  # an operator has the command line for that
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.delete(f"{site.url}{MINE}?user=Ann", headers=headers).status_code == 400
        assert "nobody else's" in site.ask(key, user="Ann").json()["error"]["message"]
        assert site.ask(key, path=f"{MINE}/Ann").json()["error"]["code"] == "unknown_url"
    for method in ("GET", "POST"):
        assert refusal(site.ask(keys[0], method)) == (405, "method_not_allowed")
    stranger = site.workspace.keys.create("script")
    assert site.ask(stranger).json()["rows"] == {}
    assert refusal(httpx.delete(site.url + MINE)) == (401, "invalid_api_key")
    assert said_by(site.workspace) == before


def test_another_sites_page_deletes_nothing_and_takes_no_consent_back(site: Site) -> None:
    said = talk(site.workspace, "小明")
    client, own = site.browser("小明")
    _, others = site.browser("Ann")
    before = said_by(site.workspace)
    consent = {"conversation_id": said["conversation"], "consent": False}
    wrong: list[tuple[dict[str, str], str]] = [
        ({}, "wrong_form_token"),
        ({FORM_TOKEN_HEADER: ""}, "wrong_form_token"),
        (others, "wrong_form_token"),
        (own | {"Origin": "https://evil.example"}, "other_site"),
        (own | {"Origin": "null"}, "other_site"),
    ]
    for headers, code in wrong:
        assert refusal(client.delete(MINE, headers=headers)) == (403, code)
        assert refusal(client.post("/v1/feedback/consent", json=consent, headers=headers)) == (403, code)
    assert refusal(httpx.post(f"{site.url}/v1/feedback/consent", json=consent)) == (401, "invalid_api_key")
    assert said_by(site.workspace) == before
    assert site.workspace.feedback.may_learn_from(said["conversation"])

    # With the token: of one's own conversation only, also for who operates.
    for name in ("Ann", "olga"):
        another, token = site.browser(name)
        refused = another.post("/v1/feedback/consent", json=consent, headers=token)
        assert (refused.status_code, refused.json()["error"]["param"]) == (404, "conversation_id")
    refused = another.post("/v1/feedback/consent", json=consent | {"user": "dan"}, headers=token)
    assert refused.status_code == 404
    assert site.workspace.feedback.may_learn_from(said["conversation"])
    assert client.post("/v1/feedback/consent", json=consent, headers=own).json()["consent"] is False
    assert not site.workspace.feedback.may_learn_from(said["conversation"])
    assert client.delete(MINE, headers=own).json()["user"] == "小明"
    assert "小明" not in said_by(site.workspace)


@pytest.fixture
def own(tmp_path: Path, taught: Path, publish: Any) -> Iterator[Workspace]:
    """Nobody has an account."""
    with Workspace.open(tmp_path) as workspace:
        publish(workspace, taught, "taught")
        yield workspace


def test_on_ones_own_machine_it_is_what_programs_said_without_a_name(own: Workspace) -> None:
    for name in ("api", "local", "rater 7"):
        talk(own, name)
    with serving(own, ServingSettings(port=0)) as url:
        told = httpx.delete(url + MINE).json()
    assert (told["user"], told["rows"]["conversations"]) == ("api", 1)
    assert said_by(own) == {"local": 2, "rater 7": 2, "dan": 2}


def test_strangers_of_an_open_network_delete_nothing(own: Workspace) -> None:
    talk(own, "api")
    settings = ServingSettings(port=0, host="0.0.0.0", allow_network=True, allow_open_network=True)
    with serving(own, settings) as url:
        assert refusal(httpx.delete(url + MINE)) == (403, "nobody")
    assert said_by(own)["api"] == 2


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Each test's own: a session's cookie would go along to the next. What goes wrong in its pages fails it."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    wrong: list[str] = []
    context.on("weberror", lambda error: wrong.append(f"script error: {error.error}"))
    context.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    yield context
    context.close()
    assert wrong == []


def opened(context: BrowserContext, site: Site, name: str) -> Page:
    context.add_cookies([{"name": COOKIE, "value": site.session(name), "url": site.url}])
    return context.new_page()


@pytest.mark.browser
def test_a_person_types_a_word_and_their_own_is_gone(
    context: BrowserContext, site: Site, violations: Violations
) -> None:
    kept = talk(site.workspace, "小明")["conversation"]
    said = talk(site.workspace, "Ann")
    harvest, model = learned(site.workspace, said, "page")
    others = said_by(site.workspace)
    others.pop("Ann")
    page = opened(context, site, "Ann")
    page.goto(f"{site.url}/c/{said['conversation']}")
    opener = page.get_by_role("button", name="Delete my data")
    dialog = page.get_by_role("dialog", name="Delete my data")
    opener.focus()
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("All that is recorded here of “Ann” goes, for good")
    word = page.get_by_label("Type “delete” to confirm")
    expect(word).to_be_focused()
    assert violations(page) == []
    for wrong in ("", "yes", "Ann"):
        word.fill(wrong)
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_have_text("That is not “delete”. Nothing was deleted.")
    word.fill("delete")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    opener.click()
    expect(word).to_have_value("")  # it has to be typed again
    expect(dialog.locator(".wrong")).to_be_empty()
    expect(page.locator(".bubble")).to_have_text("What is Ann?")
    assert said_by(site.workspace) == others | {"Ann": 2}

    word.fill(" Delete ")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_have_text("Deleted:")
    expect(dialog.locator(".mine-rows")).to_have_text(re.compile("votes2messages2conversations1"))
    made = dialog.locator(".mine-made li")
    expect(made).to_have_text([harvest.id, f"{model.id}model"])
    expect(made.get_by_role("link")).to_have_count(0)  # she may not look at them
    expect(page.get_by_role("button", name="Done")).to_be_focused()
    assert violations(page) == []
    assert said_by(site.workspace) == others | {"dan": others["dan"] - 1}
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/")  # nothing of it is shown any more
    expect(page.get_by_role("heading", name=ENGLISH.greeting)).to_be_visible()
    expect(page.locator("a.conversation")).to_have_count(0)
    page.goto(f"{site.url}/c/{said['conversation']}")
    expect(page.get_by_role("heading", name=ENGLISH.greeting)).to_be_visible()
    assert site.workspace.feedback.conversation(kept)
    assert site.workspace.users.get("Ann").state == "active"


@pytest.mark.browser
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_dialog_on_a_phone_in_chinese(
    context: BrowserContext, site: Site, violations: Violations, colours: str
) -> None:
    _, model = learned(site.workspace, talk(site.workspace, "olga"), colours)
    context.add_cookies([{"name": "homeroom_language", "value": "zh", "url": site.url}])
    page = opened(context, site, "olga")
    page.set_viewport_size({"width": 360, "height": 640})
    page.emulate_media(color_scheme="light" if colours == "light" else "dark", reduced_motion="reduce")
    page.goto(site.url)
    page.get_by_role("button", name=CHINESE.menu).click()
    page.get_by_role("button", name="删除我的数据").click()
    dialog = page.get_by_role("dialog", name="删除我的数据")
    width = "[document.documentElement, document.getElementById('mine')].map((e) => e.scrollWidth - e.clientWidth)"
    assert page.evaluate(width) == [0, 0]
    assert violations(page) == []
    page.get_by_label("输入“删除”以确认").fill("delete")
    page.get_by_role("button", name="永久删除").click()
    expect(dialog.get_by_role("alert")).to_have_text("输入的不是“删除”，没有删除任何内容。")
    assert "olga" in said_by(site.workspace)
    page.get_by_label("输入“删除”以确认").fill("删除")
    page.get_by_role("button", name="永久删除").click()
    expect(dialog.get_by_role("status")).to_have_text("已删除：")
    assert page.evaluate(width) == [0, 0]
    assert violations(page) == []
    assert "olga" not in said_by(site.workspace)
    dialog.get_by_role("link", name=model.id).click()  # who operates may look at them
    expect(page).to_have_url(f"{site.url}/data/{model.id}")


@pytest.mark.browser
def test_without_accounts_it_is_what_was_said_at_this_machine_and_an_answer_in_work_stays_away(
    context: BrowserContext, tmp_path: Path, endless: Path, publish: Any, start: Callable[..., tuple[Any, str]]
) -> None:
    with Workspace.open(tmp_path) as workspace:
        publish(workspace, endless, "endless")
        for name in ("local", "api", "rater 7"):
            talk(workspace, name)
        _, url = start(workspace)
        page = context.new_page()
        page.goto(url)
        page.locator(".composer textarea").fill("Say on.")
        page.keyboard.press("Enter")
        expect(page.locator(".answer-text")).not_to_be_empty()
        page.get_by_role("button", name="Delete my data").click()
        page.get_by_label("Type “delete” to confirm").fill("delete")
        page.keyboard.press("Enter")
        expect(page.locator(".mine-rows")).to_contain_text("conversations2")
        expect(page.get_by_role("dialog")).to_contain_text("Nothing had been made of it yet.")
        page.get_by_role("button", name="Done").click()
        expect(page).to_have_url(f"{url}/")
        while httpx.get(f"{url}/healthz").json()["answers_in_work"]:
            page.wait_for_timeout(100)
        assert said_by(workspace) == {"api": 2, "rater 7": 2, "dan": 2}
        assert workspace.feedback.counts()["messages"] == 4
