"""The page Rank in a real Chromium: an item by keyboard, by drag and by touch, and what of it is stored."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from homeroom.serving.pages.rank import read
from homeroom.serving.pages.rank_strings import CHINESE, ENGLISH
from homeroom.workspace import FeedbackError, Item, ShownAnswer, ShownItem, Workspace

EVIL = "</script><script>document.title='broken'</script><img src=x onerror=\"alert(1)\">{{ 7 * 7 }}`${1}"
ASSETS = Path(__file__).parents[2] / "homeroom/serving/pages/assets"
PHONE: Any = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def url(pages_url: str) -> str:
    return pages_url


def put(workspace: Workspace, name: str, *answers: str) -> Item:
    answers = answers or tuple(f"{name} {letter}" for letter in "abcd")
    return workspace.queue.add_item([{"role": "user", "content": f"{name}?"}], answers, id=name, user="maker")


def answers(page: Page) -> Locator:
    return page.locator(".card .answer-text")


def stored(workspace: Workspace, item: Item) -> Any:
    """What counts of the item: state, tiers and flags as texts, the ideal answer."""
    said = workspace.feedback.ranking_by(item.question_id, "local")
    if said is None:
        return None
    text = {id: workspace.feedback.message(id).text for id in item.answer_ids}
    flags = {text[id]: list(given) for id, given in said.flags.items()}
    return said.state, [[text[id] for id in tier] for tier in said.tiers], flags, said.ideal_answer


@pytest.mark.browser
def test_two_items_by_keyboard_alone(page: Page, workspace: Workspace) -> None:
    first, second = put(workspace, "first"), put(workspace, "second")
    page.get_by_role("link", name="Rank answers").click()
    expect(page.locator(".asked-text")).to_have_text("first?")
    expect(answers(page)).to_have_count(4)
    a, b, c, d = answers(page).all_inner_texts()
    assert {a, b, c, d} == {"first a", "first b", "first c", "first d"}
    page.keyboard.press("j")
    page.keyboard.press("Alt+ArrowDown")
    expect(answers(page)).to_have_text([b, a, c, d])
    expect(page.locator(".card").nth(1)).to_be_focused()
    page.keyboard.press("4")
    page.keyboard.press("=")
    page.keyboard.press("t")
    expect(page.locator(".card").nth(3)).to_be_focused()
    expect(page.locator(".place")).to_have_text(["1", "2", "3", "3"])
    expect(page.locator(".rank-live")).to_have_text("Place 4 of 4, as good as the answer above")
    for key in "kkk3":
        page.keyboard.press(key)
    expect(answers(page)).to_have_text([c, d, b, a])
    expect(page.locator(".place")).to_have_text(["1", "2", "2", "2"])  # who lands between equals is as good
    page.keyboard.press("1")
    expect(page.locator(".place")).to_have_text(["1", "2", "3", "3"])
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("u")
    page.keyboard.press("h")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".asked-text")).to_have_text("second?")
    expect(page.locator(".asked")).to_be_focused()
    expect(page.locator(".rank-note")).to_have_text(ENGLISH.counted)
    expect(page.locator(".rank-progress")).to_have_text("1 today · 1 waiting")
    assert stored(workspace, first) == ("ranked", [[b], [c], [d, a]], {a: ["toxic"], d: ["untrue", "unhelpful"]}, None)

    page.keyboard.press("Control+Enter")  # nothing was said yet
    expect(page.get_by_role("alert")).to_have_text(ENGLISH.untouched)
    assert stored(workspace, second) is None
    page.keyboard.press("i")
    page.keyboard.type("zs=1?")  # in the box they are letters
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name=ENGLISH.nothing_waits)).to_be_visible()
    expect(page.get_by_role("button", name="Send this order")).to_be_hidden()
    assert (stored(workspace, second) or ())[3] == "zs=1?"

    page.keyboard.press("z")
    expect(page.get_by_role("textbox", name=re.compile("The ideal answer"))).to_have_value("zs=1?")
    assert stored(workspace, second) is None
    page.keyboard.press("z")
    expect(answers(page)).to_have_text([b, c, d, a])
    expect(page.locator(".place")).to_have_text(["1", "2", "3", "3"])
    expect(page.locator(".flag[aria-pressed=true]")).to_have_text(["Untrue", "Unhelpful", "Toxic"])
    page.keyboard.press("s")
    expect(page.locator(".asked-text")).to_have_text("second?")
    page.keyboard.press("Control+Enter")  # as it was said before
    expect(page.get_by_role("heading", name=ENGLISH.nothing_waits)).to_be_visible()
    assert (stored(workspace, first), (stored(workspace, second) or ())[0]) == (("skipped", [], {}, None), "ranked")

    late = put(workspace, "late")  # the page looks by itself
    expect(page.locator(".asked-text")).to_have_text("late?")
    workspace.feedback.skip(late.question_id)


@pytest.mark.browser
def test_what_was_not_sent_survives_a_reload_and_text_is_text(
    page: Page, url: str, workspace: Workspace, violations: Callable[[Page], list[str]]
) -> None:
    item = put(workspace, "drag", EVIL, "plain", "**bold** [link](javascript:alert(1))", "last")
    page.goto(f"{url}/rank")
    expect(answers(page)).to_have_count(4)
    a, b, c, d = answers(page).all_inner_texts()
    by_mouse(page, 3, 0)
    expect(answers(page)).to_have_text([d, a, b, c])
    by_mouse(page, 0, 2, keep_holding=True)
    page.keyboard.press("Escape")
    page.mouse.up()
    expect(answers(page)).to_have_text([d, a, b, c])
    by_finger(page, 1, 3)
    expect(answers(page)).to_have_text([d, b, c, a])
    cards = page.locator(".card")
    cards.nth(2).get_by_role("button", name="Move up").click()
    expect(cards.nth(1).get_by_role("button", name="Move up")).to_be_focused()
    cards.nth(2).get_by_role("button", name="Same as above").click()
    cards.nth(0).get_by_role("button", name="Off-topic").click()
    page.get_by_role("textbox").fill("<b>half</b> a thought")

    def as_it_was() -> None:
        expect(answers(page)).to_have_text([d, c, b, a])
        expect(page.locator(".place")).to_have_text(["1", "2", "2", "3"])
        expect(page.locator(".flag[aria-pressed=true]")).to_have_count(1)
        expect(page.get_by_role("textbox")).to_have_value("<b>half</b> a thought")

    as_it_was()
    page.reload()
    as_it_was()
    found = violations(page)
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("heading", name=CHINESE.order)).to_be_visible()
    expect(page.locator(".place-said").nth(2)).to_have_text("第 3 位，共 4 个，与上一个回答一样好")
    as_it_was()
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    expect(page.locator("body")).to_have_class(re.compile("body--dark"))
    width = "['html', 'body', '.rank-scroller'].map((part) => document.querySelector(part).scrollWidth)"
    assert page.evaluate(width) == [390, 390, 390]
    found += violations(page)
    assert "\n".join(found) == ""
    assert page.locator(".page img, .page b, .page script, .page .answer-text a").count() == 0
    assert any(EVIL.removesuffix("`${1}") in text for text in (a, b, c, d))
    page.get_by_role("button", name=CHINESE.send).click()
    expect(page.get_by_role("heading", name=CHINESE.nothing_waits)).to_be_visible()
    expect(page).to_have_title("Homeroom")
    assert "\n".join(violations(page)) == ""
    state, tiers, flags, ideal = stored(workspace, item)
    assert (state, [len(tier) for tier in tiers], ideal) == ("ranked", [1, 2, 1], "<b>half</b> a thought")
    assert flags == {tiers[0][0]: ["off-topic"]}
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.includes('drag'))") == []


@pytest.mark.browser
def test_a_phone_is_not_told_of_keys(page: Page, browser: Browser, url: str, workspace: Workspace) -> None:
    put(workspace, "keyed")
    page.goto(url + "/rank")
    expect(page.get_by_text(ENGLISH.order_keys)).to_be_visible()
    phone = browser.new_context(locale="en-US", viewport=PHONE, is_mobile=True, has_touch=True)
    touched = phone.new_page()
    touched.goto(url + "/rank")
    expect(touched.get_by_text(ENGLISH.order_hint)).to_be_visible()
    expect(touched.get_by_text(ENGLISH.order_keys)).to_be_hidden()
    expect(touched.locator(".help-button")).to_be_hidden()
    phone.close()


def by_mouse(page: Page, card: int, to: int, *, keep_holding: bool = False) -> None:
    (x, y), (_, end) = middle(page, card), middle(page, to)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, end + (12 if to > card else -12), steps=4)
    if not keep_holding:
        page.mouse.up()


def by_finger(page: Page, card: int, to: int) -> None:
    (x, y), (_, end) = middle(page, card), middle(page, to)
    session = page.context.new_cdp_session(page)
    touches = [("touchStart", [{"x": x, "y": y}]), ("touchMove", [{"x": x, "y": (y + end) / 2}])]
    touches += [("touchMove", [{"x": x, "y": end + 12}]), ("touchEnd", [])]
    for kind, points in touches:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.detach()


def middle(page: Page, card: int) -> tuple[float, float]:
    box = page.locator(".handle").nth(card).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


SHOWN = ShownItem("i", "q", [{"role": "user", "content": "?"}], [ShownAnswer("a", "x"), ShownAnswer("b", "y")])
WHOLE = {"question_id": "q", "state": "ranked", "tiers": [["b"], ["a"]]}


def test_an_order_or_a_skip_of_the_item_is_read() -> None:
    body = read(WHOLE | {"flags": {"a": ["toxic"]}, "ideal_answer": "z"}, SHOWN)
    assert body is not None
    assert (body.tiers, body.flags, body.ideal_answer) == ([["b"], ["a"]], {"a": ["toxic"]}, "z")
    assert read({"question_id": "q", "state": "skipped"}, SHOWN) is not None
    assert read(WHOLE | {"question_id": "another"}, SHOWN) is None


@pytest.mark.parametrize(
    "change",
    [
        {"tiers": [["a"]]}, {"tiers": [["a"], ["a"]]}, {"tiers": [["a", "b", "c"]]}, {"tiers": []}, {"tiers": "ab"},
        {"flags": {"a": ["dull"]}}, {"ideal_answer": "\ud800"}, {"user": "somebody"},
        {"state": "withdrawn", "tiers": []}, {"state": "skipped"}, {"more": 1},
    ],
)  # fmt: skip
def test_what_a_browser_says_is_not_believed(change: dict[str, object]) -> None:
    with pytest.raises(FeedbackError):
        read(WHOLE | change, SHOWN)
    for nothing in (None, "q", []):
        with pytest.raises(FeedbackError):
            read(nothing, SHOWN)


def test_every_key_is_listed_in_both_languages() -> None:
    script = (ASSETS / "rank.js").read_text(encoding="utf-8")
    letters = set(re.findall(r'^    "?([^\s":]+)"?: \(\) =>', script, re.MULTILINE))
    flags = dict(re.findall(r'(\w): "([\w-]+)"', script.partition("const FLAGS = {")[2].partition("}")[0]))
    assert letters == {"j", "k", "i", "s", "z", "?"}
    assert set(flags.values()) == set(ENGLISH.flags) == set(CHINESE.flags)
    assert [keys for keys, _ in ENGLISH.shortcuts] == [keys for keys, _ in CHINESE.shortcuts]
    assert letters | set(flags) <= {key for keys, _ in ENGLISH.shortcuts for key in keys.split()}
