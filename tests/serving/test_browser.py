"""The chat page in a real Chromium."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from homeroom.inference.engine import Engine
from homeroom.serving import app
from homeroom.serving.app import serving
from homeroom.serving.pages import answer
from homeroom.serving.pages import chat as chat_page
from homeroom.serving.settings import ServingSettings
from homeroom.workspace import Artifact, Workspace, model_name

pytestmark = pytest.mark.browser

QUESTION, ANSWER = "How is the idiom 画蛇添足 pronounced?", "画蛇添足 is pronounced huà shé tiān zú."
HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"
Say = Callable[[Page, str, str | re.Pattern[str]], None]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def url(workspace: Workspace) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "CHAMPION_SECONDS", 0.2)
        patch.setattr(chat_page, "MODEL_SECONDS", 0.2)
        with serving(workspace, ServingSettings(port=0, temperature=0.0), pages=True) as url:
            yield url


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The small model writes faster than anybody can look; until undone, it takes its time."""
    step = Engine.step
    with monkeypatch.context() as slow:
        slow.setattr(Engine, "step", lambda engine: (time.sleep(0.1), step(engine))[1])
        yield slow


def test_an_answer_streams_in(page: Page, workspace: Workspace, slowly: pytest.MonkeyPatch) -> None:
    page.evaluate(
        """() => {
            window.lengths = new Set();
            new MutationObserver(() => {
                const text = document.querySelector(".answer-text");
                if (text) lengths.add(text.textContent.length);
            }).observe(document.querySelector(".thread"), {subtree: true, childList: true, characterData: true});
        }"""
    )
    page.get_by_role("button", name=QUESTION).click()
    expect(page.locator(".answer-text")).to_have_text(ANSWER)
    expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
    assert len(page.evaluate("[...lengths]")) > 3, "the answer came at once"
    champion = workspace.champion()
    assert champion is not None
    for place in (page.locator(".answered-by"), page.locator(".model")):
        expect(place).to_have_text(str(model_name(champion)))
        expect(place).to_have_attribute("title", f"Answered by model {champion.id}")
    expect(page).to_have_url(re.compile("/c/[0-9a-f]{32}$"))
    expect(page.get_by_role("navigation").get_by_role("link")).to_contain_text([QUESTION])


def test_an_answer_is_drawn_ten_times_a_second_at_most_and_only_where_it_grew(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []
    step, blocks = Engine.step, answer.blocks
    monkeypatch.setattr(Engine, "step", lambda engine: (time.sleep(0.02), step(engine))[1])
    monkeypatch.setattr(answer, "blocks", lambda *given: (drawn.append(time.monotonic()), blocks(*given))[1])
    page.get_by_role("button", name="Hello, how are you?").click()
    expect(page.locator(".block")).not_to_be_empty()
    page.evaluate("window.first = document.querySelector('.block')")
    expect(page.locator(".answer-text")).to_have_text("I am doing well, thank you. And how are you?")
    expect(page.locator(".actions")).to_be_visible()
    assert page.evaluate("first.isConnected"), "the block was made anew while it grew"
    begun, *growing = drawn[1:-1]  # before the first text, and at the end, it is drawn at once
    assert len(growing) >= 2
    assert all(later - earlier > 0.09 for earlier, later in pairwise([begun, *growing])), drawn


def test_a_vote_is_in_the_database_before_the_button_says_so(page: Page, say: Say, workspace: Workspace) -> None:
    say(page, HELLO, HELLO_ANSWER)
    up = page.get_by_role("button", name="Good answer")
    before = workspace.feedback.counts()["votes"]
    database = sqlite3.connect(workspace.path / "homeroom.sqlite", isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")  # nobody else can write now
        up.click()
        expect(up).to_have_attribute("aria-disabled", "true")
        page.wait_for_timeout(400)
        expect(up).to_have_attribute("aria-pressed", "false")
        expect(page.locator(".counted")).to_be_empty()
        assert workspace.feedback.counts()["votes"] == before
        database.execute("ROLLBACK")
    finally:
        database.close()
    expect(up).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".counted")).to_have_text("Counted")
    assert workspace.feedback.counts()["votes"] == before + 1
    judged = workspace.feedback.votes()[-1]
    assert (judged.question, judged.answer, judged.value, judged.user) == (HELLO, HELLO_ANSWER, 1, "local")


