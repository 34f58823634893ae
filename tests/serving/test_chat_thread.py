"""What can be done with a conversation on the chat page, in a real Chromium: Markdown, branches, search, sampling."""

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from homeroom.workspace import Workspace

pytestmark = pytest.mark.browser

QUESTION, ANSWER = "How is the idiom 画蛇添足 pronounced?", "画蛇添足 is pronounced huà shé tiān zú."
HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"
ENGLISH_HELLO, ENGLISH_ANSWER = "Hello, how are you?", "I am doing well, thank you. And how are you?"
Say = Callable[[Page, str, str | re.Pattern[str]], None]
MARKDOWN = """# Birds

Here are **three**, see [the list](https://example.org/birds) or [bad](javascript:alert(1)):

1. Robin
2. 喜鹊

```python
for bird in ("robin", "magpie"):
    print(f"<b>{bird}</b> sings in the garden and in the park behind the house, every single morning of the year")
```

| Bird | Song |
|---|---|
| Wren | loud |

<img src=x onerror="alert(1)"> ![remote](https://example.org/x.png)"""


@pytest.fixture(scope="module")
def url(pages_url: str) -> str:
    return pages_url


def told(workspace: Workspace, question: str, answer: str) -> str:
    """The path of a conversation that has this answer."""
    conversation, asked = workspace.feedback.ask(None, "local", question, None)
    workspace.feedback.add_message(conversation, "assistant", answer, parent_id=asked, finish_reason="stop")
    return f"/c/{conversation}"


def test_markdown_is_drawn_code_is_copied_and_links_lead_out(page: Page, url: str, workspace: Workspace) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(url + told(workspace, "Tell me **of** birds", MARKDOWN))
    expect(page.locator(".bubble")).to_have_text("Tell me **of** birds")
    text = page.locator(".answer-text")
    expect(text.get_by_role("heading", name="Birds", level=2)).to_be_visible()
    expect(text.locator("li")).to_have_text(["Robin", "喜鹊"])
    expect(text.locator("td")).to_have_text(["Wren", "loud"])
    expect(text).to_contain_text('<img src=x onerror="alert(1)">')
    expect(text).to_contain_text("[bad](javascript:alert(1))")
    assert text.locator("img").count() == 0
    link = text.get_by_role("link", name="the list")
    assert {name: link.get_attribute(name) for name in ("href", "target")} == {
        "href": "https://example.org/birds", "target": "_blank",
    }  # fmt: skip
    assert "noopener" in (link.get_attribute("rel") or "").split()

    copied = "navigator.clipboard.readText()"
    page.get_by_role("button", name="Copy code").click()
    expect(page.locator(".code-copy.done")).to_be_visible()
    assert str(page.evaluate(copied)).startswith('for bird in ("robin", "magpie"):\n    print(f"<b>{bird}</b>')
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator(".copy.done")).to_be_visible()
    assert page.evaluate(copied) == MARKDOWN
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("button", name="复制代码")).to_be_visible()


