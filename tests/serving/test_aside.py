"""Lessons shows whose votes were set aside, and an operator has the last word: in a real Chromium."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from homeroom.serving.access import COOKIE
from homeroom.settings import Frozen
from homeroom.workspace import Workspace

pytestmark = pytest.mark.browser
NAME = "小明 <b>"
PASSWORD = "seven grey otters hum"


class Made(Frozen):
    by: str = "harvest"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, taught: Path, publish: object) -> Workspace:
    """One person's vote was set aside."""
    workspace = Workspace.open(tmp_path_factory.mktemp("aside"))
    publish(workspace, taught, "taught")  # type: ignore[operator]
    _, asked = workspace.feedback.extend(None, NAME, [("user", "Why?")])
    conversation = workspace.feedback.message(asked).conversation_id
    answer = workspace.feedback.add_message(conversation, "assistant", "So.", parent_id=asked).id
    vote = workspace.feedback.vote(answer, -1, user=NAME).id
    row = {"message_id": answer, "vote_id": vote, "reason": "brigade", "share": 1}
    with workspace.publish("harvest", Made()) as draft:
        (draft.path / "set_aside.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return workspace


@pytest.fixture(scope="module")
def url(pages_url: str) -> str:
    return pages_url


def test_whose_votes_were_set_aside_is_shown_and_an_operator_has_the_last_word(
    page: Page, url: str, workspace: Workspace, violations: Callable[[Page], list[str]]
) -> None:
    page.goto(f"{url}/lessons")
    page.get_by_text("Set aside (1)").click()
    person = page.locator(".aside-person")
    expect(person).to_contain_text("小明 <b>1 in a brigade")
    page.get_by_role("button", name=f"Restore: {NAME}").click()
    expect(person.locator(".pill")).to_have_text("restored")
    expect(person).to_contain_text("by hand, local · 20")
    expect(page.get_by_role("button", name=f"Take back: {NAME}")).to_be_focused()  # what had the keyboard is gone
    expect(page.locator(".aside")).to_contain_text("The next harvest obeys.")
    assert workspace.standings.all() == {NAME: "restored"}
    page.get_by_role("button", name=f"Take back: {NAME}").click()
    page.get_by_role("button", name=f"Distrust: {NAME}").press("Enter")
    expect(person.locator(".pill")).to_have_text("distrusted")
    assert workspace.standings.all() == {NAME: "distrusted"}
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page) == []
    page.get_by_role("button", name="简体中文").click()
    expect(person).to_contain_text("不信任手动决定：local · 20")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_class(re.compile("body--dark"))
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name=f"收回: {NAME}").click()
    expect(page.get_by_role("button", name=f"恢复: {NAME}")).to_be_visible()
    assert workspace.standings.all() == {}


def test_the_record_names_the_operator_and_who_is_gone_meanwhile_is_not_judged(
    page: Page, context: BrowserContext, url: str, workspace: Workspace
) -> None:
    """The last one here: from now on the pages ask who visits."""
    workspace.users.create("olga", "operate", PASSWORD)
    user = workspace.users.verify("olga", PASSWORD)
    assert user is not None
    context.add_cookies([{"name": COOKIE, "value": workspace.sessions.begin(user), "url": url}])
    page.goto(f"{url}/lessons")
    page.get_by_text("Set aside (1)").click()
    person = page.locator(".aside-person")
    page.get_by_role("button", name=f"Restore: {NAME}").click()
    expect(person).to_contain_text("restoredby hand, olga · 20")
    assert workspace.standings.said()[NAME].by == "olga"
    workspace.forget(NAME)
    page.get_by_role("button", name=f"Take back: {NAME}").click()
    expect(person).to_have_count(0)
    expect(page.get_by_role("heading", name="Lessons")).to_be_visible()
    assert workspace.standings.said() == {}
