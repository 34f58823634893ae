"""Lessons, Data and Runs: what they read, decisions by hand over HTTP, and the pages in a real Chromium."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from homeroom.serving.access import COOKIE, FORM_TOKEN_HEADER
from homeroom.serving.pages import making, rounds
from homeroom.settings import Frozen, Json
from homeroom.workspace import Artifact, Workspace
from homeroom.workspace.sessions import form_token

EVIL = "<img src=x onerror=\"document.title='broken'\"></script>{{ 7 * 7 }}`${1}"
PASSWORD = "seven grey otters hum"
PICK_UP_SECONDS = 5.0
GATE: list[Json] = [
    {"rule": "held-out questions", "bar": "at least 40", "value": "60", "passed": True},
    {"rule": "rude answers", "bar": "not above the champion's", "value": EVIL, "passed": False},
]
REASONS: list[Json] = [f"rude answers: {EVIL}, required: not above the champion's (failed)", "the judge is a coin"]
RATE: Json = {"mean": 0.81, "low": 0.7, "high": 0.9, "n": 60}


class Recipe(Frozen):
    note: str = EVIL
    depth: int = 4


@dataclass
class School:
    """A workspace in which a model learned from votes and was refused, and another was trained against a reward."""

    workspace: Workspace
    first: Artifact
    learned: Artifact
    ppo: Artifact
    harvest: Artifact
    vote: str
    conversation: str
    clients: list[httpx.Client] = field(default_factory=list)

    def client(self, url: str, name: str, **headers: str) -> httpx.Client:
        """As the browser of a person who signed in; its requests carry the form token."""
        token = self.session(name)
        own = {FORM_TOKEN_HEADER: form_token(token), **headers}
        self.clients.append(httpx.Client(base_url=url, headers=own, cookies={COOKIE: token}))
        return self.clients[-1]

    def session(self, name: str) -> str:
        user = self.workspace.users.verify(name, PASSWORD)
        assert user is not None
        return self.workspace.sessions.begin(user)


def make(
    workspace: Workspace, stage: str, *inputs: Artifact, model: Path | None = None, depth: int = 4, **metrics: Json
) -> Artifact:
    with workspace.publish(stage, Recipe(depth=depth), inputs) as draft:
        if model is not None:
            shutil.copytree(model, draft.path, dirs_exist_ok=True)
        if stage == "harvest":
            (draft.path / "sources.jsonl").write_text(str(metrics.pop("sources")), encoding="utf-8")
        for step in range(24 if stage in ("ppo", "improve") else 0):
            draft.log(
                step, **({"reward": 0.1 * step, "kl": 0.2 * step} if stage == "ppo" else {"loss": 3.0 - 0.1 * step})
            )
        draft.metrics |= metrics
    return draft.artifact


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory, taught: Path) -> Iterator[School]:
    with Workspace.open(tmp_path_factory.mktemp("school")) as workspace:
        said = workspace.feedback
        conversation = said.open_conversation(user="小明").id
        question = said.add_message(conversation, "user", EVIL).id
        answer = said.add_message(conversation, "assistant", "An answer.", parent_id=question).id
        vote, edit = said.vote(answer, -1, user="小明").id, said.edit(answer, EVIL, user="小明").id
        row = {"message_id": answer, "vote_id": vote, "edit_id": edit}
        first = make(workspace, "sft", model=taught)
        workspace.registry.promote(first.id, {"reasons": ["the first champion has nobody to beat"]})
        judge = make(workspace, "judge", first, accuracy=RATE, qualified=True)
        reward = make(workspace, "reward", first, accuracy=RATE, qualified=False)
        evaluation = make(workspace, "evaluate", judge, first)
        harvest = make(
            workspace, "harvest", evaluation, sources=json.dumps(row) + "\n", answers=1, up=0, down=1, pairs=1,
            better_answers=1, questions={"train": 1, "heldout": 0},
        )  # fmt: skip
        ppo = make(
            workspace, "ppo", first, reward, model=taught,
            samples=[{"step": 1, "prompt": EVIL, "text": EVIL, "reward": 0.1}],
        )  # fmt: skip
        learned = make(
            workspace, "improve", harvest, first, evaluation, model=taught, gate=GATE,
            note={"deep": [1, {"er": EVIL}], EVIL: EVIL},
            answers=[{"question": EVIL, "before": EVIL, "after": "After."}],
            decisions=[{"model": "improve-0", "promoted": False, "reasons": REASONS, "gate": GATE}],
        )  # fmt: skip
        verdict = {"reasons": REASONS, "gate": GATE, "promoted": False, "decided_by": learned.id}
        workspace.registry.refuse(learned.id, verdict)
        for name, role in (("ann", "operate"), ("小明", "talk")):
            workspace.users.create(name, role, PASSWORD)
        school = School(workspace, first, learned, ppo, harvest, vote, conversation)
        yield school
        for client in school.clients:
            client.close()


@pytest.fixture(scope="module")
def url(school: School, start_once: Callable[..., tuple[Any, str]]) -> str:
    return start_once(school.workspace)[1]


@contextmanager
def asking(client: httpx.Client) -> Iterator[list[int]]:
    """Somebody who asks one thing after another meanwhile; the status of each answer."""
    statuses: list[int] = []
    over = Event()

    def ask() -> None:
        body = {"model": "homeroom", "messages": [{"role": "user", "content": "你好！"}], "max_tokens": 8}
        while not over.is_set():
            statuses.append(client.post("/v1/chat/completions", json=body, timeout=60).status_code)

    thread = Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def served_within(url: str, model: str) -> float:
    """Seconds until this model answers."""
    began = time.monotonic()
    while httpx.get(f"{url}/healthz").json()["model"] != model:
        assert time.monotonic() - began < 60, f"{model} was not taken up"
        time.sleep(0.05)
    return time.monotonic() - began


def test_a_round_is_read_with_its_votes_judge_and_verdict(school: School) -> None:
    seen = rounds.read(school.workspace, school.learned.id)
    assert [(one.stage, one.outcome) for one in seen.rounds] == [("improve", "refused"), ("ppo", "none")]
    shown = seen.shown
    assert shown is not None
    assert (shown.model, shown.harvest, shown.total) == (school.learned.id, school.harvest.id, 1)
    assert shown.counts == {"answers": 1, "up": 0, "down": 1, "pairs": 1, "better_answers": 1}
    assert shown.questions == {"train": 1, "heldout": 0}
    assert [(one.id, one.value, one.user) for one in shown.judgements] == [(school.vote, -1, "小明")]
    assert shown.judge is not None
    assert (shown.judge.is_reward, shown.judge.qualified) == (False, True)
    refused, meant = shown.verdicts  # and what the round held, but nobody enacted
    assert (refused.kind, refused.by, meant.kind) == ("refused", None, None)
    assert [rule.name for rule in refused.rules if not rule.passed] == ["rude answers"]
    assert refused.reasons == ["the judge is a coin"]  # the other one is a rule's line
    assert len(shown.log) == 24
    assert shown.frontier == []

    ppo = rounds.read(school.workspace, school.ppo.id).shown
    assert ppo is not None
    assert ppo.judge is not None
    assert (ppo.judge.is_reward, ppo.judge.qualified) == (True, False)
    assert ppo.frontier[3] == (pytest.approx(0.6), pytest.approx(0.3))
    assert [(one.step, one.before) for one in ppo.samples] == [(1, None)]


def test_a_vote_is_found_by_what_stands_in_an_address(school: School) -> None:
    for asked in (school.vote, f" http://localhost:8000/c/{school.conversation}/ "):
        traced = rounds.read(school.workspace, traced=asked).traced
        assert traced is not None
        assert traced.found is not None
        assert (traced.found.artifacts, traced.found.models) == (
            [school.harvest.id, school.learned.id], [school.learned.id]
        )  # fmt: skip
    assert rounds.read(school.workspace, traced="nobody").traced == rounds.Traced("nobody", None)


def test_a_draft_is_seen_as_it_grows_and_after_a_kill(school: School) -> None:
    workspace = school.workspace
    with suppress(KeyboardInterrupt), workspace.publish("sft", Recipe(depth=9)) as draft:
        draft.log(1, loss=3.0)
        (running,) = making.shift(workspace).running
        assert (running.draft.id, len(running.log)) == (draft.id, 1)
        assert running.seconds >= 0
        draft.log(2, loss=2.0)
        found = making.find(workspace, draft.id)
        assert found.artifact is None
        assert found.log[-1] == {"step": 2, "loss": 2.0}
        raise KeyboardInterrupt
    shift = making.shift(workspace)
    assert ([one.draft.id for one in shift.left], shift.running) == ([draft.id], [])
    assert (shift.runs[0].artifact_id, shift.runs[0].state) == (draft.id, "failed")
    workspace.tidy()
    assert making.find(workspace, draft.id).work is None


def test_kin_are_what_a_thing_is_made_of_and_what_was_made_of_it(school: School) -> None:
    found = making.find(school.workspace, school.harvest.id)
    assert [one.stage for one in found.kin] == ["sft", "judge", "evaluate", "harvest", "improve"]
    assert found.judgements == 1


def test_deciding_needs_the_role_the_token_and_the_champion_that_was_seen(school: School, url: str) -> None:
    talks, operates = school.client(url, "小明", Accept="text/html"), school.client(url, "ann", Accept="text/html")
    bodies: dict[str, dict[str, Json]] = {"/promote": {"model": school.ppo.id}, "/rollback": {}}
    for page in ("/lessons", f"/lessons/{school.ppo.id}", "/data", f"/data/{school.ppo.id}", "/runs"):
        assert talks.get(page).status_code == 403, page
        assert operates.get(page).status_code == 200, page
    assert 'href="/lessons"' not in talks.get("/").text
    for path, body in bodies.items():
        assert talks.post(path, json=body).json()["error"]["code"] == "role_needed"
        assert httpx.post(url + path, json=body).status_code == 401
        without = operates.post(path, json=body, headers={FORM_TOKEN_HEADER: ""})
        assert without.json()["error"]["code"] == "wrong_form_token"
        elsewhere = operates.post(path, json=body, headers={"Origin": "https://evil.example"})
        assert elsewhere.json()["error"]["code"] == "other_site"
        assert operates.post(path, data={"model": school.ppo.id}).status_code == 400  # a form, as other sites send
    refused: list[tuple[str, dict[str, Json], int, str]] = [
        ("/promote", {"model": "sft-0"}, 404, "is not in"),
        ("/promote", {"model": school.harvest.id}, 400, "is no language model"),
        ("/promote", {"model": school.first.id}, 409, "is the champion already"),
        ("/promote", {"model": school.ppo.id, "champion": "sft-0"}, 409, f"the champion is {school.first.id} now"),
        ("/promote", {"model": school.ppo.id, "reason": "x" * 501}, 400, "reason"),
        ("/promote", {}, 400, "model"),
        ("/rollback", {"champion": "sft-0"}, 409, "Look again"),
        ("/rollback", {"champion": school.first.id}, 409, "is the first champion"),
    ]
    for path, body, status, told in refused:
        response = operates.post(path, json=body)
        assert (response.status_code, told in response.json()["error"]["message"]) == (status, True), response.text
    assert school.workspace.registry.champion() == school.first.id


def test_who_decides_by_hand_is_recorded_and_nobody_who_asks_meanwhile_notices(school: School, url: str) -> None:
    operates, registry = school.client(url, "ann"), school.workspace.registry
    with asking(school.client(url, "小明")) as statuses:
        made = operates.post("/promote", json={"model": school.ppo.id, "champion": school.first.id, "reason": EVIL})
        assert made.status_code == 200
        assert (made.json()["champion"], made.json()["previous"]) == (school.ppo.id, school.first.id)
        taken = served_within(url, school.ppo.id)
        back = operates.post("/rollback", json={"champion": school.ppo.id})
        assert (back.status_code, back.json()["champion"]) == (200, school.first.id)
        returned = served_within(url, school.first.id)
    promoted, rolled_back = registry.history()[-2:]
    assert (promoted.verdict["by"], promoted.verdict["reasons"]) == ("ann", ["by hand, ann", EVIL])
    assert (rolled_back.kind, rolled_back.verdict["by"]) == ("rolled_back", "ann")
    assert set(statuses) == {200}
    assert max(taken, returned) < PICK_UP_SECONDS, (taken, returned)


@pytest.fixture
def page(browser: Browser, school: School, url: str) -> Iterator[Page]:
    """Of ann, who operates. Whatever goes wrong in it fails the test."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    context.add_cookies([{"name": COOKIE, "value": school.session("ann"), "url": url}])
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    page.on("request", lambda r: None if r.url.startswith((url, "data:")) else wrong.append(f"request to {r.url}"))
    yield page
    context.close()
    assert wrong == []