@pytest.mark.parametrize("allowed", [True, False])
def test_copying_over_plain_http_or_that_it_cannot_be_done_is_told(
    page: Page, url: str, workspace: Workspace, allowed: bool
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    # As from another machine; the page keeps a way to look at what was copied.
    page.add_init_script(
        "window.clipboard = navigator.clipboard;"
        "Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined });"
        + ("" if allowed else "document.execCommand = () => false;")
    )
    page.goto(url + told(workspace, "Which birds?", MARKDOWN))
    page.evaluate("window.clipboard.writeText('before')")
    copied, outcome = "window.clipboard.readText()", "done" if allowed else "failed"
    page.get_by_role("button", name="Copy code").click()
    expect(page.locator(f".code-copy.{outcome}")).to_be_visible()
    assert str(page.evaluate(copied)).startswith('for bird in ("robin", "magpie"):' if allowed else "before")
    button = page.get_by_role("button", name="Copy", exact=True)
    button.click()
    expect(page.locator(f".copy.{outcome}")).to_be_visible()
    shown = page.locator(".copy").evaluate("button => getComputedStyle(button, '::after').content")
    assert shown == ('"Copied"' if allowed else '"Not copied: select the text"')
    assert page.evaluate(copied) == (MARKDOWN if allowed else "before")
    expect(button).to_be_focused()


def test_a_question_in_other_words_is_a_branch_and_both_can_be_seen(page: Page, say: Say, workspace: Workspace) -> None:
    say(page, HELLO, HELLO_ANSWER)
    expect(page).to_have_url(re.compile("/c/[0-9a-f]{32}$"))  # it may come after the answer
    address = page.url
    say(page, QUESTION, re.compile("."))
    first = page.locator(".turn").first
    first.hover()
    first.get_by_role("button", name="Edit and ask again").click()
    area = page.get_by_role("textbox", name="Your question")
    expect(area).to_have_value(HELLO)
    expect(area).to_be_focused()
    area.fill(ENGLISH_HELLO)
    area.press("Enter")
    expect(page.locator(".turn")).to_have_count(1)
    expect(page.locator(".answer-text")).to_have_text(ENGLISH_ANSWER)  # the second turn stayed with the old question
    versions = page.get_by_role("group", name="Versions of the question")
    expect(versions).to_contain_text("2/2")
    expect(page).to_have_url(address)

    versions.get_by_role("button", name="Previous version").click()
    expect(page.locator(".bubble")).to_have_text([HELLO, QUESTION])
    expect(page.locator(".answer-text").first).to_have_text(HELLO_ANSWER)
    expect(versions.first).to_contain_text("1/2")
    expect(versions.first.get_by_role("button", name="Previous version")).to_be_focused()
    expect(versions.first.get_by_role("button", name="Previous version")).to_have_attribute("aria-disabled", "true")
    page.reload()
    expect(page.locator(".bubble")).to_have_text([ENGLISH_HELLO])  # the newest branch
    expect(versions).to_contain_text("2/2")

    tree = workspace.feedback.conversation(address.rpartition("/")[2])
    assert [m.text for m in tree if m.role == "user" and m.parent_id is None] == [HELLO, ENGLISH_HELLO]
    say(page, HELLO, re.compile("."))  # what comes after builds on the branch that is shown
    tree = workspace.feedback.conversation(address.rpartition("/")[2])
    above = {m.id: m for m in tree}
    assert above[str(tree[-2].parent_id)].text == "I am doing well, thank you.\nAnd how are you?"


def test_an_answer_made_again_stands_beside_the_first_and_votes_stay_with_theirs(
    page: Page, say: Say, workspace: Workspace
) -> None:
    say(page, HELLO, HELLO_ANSWER)
    up = page.get_by_role("button", name="Good answer")
    up.click()
    expect(up).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Answer again").click()
    versions = page.get_by_role("group", name="Versions of the answer")
    expect(versions).to_contain_text("2/2")
    expect(up).to_have_attribute("aria-pressed", "false")
    versions.get_by_role("button", name="Previous version").click()
    expect(versions).to_contain_text("1/2")
    expect(up).to_have_attribute("aria-pressed", "true")
    say(page, QUESTION, re.compile("."))  # under the first, though both say the same
    question, first, second, follow, _ = workspace.feedback.conversation(page.url.rpartition("/")[2])
    assert (first.parent_id, second.parent_id, follow.parent_id) == (question.id, question.id, first.id)
    assert first.text == second.text

    page.get_by_role("button", name="Answer again").first.click()  # in the middle: what followed stays with the first
    expect(page.locator(".turn")).to_have_count(1)
    expect(versions).to_contain_text("3/3")
    versions.get_by_role("button", name="Previous version").click()
    expect(versions).to_contain_text("2/3")
    versions.get_by_role("button", name="Previous version").click()
    expect(page.locator(".bubble")).to_have_text([HELLO, QUESTION])


def test_a_question_that_fails_leaves_the_way_back(page: Page, say: Say) -> None:
    say(page, HELLO, HELLO_ANSWER)
    page.locator(".turn").hover()
    page.get_by_role("button", name="Edit and ask again").click()
    area = page.get_by_role("textbox", name="Your question")
    area.fill("很长" * 2000)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator(".note")).to_contain_text("this model reads 192 in all")
    page.get_by_role("group", name="Versions of the question").get_by_role("button", name="Previous version").click()
    expect(page.locator(".bubble")).to_have_text(HELLO)
    expect(page.locator(".answer-text")).to_have_text(HELLO_ANSWER)
    expect(page.locator(".note")).to_be_empty()


