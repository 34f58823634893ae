"""Whether a conversation may be learned from, as the switch on the chat page says it: in a real Chromium."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from homeroom.workspace import Workspace

pytestmark = pytest.mark.browser
HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"
FORBIDDEN = "Nothing is learned from this conversation. Press to allow it."
Say = Callable[[Page, str, str | re.Pattern[str]], None]


@pytest.fixture(scope="module")
def url(pages_url: str) -> str:
    return pages_url


def test_what_was_chosen_holds_from_the_question_on_and_is_said_as_it_is(
    page: Page, say: Say, workspace: Workspace
) -> None:
    switch = page.get_by_role("button", name="This conversation may be learned from")
    expect(switch).to_have_attribute("title", "This conversation may be learned from. Press to forbid it.")
    switch.click()
    expect(switch).to_have_attribute("title", FORBIDDEN)
    expect(switch).to_have_attribute("aria-pressed", "false")
    say(page, HELLO, HELLO_ANSWER)
    conversation = page.url.rpartition("/")[2]
    assert not workspace.feedback.may_learn_from(conversation)

    # Deleted in another tab, it begins anew here, still without consent.
    workspace.forget("local")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".answer-text")).to_have_text(HELLO_ANSWER)
    expect(page.locator(".actions")).to_be_visible()
    assert not workspace.feedback.may_learn_from(conversation)
    expect(switch).to_have_attribute("title", FORBIDDEN)
    page.reload()
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert workspace.feedback.may_learn_from(conversation)
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("button", name="本对话可用于学习")).to_have_attribute(
        "title", "本对话可用于学习。点击即禁止。"
    )


def test_a_choice_that_could_not_be_stored_is_told_and_not_shown(page: Page, say: Say, workspace: Workspace) -> None:
    say(page, HELLO, HELLO_ANSWER)
    workspace.forget("local")
    switch = page.get_by_role("button", name="This conversation may be learned from")
    switch.click()
    expect(page.get_by_role("alert").filter(has_text="could not be stored, so nothing has changed")).to_be_visible()
    expect(switch).to_have_attribute("aria-pressed", "true")