def test_a_thumb_down_asks_for_a_better_answer_and_a_reload_shows_all_of_it(
    page: Page, say: Say, workspace: Workspace
) -> None:
    say(page, HELLO, HELLO_ANSWER)
    page.get_by_role("button", name="Bad answer").click()
    better = page.get_by_role("textbox", name="What would have been a better answer?")
    better.fill("你好！<b>有什么</b>可以帮你？")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".better-saved")).to_contain_text("<b>有什么</b>")
    expect(better).to_be_hidden()
    judged = workspace.feedback.votes()[-1]
    assert (judged.value, judged.better_answer) == (-1, "你好！<b>有什么</b>可以帮你？")

    page.reload()
    expect(page.locator(".answer-text")).to_have_text(HELLO_ANSWER)
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".better-saved")).to_contain_text("<b>有什么</b>")


def test_markup_is_text_wherever_it_stands(page: Page, say: Say, workspace: Workspace) -> None:
    evil = "</script><script>document.title='broken'</script><img src=x onerror=\"alert(1)\">{{ 7 * 7 }}`${1}"
    turn = page.locator(".turn")
    page.locator(".composer textarea").fill(evil)
    page.keyboard.press("Enter")
    expect(turn.locator(".bubble")).to_have_text(evil)
    expect(turn.locator(".actions")).to_be_visible()
    say(page, "Write some markup.", re.compile(r"<script>document\.title = 'broken'</script><img .*> bold &$"))
    page.reload()  # now it stands in the page's source, and in the list of conversations
    expect(turn.locator(".bubble").first).to_have_text(evil)
    expect(page.locator(".conversation[aria-current]")).to_have_text(evil)
    expect(page).to_have_title("Homeroom")
    assert page.locator(".page img, .page b, .page script").count() == 0
    expect(turn.last.locator(".answer-text strong")).to_have_text("bold")


def test_stop_keeps_what_was_written_and_answering_again_replaces_it(
    page: Page, workspace: Workspace, slowly: pytest.MonkeyPatch
) -> None:
    page.locator(".composer textarea").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".answer-text")).not_to_be_empty()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".note")).to_have_text("You stopped this answer.")
    slowly.undo()
    stopped = page.locator(".answer-text").inner_text()
    assert ANSWER.startswith(stopped.strip())
    assert stopped.strip() != ANSWER
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".answer-text")).to_have_text(ANSWER)
    expect(page.locator(".actions")).to_be_visible()
    expect(page.locator(".note")).to_be_empty()
    conversation = workspace.feedback.conversation(page.url.rpartition("/")[2])
    assert [(m.role, m.finish_reason) for m in conversation] == [
        ("user", None), ("assistant", "cancelled"), ("assistant", "stop"),
    ]  # fmt: skip
    assert conversation[1].text == stopped


@pytest.mark.parametrize("leaves", [False, True])
def test_consent_that_was_not_given_is_not_given_while_the_first_answer_is_written(
    page: Page, workspace: Workspace, slowly: pytest.MonkeyPatch, leaves: bool
) -> None:
    page.get_by_role("button", name="This conversation may be learned from").click()
    page.locator(".composer textarea").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".answer-text")).not_to_be_empty()
    conversation = workspace.feedback.conversations(1)[0]
    assert not conversation.consent
    if leaves:
        page.goto("about:blank")
    slowly.undo()
    deadline = time.monotonic() + 30
    while len(workspace.feedback.conversation(conversation.id)) < 2:
        assert time.monotonic() < deadline, "the answer was not stored"
        time.sleep(0.05)
    assert not workspace.feedback.may_learn_from(conversation.id)