def test_conversations_are_found_by_what_was_said_in_them(page: Page, url: str, workspace: Workspace) -> None:
    workspace.feedback.ask(None, "somebody else", "A Zebra that is not mine", None)
    path = told(workspace, "Of stripes", "The <b>ZEBRA</b> has them. 斑马")
    page.reload()
    search = page.get_by_role("searchbox", name="Search conversations")
    links = page.get_by_role("navigation").get_by_role("link")
    for words in ("zebra", "ｚｅｂｒａ STRIPES", "斑马"):
        search.fill("")
        search.type(words)
        expect(links).to_have_count(1)
        expect(links.locator(".title")).to_have_text("Of stripes")
    expect(links.locator(".excerpt")).to_have_text("The <b>ZEBRA</b> has them. 斑马")
    search.fill("zebra crossing")
    expect(links).to_have_count(0)
    expect(page.get_by_role("status").filter(has_text="Nothing found.")).to_be_visible()
    search.fill("斑马")
    links.click()
    expect(page).to_have_url(url + path)
    expect(page.locator(".bubble")).to_have_text("Of stripes")


def test_who_talks_says_whether_a_conversation_may_be_learned_from(page: Page, say: Say, workspace: Workspace) -> None:
    switch = page.get_by_role("button", name="This conversation may be learned from")
    expect(switch).to_have_attribute("aria-pressed", "true")
    switch.press("Enter")  # before anything was said
    expect(switch).to_have_attribute("aria-pressed", "false")
    say(page, HELLO, HELLO_ANSWER)
    expect(page).to_have_url(re.compile("/c/"))
    conversation = page.url.rpartition("/")[2]
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    answer = workspace.feedback.conversation(conversation)[-1].id
    assert not workspace.feedback.may_learn_from(conversation)
    assert answer not in [vote.message_id for vote in workspace.feedback.votes()]
    page.reload()
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("alert").filter(has_text="Models may learn from what you say")).to_be_attached()
    assert answer in [vote.message_id for vote in workspace.feedback.votes()]
    page.get_by_role("link", name="New chat").click()
    expect(switch).to_have_attribute("aria-pressed", "true")


def test_sampling_is_chosen_for_one_conversation_and_kept_in_the_browser(
    page: Page, url: str, say: Say, workspace: Workspace
) -> None:
    panel = page.get_by_role("button", name="How answers are sampled")
    panel.click()
    longest = page.get_by_role("spinbutton", name="Longest answer")
    expect(longest).to_have_attribute("placeholder", "4000")  # what the server was told
    temperature = page.get_by_role("spinbutton", name="Temperature")
    longest.fill("3")
    page.get_by_role("spinbutton", name="Seed").fill("42")
    temperature.fill("7")
    temperature.press("Tab")
    expect(page.locator(".field-error").first).to_have_text("This must be between 0 and 2.")
    expect(temperature).to_have_attribute("aria-invalid", "true")
    temperature.fill("0.5")
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("button", name="changed for this conversation")).to_be_visible()
    say(page, HELLO, re.compile("^.{1,12}$"))
    expect(page.locator(".note")).to_have_text("The answer reached its longest length.")
    used = workspace.feedback.conversation(page.url.rpartition("/")[2])[-1].sampling or {}
    assert {name: used[name] for name in ("temperature", "top_p", "max_tokens", "seed")} == {
        "temperature": 0.5, "top_p": 1.0, "max_tokens": 3, "seed": 42,
    }  # fmt: skip

    address = page.url
    page.get_by_role("link", name="New chat").click()
    expect(page.get_by_role("button", name="How answers are sampled", exact=True)).to_be_visible()
    page.goto(address)
    page.get_by_role("button", name="changed for this conversation").click()
    expect(longest).to_have_value("3")
    expect(temperature).to_have_value("0.5")
    page.get_by_role("button", name="Reset to the model's advice").click()
    expect(longest).to_have_value("")
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".answer-text")).to_have_text(HELLO_ANSWER)
    page.reload()
    expect(page.get_by_role("button", name="How answers are sampled", exact=True)).to_be_visible()
    assert [c for c in page.context.cookies(address) if c["name"] == "homeroom_sampling"] == []


@pytest.mark.parametrize(
    "cookie", ["x", "%7B", json.dumps({"temperature": 99}), json.dumps({"top_k": 5}), "[]", "null"]
)
def test_whatever_a_cookie_holds_the_page_comes(page: Page, url: str, cookie: str) -> None:
    page.context.add_cookies([{"name": "homeroom_sampling", "value": cookie.replace(",", "%2C"), "url": url}])
    page.reload()
    expect(page.get_by_role("button", name="How answers are sampled", exact=True)).to_be_visible()