WIDTH = "['html', 'body', '.board-scroller'].map((part) => document.querySelector(part).scrollWidth)"
Violations = Callable[[Page], list[str]]


@pytest.mark.browser
def test_an_operator_reads_the_lessons_promotes_and_rolls_back(
    page: Page, url: str, school: School, violations: Violations
) -> None:
    page.goto(url)
    page.get_by_role("link", name="Lessons").click()
    expect(page.get_by_role("heading", name="Lessons")).to_be_visible()
    expect(page.locator(".champion-state")).to_have_text("This server answers with it.")
    expect(page.get_by_role("button", name="Roll back")).to_have_count(0)  # there was none before
    table = page.get_by_role("region", name=f"What was decided: {school.learned.id}")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(table.get_by_role("row").last).to_contain_text(EVIL)
    expect(table.get_by_role("row").last).to_contain_text("failed")
    expect(page.locator(".sample-question")).to_have_text(EVIL)
    expect(page.locator("svg.chart")).to_have_count(1)
    page.get_by_text("What it learned from (1)").click()
    expect(page.get_by_role("cell", name="小明")).to_be_visible()
    assert violations(page) == []

    page.get_by_role("button", name="Promote").click()
    dialog = page.get_by_role("dialog", name=f"Promote {school.learned.id}?")
    expect(dialog).to_contain_text("The gate refused this model.")
    expect(dialog).to_contain_text(f"{school.learned.id} will answer instead of {school.first.id} within seconds.")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Promote").click()
    page.keyboard.type(EVIL)  # why; the field is the first thing in the dialog
    page.keyboard.press("Enter")
    expect(page.locator(".champion-state")).to_have_text("This server answers with it.")
    expect(page.locator(".champion .id")).to_have_text(school.learned.id)
    expect(page.locator(".champion")).to_contain_text("by hand, ann")
    expect(page.locator(".reason-text").first).to_have_text(EVIL)
    expect(page.get_by_role("button", name="Promote")).to_have_count(0)

    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"{school.first.id} will answer instead of {school.learned.id}")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.locator(".champion .id")).to_have_text(school.first.id)
    expect(page.locator(".champion-state")).to_have_text("This server answers with it.")
    assert [one.kind for one in school.workspace.registry.history()[-2:]] == ["promoted", "rolled_back"]

    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("heading", name="学习记录")).to_be_visible()
    expect(page.get_by_role("region", name=f"决定: {school.learned.id}")).to_contain_text("粗鲁的回答")
    page.get_by_text("一票去了哪里？").click()
    page.get_by_role("textbox", name="投票、回答或对话的编号").fill(f"{url}/c/{school.conversation}")
    page.get_by_role("button", name="查找").click()
    expect(page.locator(".found li")).to_contain_text([school.harvest.id, school.learned.id])
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_class(re.compile("body--dark"))
    assert page.evaluate(WIDTH) == [390, 390, 390]
    assert violations(page) == []
    expect(page).not_to_have_title("broken")
    page.goto(f"{url}/lessons/{school.ppo.id}")
    expect(page.get_by_role("img", name="以多少 KL 换来奖励")).to_be_visible()
    page.get_by_role("link", name="返回对话").click()
    expect(page.get_by_role("heading", name="想了解点什么？")).to_be_visible()