def test_the_language_switches_in_place_and_is_remembered(page: Page, say: Say) -> None:
    say(page, HELLO, HELLO_ANSWER)
    page.get_by_role("button", name="Good answer").click()
    expect(page.locator(".counted")).to_have_text("Counted")
    page.locator(".composer textarea").fill("half a thought")
    page.get_by_role("button", name="简体中文").click()
    expect(page.locator(".counted")).to_have_text("已计入")
    expect(page.get_by_role("button", name="发送")).to_be_visible()
    expect(page.locator(".composer textarea")).to_have_value("half a thought")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.get_by_role("link", name="新对话").click()
    expect(page.get_by_role("heading", name="想了解点什么？")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()


def test_the_keyboard(page: Page) -> None:
    box = page.locator(".composer textarea")
    expect(box).to_be_focused()
    page.keyboard.press("Enter")  # nothing to send
    box.type("你好")
    page.keyboard.press("Shift+Enter")
    expect(box).to_have_value("你好\n")
    expect(page.locator(".turn")).to_have_count(0)
    # Enter while Chinese is being composed chooses a word.
    box.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    page.wait_for_timeout(200)
    expect(page.locator(".turn")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator(".bubble")).to_have_text("你好")
    expect(box).to_have_value("")
    expect(page.locator(".actions")).to_be_visible()
    page.get_by_role("button", name="Good answer").focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Good answer")).to_be_focused()


def test_a_message_of_a_megabyte_is_not_let_in(page: Page, say: Say) -> None:
    box = page.locator(".composer textarea")
    box.fill("kept")
    page.keyboard.insert_text("x" * 1_000_000)  # as pasting does
    expect(page.get_by_role("alert")).to_have_text(
        "This message has 1,000,004 characters; at most 100,000 can be sent."
    )
    expect(box).to_have_value("kept")
    box.fill("很长" * 2000)  # this one is sent, and too long for the model
    box.press("Enter")
    expect(page.locator(".note")).to_contain_text("this model reads 192 in all")
    say(page, HELLO, HELLO_ANSWER)


def test_colours_follow_the_system_or_the_choice(page: Page) -> None:
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = paper()
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_class(re.compile("body--dark"))
    dark = paper()
    assert dark != light
    page.get_by_role("button", name="Colours: as the system. Switch to light").click()
    expect(page.locator("body")).to_have_class(re.compile("body--light"))
    assert paper() == light
    page.reload()
    expect(page.get_by_role("button", name="Colours: light. Switch to dark")).to_be_visible()
    assert paper() == light
    page.get_by_role("button", name="Colours: light. Switch to dark").click()
    expect(page.locator("body")).to_have_class(re.compile("body--dark"))
    assert paper() == dark


def test_a_phone_shows_everything_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    width = "['html', 'body', '.scroller'].map((part) => document.querySelector(part).scrollWidth)"
    assert page.evaluate(width) == [390, 390, 390]
    page.locator(".composer textarea").fill("x" * 100)
    page.keyboard.press("Enter")
    expect(page.locator(".actions")).to_be_visible()
    page.get_by_role("button", name="Bad answer").click()
    expect(page.get_by_role("button", name="Save")).to_be_visible()
    assert page.evaluate(width) == [390, 390, 390]
    expect(page.get_by_role("link", name="New chat")).to_be_hidden()
    page.get_by_role("button", name="Open menu").click()
    expect(page.get_by_role("link", name="New chat")).to_be_in_viewport()
    assert page.evaluate(width) == [390, 390, 390]
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="New chat")).to_be_hidden()


def test_a_new_champion_shows_without_a_reload(
    page: Page, workspace: Workspace, endless: Path, publish: Callable[[Workspace, Path, str], Artifact]
) -> None:
    new = publish(workspace, endless, "endless")
    pill = page.locator(".model")
    expect(pill).to_have_attribute("title", f"Answered by model {new.id}")
    expect(page.get_by_role("alert")).to_have_text("A new model answers from now on.")
    workspace.registry.rollback()
    expect(pill).not_to_have_attribute("title", f"Answered by model {new.id}")


def test_an_unknown_conversation_is_an_empty_page(page: Page, url: str) -> None:
    page.goto(f"{url}/c/00000000000000000000000000000000")
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()


def test_pages_are_served_once_in_a_process(url: str, workspace: Workspace) -> None:
    with (
        pytest.raises(Exception, match="served by this process already"),
        serving(workspace, ServingSettings(port=0), pages=True),
    ):
        pass
