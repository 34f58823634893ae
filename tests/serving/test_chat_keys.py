"""The chat page by keyboard alone, and read by axe-core in every state, in a real Chromium."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from homeroom.serving.pages.strings import CHINESE, ENGLISH
from homeroom.workspace import Workspace

pytestmark = pytest.mark.browser

HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"
Say = Callable[[Page, str, str | re.Pattern[str]], None]
MARKDOWN = (
    "# A\n\n[link](https://example.org)\n\n```python\n"
    + "x" * 200
    + "\n```\n\n| a | b |\n|---|---|\n| `c` | d |\n\n> q"
)
ASSETS = Path(__file__).parents[2] / "homeroom/serving/pages/assets"


@pytest.fixture(scope="module")
def url(pages_url: str) -> str:
    return pages_url


def test_letters_go_through_the_turns_and_vote(page: Page, say: Say, workspace: Workspace) -> None:
    for _ in range(3):
        say(page, HELLO, re.compile("."))
    box, turns = page.locator(".composer textarea"), page.locator(".turn")
    expect(box).to_be_focused()
    page.keyboard.type("/jkgb?")
    expect(box).to_have_value("/jkgb?")  # in the box they are letters
    box.fill("")
    page.keyboard.press("Alt+ArrowUp")
    expect(turns.nth(2)).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.keyboard.press("k")  # there is no turn before the first
    expect(turns.nth(0)).to_be_focused()
    page.keyboard.press("g")
    expect(turns.nth(0).get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    expect(turns.nth(0)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("b")
    expect(turns.nth(1).get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
    assert [judged.value for judged in workspace.feedback.votes()[-2:]] == [1, -1]
    page.keyboard.press("Alt+ArrowDown")
    page.keyboard.press("j")
    expect(box).to_be_focused()
    page.keyboard.press("Alt+ArrowUp")
    page.keyboard.press("/")
    expect(box).to_be_focused()
    expect(box).to_have_value("")


def test_up_edits_the_last_question_and_escape_leaves_it(page: Page, say: Say) -> None:
    say(page, HELLO, HELLO_ANSWER)
    box = page.locator(".composer textarea")
    box.fill("half a thought")
    page.keyboard.press("ArrowUp")
    area = page.get_by_role("textbox", name="Your question")
    expect(area).to_be_hidden()
    box.fill("")
    page.keyboard.press("ArrowUp")
    expect(area).to_be_focused()
    expect(area).to_have_value(HELLO)
    page.keyboard.press("Escape")
    expect(area).to_be_hidden()
    expect(page.get_by_role("button", name="Edit and ask again")).to_be_focused()
    page.keyboard.press("Enter")
    expect(area).to_be_focused()


def test_escape_stops_an_answer(
    page: Page, workspace: Workspace, endless: Path, publish: Callable[[Workspace, Path, str], object]
) -> None:
    before = page.locator(".model").get_attribute("title") or ""
    publish(workspace, endless, "endless")
    try:
        expect(page.get_by_role("alert")).to_have_text("A new model answers from now on.")
        page.keyboard.type("Go on")
        page.keyboard.press("Enter")
        expect(page.locator(".answer-text")).not_to_be_empty()
        page.keyboard.press("Escape")
        expect(page.locator(".note")).to_have_text("You stopped this answer.")
    finally:
        workspace.registry.rollback()
        expect(page.locator(".model")).to_have_attribute("title", before)


def test_the_keys_are_listed_and_single_letters_can_be_switched_off(page: Page, say: Say) -> None:
    say(page, HELLO, HELLO_ANSWER)
    page.keyboard.press("Alt+ArrowUp")
    page.keyboard.press("?")
    overlay = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(overlay).to_be_visible()
    for _, meaning in ENGLISH.shortcuts:
        expect(overlay).to_contain_text(meaning)
    page.keyboard.press("g")  # what is below an open dialog hears no keys
    overlay.get_by_role("checkbox", name="Use the keys of one letter").uncheck()
    page.keyboard.press("Escape")
    expect(overlay).to_be_hidden()
    page.locator(".turn").focus()
    page.keyboard.press("g")
    page.keyboard.press("?")
    page.wait_for_timeout(300)
    expect(overlay).to_be_hidden()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    overlay.get_by_role("checkbox").check()
    page.keyboard.press("Escape")
    page.locator(".turn").focus()
    page.keyboard.press("g")
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")


def test_every_key_is_listed_in_both_languages() -> None:
    script = (ASSETS / "keys.js").read_text(encoding="utf-8")
    letters = set(re.findall(r'^    "?([^\s":]+)"?: \(\) =>', script, re.MULTILINE))
    assert letters == {"/", "?", "j", "k", "g", "b"}
    assert [keys for keys, _ in ENGLISH.shortcuts] == [keys for keys, _ in CHINESE.shortcuts]
    assert letters <= {key for keys, _ in ENGLISH.shortcuts for key in keys.split()}


@pytest.mark.parametrize(
    ("language", "colours", "width"),
    [("en", "light", 1280), ("zh", "dark", 1280), ("en", "dark", 390), ("zh", "light", 390)],
)
def test_axe_finds_nothing_in_any_state(
    page: Page,
    url: str,
    workspace: Workspace,
    violations: Callable[[Page], list[str]],
    language: str,
    colours: str,
    width: int,
) -> None:
    strings = ENGLISH if language == "en" else CHINESE
    page.context.add_cookies([{"name": "homeroom_language", "value": language, "url": url}])
    page.emulate_media(color_scheme="light" if colours == "light" else "dark", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(url)
    expect(page.get_by_role("heading", name=strings.greeting)).to_be_visible()
    seen = {"empty": violations(page)}
    conversation, question = workspace.feedback.ask(None, "local", "Q\n" * 60, None)
    for _ in range(2):
        answer = workspace.feedback.add_message(
            conversation, "assistant", MARKDOWN, parent_id=question, model_id="gone-1", finish_reason="length"
        )
    workspace.feedback.vote(answer.id, 1)
    page.goto(f"{url}/c/{conversation}")
    expect(page.locator(".answer-text table")).to_be_visible()
    seen["thread"] = violations(page)
    page.get_by_role("button", name=strings.bad).click()
    expect(page.locator(".better")).to_be_visible()
    page.locator(".turn").hover()
    page.get_by_role("button", name=strings.edit_question).click()
    expect(page.locator(".question-form")).to_be_visible()
    seen["forms"] = violations(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name=strings.sampling).click()
    page.get_by_role("spinbutton", name=strings.temperature).fill("9")
    page.keyboard.press("Tab")
    expect(page.locator(".field-error").first).not_to_be_empty()
    seen["sampling"] = violations(page)
    page.get_by_role("dialog").get_by_role("button", name=strings.done).click()
    page.get_by_role("button", name=strings.help).click()
    seen["help"] = violations(page)
    page.keyboard.press("Escape")
    if width == 390:
        page.get_by_role("button", name=strings.menu).click()
    page.get_by_role("searchbox").type("nothing of this")
    expect(page.locator(".nothing-found")).not_to_be_empty()
    seen["search"] = violations(page)
    assert "\n".join(f"{state}: {one}" for state, found in seen.items() for one in found) == ""
