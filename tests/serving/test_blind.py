"""Blind pairs in a real Chromium, and promotion while people are being answered, by a server in another process."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from homeroom.evaluation.trial import TrialSettings
from homeroom.serving.pages.strings import CHINESE
from homeroom.workspace import Artifact, Workspace, model_name

pytestmark = pytest.mark.browser

# As in conftest.py, which pytest does not let tests import.
HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"
QUESTION, ANSWER = "How is the idiom 画蛇添足 pronounced?", "画蛇添足 is pronounced huà shé tiān zú."
TRIAL = {"settings": TrialSettings().model_dump(mode="json")}
Publish = Callable[[Workspace, Path, str], Artifact]


@dataclass(frozen=True)
class Models:
    champion: Artifact
    candidate: Artifact  # it never ends by itself


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(tmp_path_factory.mktemp("blind"))


@pytest.fixture(scope="module")
def models(workspace: Workspace, taught: Path, endless: Path, publish: Publish) -> Models:
    champion = publish(workspace, taught, "taught")
    candidate = publish(workspace, endless, "endless")
    workspace.registry.rollback()
    return Models(champion, candidate)


@pytest.fixture(scope="module")
def url(start_once: Any, workspace: Workspace, models: Models) -> str:
    _, url = start_once(workspace, pairs=1.0, max_tokens=60)
    return str(url)


@pytest.fixture
def on_trial(workspace: Workspace, models: Models, url: str) -> Iterator[None]:
    workspace.registry.begin_trial(models.candidate.id, TRIAL)
    deadline = time.monotonic() + 30
    while httpx.get(f"{url}/healthz").json()["candidate"] != models.candidate.id:
        assert time.monotonic() < deadline, "the candidate was not loaded within 30 s"
        time.sleep(0.05)
    yield
    if workspace.registry.trial() is not None:
        workspace.registry.refuse(models.candidate.id, {})


def ask(page: Page, text: str) -> None:
    page.locator(".composer textarea").fill(text)
    page.keyboard.press("Enter")


def sides(page: Page) -> list[str]:
    """What stands left and right, once it may be chosen from."""
    expect(page.locator(".turn").last.locator(".choice")).to_be_visible()
    return [text.strip() for text in page.locator(".pair .answer-text").all_inner_texts()]


def test_two_answers_are_chosen_from_by_key_and_by_mouse(
    page: Page, workspace: Workspace, models: Models, on_trial: None
) -> None:
    choice, told, answers = page.locator(".choice:visible"), page.locator(".told"), page.locator(".answer")
    ask(page, HELLO)
    shown = sides(page)
    assert HELLO_ANSWER in shown
    expect(page.locator(".pair .side")).to_have_text(["Answer A", "Answer B"])
    assert [each.strip() for each in page.locator(".pair .answered-by").all_text_contents()] == ["", ""]
    assert models.candidate.id not in page.locator(".thread").inner_html()
    assert workspace.feedback.counts()["comparisons"] == 0

    page.get_by_role("button", name="简体中文").click()
    expect(choice).to_contain_text(CHINESE.pair.ask)
    expect(page.locator(".pair .side")).to_have_text(["回答 A", "回答 B"])
    page.wait_for_function("document.cookie.includes('homeroom_language=zh')")
    page.reload()
    assert sides(page) == shown
    expect(choice).to_contain_text(CHINESE.pair.ask)
    page.get_by_role("button", name="English").click()
    page.set_viewport_size({"width": 390, "height": 844})
    parts = "['html', 'body', '.scroller'].map((part) => document.querySelector(part).scrollWidth)"
    assert page.evaluate(parts) == [390, 390, 390]
    violations = [each["id"] for each in Axe().run(page).response["violations"]]
    assert violations == []
    page.set_viewport_size({"width": 1280, "height": 800})

    # By key: with a text in the box the arrows move in it.
    box = page.locator(".composer textarea")
    box.fill("half")
    box.press("ArrowLeft")
    expect(choice).to_be_visible()
    box.fill("")
    box.press(("ArrowLeft", "ArrowRight")[shown.index(HELLO_ANSWER)])
    expect(told).to_contain_text("Counted.")
    for name in (models.champion.id, models.candidate.id):  # they have one name: made on one day by one stage
        expect(told).to_contain_text(name)
    expect(page.locator(".answer-text")).to_have_text([HELLO_ANSWER])
    expect(page.locator(".answered-by")).to_have_text(str(model_name(models.champion)))
    expect(page.get_by_role("group", name="Versions of the answer")).to_contain_text("/2")
    expect(box).to_be_focused()
    [compared] = workspace.feedback.compared()
    chosen = {"left": compared.left, "right": compared.right}[compared.choice]
    assert (compared.kind, chosen.model_id, chosen.text) == ("trial", models.champion.id, HELLO_ANSWER)
    assert [compared.left.text.strip(), compared.right.text.strip()] == shown

    # By mouse: both bad. The left one stays, also when the page is loaded again.
    ask(page, QUESTION)
    expect(page.locator(".turn")).to_have_count(2)
    left, _ = sides(page)
    page.get_by_role("button", name="Both bad").click()
    expect(told.last).to_contain_text("Counted.")
    expect(answers).to_have_count(2)
    assert workspace.feedback.counts()["down"] == 2
    page.reload()
    expect(answers).to_have_count(2)
    expect(page.locator(".answer-text").first).to_have_text(HELLO_ANSWER)
    assert page.locator(".answer-text").last.inner_text().strip() == left

    # Who does not choose goes on, after the left one.
    ask(page, "Hello, how are you?")
    expect(page.locator(".turn")).to_have_count(3)
    left, _ = sides(page)
    ask(page, HELLO)
    expect(page.locator(".turn")).to_have_count(4)
    sides(page)
    expect(answers).to_have_count(5)
    assert page.locator(".answer-text").nth(2).inner_text().strip() == left
    page.keyboard.press("Alt+ArrowUp")
    page.keyboard.press("ArrowDown")  # here it scrolls
    box.press("ArrowDown")
    expect(told.last).to_contain_text("Counted.")
    messages = workspace.feedback.conversation(page.url.rpartition("/")[2])
    said = {message.id: message for message in messages}
    last = [message for message in messages if message.role == "user"][-1]
    assert said[str(last.parent_id)].text.strip() == left
    assert [each.choice for each in workspace.feedback.compared()][1:] == ["tie", "tie"]


def test_a_page_that_is_loaded_again_while_both_are_written_shows_them(page: Page, on_trial: None) -> None:
    page.get_by_role("button", name="How answers are sampled").click()
    page.get_by_role("spinbutton", name="Longest answer").fill("3900")
    page.get_by_role("button", name="Done").click()
    ask(page, HELLO)
    expect(page).to_have_url(re.compile("/c/[0-9a-f]{32}$"))
    page.reload()
    expect(page.locator(".pair .answer")).to_have_count(2)
    expect(page.locator(".bubble")).to_have_text(HELLO)
    expect(page.locator(".pair .answer.writing").first).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".answer")).to_have_count(1)  # what was cut short is not chosen from
    expect(page.locator(".choice:visible")).to_have_count(0)
    expect(page.locator(".actions")).to_be_visible()


@dataclass(frozen=True)
class Streamed:
    began: float
    ended: float
    status: int
    models: frozenset[str]
    text: str
    finish_reason: str | None


class Clients:
    """Threads that ask one question after the other, by streams."""

    def __init__(self, url: str, count: int) -> None:
        self.answers: list[Streamed] = []
        self.errors: list[Exception] = []
        self._url, self._stop = url, threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(count)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._stop.is_set():
                try:
                    self.answers.append(streamed(client, self._url))
                except Exception as error:
                    self.errors.append(error)


def streamed(client: httpx.Client, url: str) -> Streamed:
    began, models, text, reason = time.monotonic(), set(), "", None
    messages = [{"role": "user", "content": QUESTION}]
    body = {"model": "homeroom", "messages": messages, "stream": True, "max_tokens": 400}
    with client.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                models.add(chunk.get("model", "no model"))
                for choice in chunk.get("choices", []):
                    text += choice["delta"].get("content") or ""
                    reason = choice["finish_reason"] or reason
    return Streamed(began, time.monotonic(), reply.status_code, frozenset(models), text, reason)


def test_promotion_rollback_and_a_trials_end_under_load(workspace: Workspace, models: Models, url: str) -> None:
    """A process promotes while another serves: nobody notices, but for who answers."""
    first, second = models.champion.id, models.candidate.id
    assert workspace.registry.champion() == first

    def served_within(model: str, seconds: float) -> float:
        began = time.monotonic()
        while httpx.get(f"{url}/healthz", timeout=60).json()["model"] != model:
            assert time.monotonic() - began < seconds, f"{model} did not answer within {seconds} s"
            time.sleep(0.02)
        return time.monotonic()

    with httpx.Client(timeout=60) as client, Clients(url, 4) as clients:
        alone = {first: streamed(client, url).text}
        workspace.registry.promote(second, {}, over=first)
        served_within(second, 5)
        alone[second] = streamed(client, url).text
        workspace.registry.rollback()
        rolled_back = served_within(first, 5)
        # Now the server decides by itself, by votes that came over HTTP.
        vote(workspace, url, workspace.registry.begin_trial(second, TRIAL).id, models)
        served_within(second, 10)
        assert streamed(client, url).models == {second}
        workspace.registry.rollback()
        served_within(first, 5)
    assert clients.errors == []
    decision = workspace.registry.history()[-2]
    assert (decision.kind, decision.artifact_id, decision.previous_id) == ("promoted", second, first)
    assert decision.verdict["sequential"]["verdict"] == "better"  # type: ignore[index,call-overload]
    assert alone[first] == ANSWER != alone[second]
    for answer in clients.answers:
        assert (answer.status, len(answer.models)) == (200, 1), answer
        (model,) = answer.models
        assert (answer.text, answer.finish_reason) == (alone[model], "stop" if model == first else "length")
    # Some were at work on the old weights, and ended on them.
    assert any(second in each.models and each.began < rolled_back < each.ended for each in clients.answers)


def vote(workspace: Workspace, url: str, trial: int, models: Models) -> None:
    """Three people prefer the candidate; who was not asked, and who says it again, counts for nothing."""
    for person in ("ann", "bob", "cy"):
        for number in range(5):
            conversation, question = workspace.feedback.ask(None, person, f"{person} {number}", None)
            left, right = (
                workspace.feedback.add_message(
                    conversation, "assistant", model.id, parent_id=question, model_id=model.id
                ).id
                for model in (models.champion, models.candidate)
            )
            workspace.pairs.show(question, left, right, trial=trial, user=person)
            body = {"left_id": left, "right_id": right, "kind": "trial", "id": f"{trial}-{question}", "user": person}
            others = [("eve", "left", "e"), (person, "right", ""), (person, "left", "l")] if number == 0 else []
            for user, choice, id in [*others[:1], (person, "right", ""), *others[1:]]:
                said = body | {"user": user, "choice": choice, "id": body["id"] + id}
                assert httpx.post(f"{url}/v1/feedback/comparisons", json=said).status_code == 200