@pytest.mark.browser
def test_data_and_runs_are_shown_as_they_grow(page: Page, url: str, school: School, violations: Violations) -> None:
    page.goto(f"{url}/runs")
    expect(page.get_by_role("heading", name="Runs").first).to_be_visible()
    expect(page.get_by_text("Nothing is running.")).to_be_visible()
    with school.workspace.publish("ppo", Recipe(depth=7)) as draft:
        for step in range(3):
            draft.log(step, reward=0.5 * step, kl=0.1)
        live = page.locator(f"[data-draft='{draft.id}']")  # it comes by itself
        expect(live.get_by_role("img", name="Reward")).to_be_visible()
        expect(live.locator(".figures")).to_contain_text("reward")
        live.get_by_text("As a table").click()
        expect(live.get_by_role("row")).to_have_count(4)
        draft.log(3, reward=12.25, kl=0.1)
        expect(live.locator(".figures")).to_contain_text("12.25")
        expect(live.get_by_role("row")).to_have_count(5)  # what was opened stays open
        page.reload()
        expect(live.locator(".figures")).to_contain_text("12.25")
        assert violations(page) == []
        live.get_by_role("link", name=draft.id).click()
        expect(page.locator(".figures")).to_contain_text("12.25")
        hidden = draft.path.rename(draft.path.with_name(f".{draft.id}"))  # renamed, not yet recorded: there is neither
        page.wait_for_timeout(2500)
        hidden.rename(draft.path)
        draft.log(4, reward=13.5, kl=0.1)
        expect(page.locator(".figures")).to_contain_text("13.5")
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()  # it was published meanwhile
    expect(page.get_by_role("region", name="Settings")).to_contain_text(EVIL)

    page.get_by_role("link", name="Data").click()
    expect(page.get_by_role("heading", name="Data")).to_be_visible()
    assert violations(page) == []
    page.locator("svg.lineage").get_by_role("link", name=school.learned.id).click()
    metrics = page.get_by_role("region", name="Metrics")
    expect(metrics).to_contain_text(f"note.{EVIL}")
    expect(page.get_by_role("region", name="Settings").get_by_role("row").nth(1)).to_have_text(f"note{EVIL}")
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("heading", name="指标")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(WIDTH) == [390, 390, 390]
    assert violations(page) == []
    page.goto(f"{url}/data/sft-0")
    expect(page.get_by_text("此工作区中没有产物“sft-0”。")).to_be_visible()
