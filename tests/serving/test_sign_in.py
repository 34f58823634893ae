"""People beyond this machine, in a real Chromium: with a key they get in, as themselves, until it is revoked."""

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from homeroom.serving.access import COOKIE
from homeroom.workspace import Workspace

pytestmark = pytest.mark.browser
HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"
PASSWORD = "seven grey otters hum"
GREETING = "What would you like to know?"


def test_a_key_opens_the_pages_until_it_is_revoked(
    tmp_path: Path, taught: Path, publish: Any, browser: Browser,
    start: Callable[..., tuple[subprocess.Popen[str], str]],
) -> None:  # fmt: skip
    workspace = Workspace.open(tmp_path)
    publish(workspace, taught, "taught")
    key = workspace.keys.create("ann")
    process, url = start(workspace, allow_network=True)

    assert httpx.get(url).status_code == 401
    turned_away = httpx.get(f"{url}/c/x", headers={"Accept": "text/html"})
    assert (turned_away.status_code, turned_away.headers["location"]) == (303, "/sign-in")
    chinese = httpx.get(f"{url}/sign-in", headers={"Accept-Language": "zh-CN"}).text
    assert "你的密钥" in chinese
    elsewhere = httpx.post(f"{url}/sign-in", data={"key": key}, headers={"Origin": "https://evil.example"})
    assert (elsewhere.status_code, elsewhere.cookies.get(COOKIE)) == (403, None)

    context = browser.new_context(locale="en-US")
    context.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    page = context.new_page()
    strange: list[str] = []
    page.on("request", lambda r: None if urlparse(r.url).netloc == urlparse(url).netloc else strange.append(r.url))
    page.goto(url)
    expect(page).to_have_url(f"{url}/sign-in")
    sign_in(page, "hr-wrong")
    expect(page.get_by_role("alert")).to_have_text(re.compile("This key is not valid"))
    sign_in(page, key)
    expect(page.get_by_role("heading", name=GREETING)).to_be_visible()
    (cookie,) = [each for each in context.cookies() if each["name"] == COOKIE]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert key not in str(context.cookies())

    page.locator(".composer textarea").fill(HELLO)
    page.keyboard.press("Enter")  # over the websocket
    expect(page.locator(".answer-text").last).to_have_text(HELLO_ANSWER)
    page.get_by_role("button", name="Good answer").click()
    expect(page.locator(".counted")).to_have_text("Counted")
    assert [(vote.user, vote.value) for vote in workspace.feedback.votes()] == [("ann", 1)]
    assert workspace.feedback.conversations(1)[0].user == "ann"

    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{url}/sign-in")
    page.goto(url)
    expect(page).to_have_url(f"{url}/sign-in")
    sign_in(page, key)
    expect(page.get_by_role("heading", name=GREETING)).to_be_visible()
    workspace.keys.revoke("ann")
    another = context.new_page()
    another.goto(url)
    expect(another).to_have_url(f"{url}/sign-in")
    process.send_signal(signal.SIGTERM)  # while a page is still connected
    assert process.wait(15) == 0
    context.close()
    assert strange == []


def test_an_account_opens_what_its_role_may_and_closes_at_once(
    tmp_path: Path, taught: Path, publish: Any, browser: Browser,
    start: Callable[..., tuple[subprocess.Popen[str], str]],
) -> None:  # fmt: skip
    workspace = Workspace.open(tmp_path)
    publish(workspace, taught, "taught")
    workspace.users.create("Ann", "talk", PASSWORD)
    key = workspace.keys.create("laptop", user="ann")
    _, url = start(workspace)  # on this machine alone: from the first user on it asks here, too
    context = browser.new_context(locale="en-US")
    context.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    page = context.new_page()
    page.goto(url)
    expect(page).to_have_url(f"{url}/sign-in")
    expect(page.get_by_label("Name")).to_be_focused()
    for password in ("seven grey otters", PASSWORD):
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill(password)
        page.keyboard.press("Enter")
        if password != PASSWORD:
            expect(page.get_by_role("alert")).to_have_text(re.compile("do not go together"))
            expect(page.get_by_label("Name")).to_have_value("ann")
    expect(page.get_by_role("heading", name=GREETING)).to_be_visible()
    page.locator(".composer textarea").fill(HELLO)
    page.keyboard.press("Enter")
    expect(page.locator(".answer-text").last).to_have_text(HELLO_ANSWER)
    assert workspace.feedback.conversations(1)[0].user == "Ann"

    page.goto(f"{url}/operate")
    expect(page.get_by_role("alert")).to_have_text("This page needs the role “operate”.")
    page.get_by_role("link", name="Back to the chat").click()
    with page.expect_response(f"{url}/sign-out") as left:
        page.get_by_role("button", name="Sign out").click()
    assert left.value.status == 204  # it carried the session's token
    expect(page).to_have_url(f"{url}/sign-in")
    assert COOKIE not in str(context.cookies())

    page.get_by_text("Sign in with a key").click()
    page.get_by_label("Your key").fill(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=GREETING)).to_be_visible()
    expect(page.locator("a.conversation")).to_have_count(1)  # hers, whichever way she came in
    workspace.users.disable("ann")
    page.goto(url)
    expect(page).to_have_url(f"{url}/sign-in")
    context.close()


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("Your key").fill(key)
    page.get_by_role("button", name="Sign in").click()
