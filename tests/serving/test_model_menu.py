"""Who operates may talk to another model than the champion: which may be chosen, and the menu in a real Chromium."""

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Page, expect

from homeroom.serving.assistant import Assistant, AssistantStopped
from homeroom.serving.others import Others
from homeroom.serving.pages.elements import Words
from homeroom.serving.pages.model_menu import ModelMenu
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.workspace import Artifact, ModelNames, Workspace

HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"
Say = Callable[[Page, str, str | re.Pattern[str]], None]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, taught: Path, endless: Path, publish: object) -> Workspace:
    """Two models were champion and are no more, one of which answers without an end; another is."""
    workspace = Workspace.open(tmp_path_factory.mktemp("three"))
    publish(workspace, taught, "as taught")  # type: ignore[operator]
    publish(workspace, endless, "endless")  # type: ignore[operator]
    publish(workspace, taught, "taught")  # type: ignore[operator]
    return workspace


@pytest.fixture(scope="module")
def url(pages_url: str) -> str:
    return pages_url


@pytest.fixture
def assistant(workspace: Workspace) -> Iterator[Assistant]:
    assistant = Assistant(ServingSettings())
    champion = workspace.champion()
    assert champion is not None
    assistant.load(champion)
    yield assistant
    assistant.close()


def earlier(workspace: Workspace, name: str = "endless") -> Artifact:
    return next(one for one in workspace.artifacts.all() if one.settings["name"] == name)


def test_it_answers_who_asks_for_it_and_nobody_else(workspace: Workspace, assistant: Assistant) -> None:
    asyncio.run(asked_by_name(workspace, assistant))


async def asked_by_name(workspace: Workspace, assistant: Assistant) -> None:
    others, other = Others(workspace, assistant), earlier(workspace)
    assert others.ids() == [other.id, earlier(workspace, "as taught").id]
    asked = [{"role": "user", "content": HELLO}], [ServingSettings().sampling({})]
    with pytest.raises(AssistantStopped, match="choose it again"):
        await assistant.begin_all(*asked, by=other.id)  # type: ignore[arg-type]
    others.choose("me", other.id)
    for by, model in ((other.id, other.id), (None, workspace.registry.champion())):
        (answer,) = await assistant.begin_all(*asked, by=by)  # type: ignore[arg-type]
        assert answer.model_id == model
        answer.cancel()
    # Made champion, it need not be read again and is no other any more.
    loaded = assistant._beside["chosen"]
    assistant.load(other)
    assert assistant._current is loaded
    assert assistant.chosen_id is None


def test_who_is_on_trial_or_was_never_decided_on_cannot_be_chosen(
    workspace: Workspace, assistant: Assistant, taught: Path
) -> None:
    others, other = Others(workspace, assistant), earlier(workspace)
    with pytest.raises(HomeroomError, match="cannot be chosen"):
        others.choose("me", "sft-000000000000")
    trial = workspace.registry.begin_trial(other.id, {})
    try:
        assert others.ids() == [earlier(workspace, "as taught").id]
        with pytest.raises(HomeroomError, match="or it is on trial"):
            others.choose("me", other.id)
    finally:
        workspace.registry.end_trial(trial.id, "refused", {})
    kept = (other.path / "config.json").read_bytes()
    try:
        (other.path / "config.json").write_text("{}")
        with pytest.raises(HomeroomError, match=r"config\.json is not as it was published"):
            others.choose("me", other.id)
    finally:
        (other.path / "config.json").write_bytes(kept)
    assert assistant.chosen_id is None


def test_two_operators_choose_two_models_and_nothing_is_kept_for_who_has_left(
    workspace: Workspace, assistant: Assistant
) -> None:
    others, one, two = Others(workspace, assistant), earlier(workspace).id, earlier(workspace, "as taught").id
    others.choose("ann", one)
    others.choose("bob", two)
    assert assistant.chosen_id == two
    others.choose("ann", one)  # who asks again has it again
    assert assistant.chosen_id == one
    others.choose("bob", None)
    assert assistant.chosen_id == one
    others.choose("ann", None)
    assert assistant.chosen_id is None
    others.choose("ann", one)
    with pytest.raises(HomeroomError, match="cannot be chosen"):
        others.choose("ann", "sft-000000000000")
    assert assistant.chosen_id is None


def test_of_two_quick_choices_the_last_holds_and_a_trial_takes_a_chosen_model_away(
    workspace: Workspace, assistant: Assistant
) -> None:
    asyncio.run(quickly(workspace, assistant))


async def quickly(workspace: Workspace, assistant: Assistant) -> None:
    told: list[str] = []
    others, other = Others(workspace, assistant), earlier(workspace).id
    menu = ModelMenu(Words("en"), ModelNames(workspace.artifacts), others, told.append)
    menu.draw = lambda strings: None  # type: ignore[method-assign]
    await menu.read(assistant.model_id)
    await asyncio.gather(*(menu._choose(SimpleNamespace(args=wanted)) for wanted in (other, "")))
    assert menu.chosen is None
    assert "answers you again, as everybody" in told[-1]
    await menu._choose(SimpleNamespace(args=other))
    others.choose("somebody else", earlier(workspace, "as taught").id)
    assert await menu.ready() == other
    assert assistant.chosen_id == other
    trial = workspace.registry.begin_trial(other, {})
    try:
        with pytest.raises(HomeroomError, match="or it is on trial"):
            await menu.ready()
    finally:
        workspace.registry.end_trial(trial.id, "refused", {})
    await menu.left()


@pytest.mark.browser
def test_another_model_is_chosen_answers_and_is_left_again(
    page: Page, say: Say, workspace: Workspace, violations: Callable[[Page], list[str]]
) -> None:
    menu = page.get_by_role("combobox", name="Which model answers you")
    expect(menu.locator("option")).to_have_count(3)
    other, told = earlier(workspace), page.get_by_role("alert")
    menu.select_option(other.id)
    expect(told.filter(has_text="answers you now, here alone.")).to_be_visible()
    expect(page.locator(".model")).to_contain_class("visually-hidden")  # the menu shows the name already
    expect(page.locator(".model")).to_have_attribute("title", f"Answered by model {other.id}")
    page.get_by_label("Message Homeroom").fill(HELLO)
    page.keyboard.press("Enter")
    expect(page.locator(".answer-text")).to_have_text(re.compile(r"\S"))
    page.get_by_role("button", name="Stop").click()
    expect(page).to_have_url(re.compile("/c/"))
    conversation = page.url.rpartition("/")[2]
    expect(page.get_by_role("button", name="Answer again")).to_be_visible()
    assert workspace.feedback.conversation(conversation)[-1].model_id == other.id
    assert violations(page) == []

    menu.select_option("")
    expect(told.filter(has_text="answers you again, as everybody")).to_be_visible()
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".answer-text")).to_have_text(HELLO_ANSWER)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert workspace.feedback.conversation(conversation)[-1].model_id == workspace.registry.champion()
