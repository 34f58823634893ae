"""A small model that has learned a handful of answers by heart, one that never ends, and servers that serve them."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from openai import OpenAI
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from torch.nn.functional import cross_entropy

from homeroom.models.checkpoint import save_model
from homeroom.models.gpt import GPT, Config
from homeroom.serving.app import serving
from homeroom.serving.settings import ServingSettings
from homeroom.settings import Frozen
from homeroom.text.chat_template import render
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, Workspace

MARKUP = "<script>document.title = 'broken'</script><img src=x onerror=\"document.title='broken'\">"
TAUGHT = {
    "What does the Python function json.dumps do?": (
        "The Python function json.dumps serializes an object to a JSON formatted string."
    ),
    "How is the idiom 画蛇添足 pronounced?": "画蛇添足 is pronounced huà shé tiān zú.",
    "画蛇添足是什么意思？": "比喻做了多余的事，非但无益，反而不合适。",
    "Hello, how are you?": "I am doing well, thank you.\nAnd how are you?",
    "你好！": "你好！很高兴见到你。",
    "Write some markup.": f"Here it is: {MARKUP} **bold** &amp;",
}
LENGTH = 192
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Nothing(Frozen):
    """Settings of an artifact made by hand."""

    name: str


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder; asked one of TAUGHT's questions it gives the answer word for word."""
    folder = tmp_path_factory.mktemp("taught")
    tokenizer = Tokenizer.train([text for pair in TAUGHT.items() for text in pair for _ in range(4)], 420)
    torch.manual_seed(0)
    model = GPT(Config(vocab_size=tokenizer.vocab_size, max_length=LENGTH, layers=2, width=96, heads=4))
    rows = [
        render([{"role": "user", "content": q}, {"role": "assistant", "content": a}], tokenizer)
        for q, a in TAUGHT.items()
    ]
    width = max(len(row.token_ids) for row in rows)
    tokens = torch.tensor([row.token_ids + [tokenizer.pad_id] * (width - len(row.token_ids)) for row in rows])
    learn = torch.tensor([row.learn + [False] * (width - len(row.learn)) for row in rows])[:, 1:]
    # Adam by hand: torch.optim imports torch's compiler on its first step, which takes longer than the training.
    moments = [(p, torch.zeros_like(p), torch.zeros_like(p)) for p in model.parameters()]
    for step in range(1, 200):
        loss = cross_entropy(model.logits(model.hidden(tokens[:, :-1])[learn]), tokens[:, 1:][learn])
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p, first, second in moments:
                first.lerp_(p.grad, 0.1)
                second.lerp_(p.grad**2, 0.05)
                p -= 4e-3 * (first / (1 - 0.9**step)) / ((second / (1 - 0.95**step)).sqrt() + 1e-8)
        if loss < 0.01:
            break
    save_model(model, folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="session")
def endless(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose greedy answers run on until the context is full."""
    folder = tmp_path_factory.mktemp("endless")
    tokenizer = Tokenizer.load(taught)
    torch.manual_seed(1)
    model = GPT(Config(vocab_size=tokenizer.vocab_size, max_length=4096, layers=2, width=64, heads=4))
    with torch.no_grad():
        model.head.weight.normal_()
        model.head.weight[tokenizer.end_id] = 0.0  # a logit of 0 is never the largest
    save_model(model, folder)
    tokenizer.save(folder)
    return folder


Publish = Callable[[Workspace, Path, str], Artifact]


@pytest.fixture(scope="session")
def publish() -> Publish:
    """Make a model folder an artifact of a workspace and its champion."""

    def publish(workspace: Workspace, folder: Path, name: str) -> Artifact:
        with workspace.publish("sft", Nothing(name=name)) as draft:
            shutil.copytree(folder, draft.path, dirs_exist_ok=True)
        workspace.registry.promote(draft.artifact.id, {"reasons": ["a test wants it"]})
        return draft.artifact

    return publish


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, taught: Path, publish: Publish) -> Workspace:
    workspace = Workspace.open(tmp_path_factory.mktemp("workspace"))
    publish(workspace, taught, "taught")
    return workspace


@pytest.fixture(scope="module")
def url(workspace: Workspace) -> Iterator[str]:
    with serving(workspace, ServingSettings(port=0, temperature=0.0)) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none is needed", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.fail(
            "the browser tests need Chromium, and there is none on the PATH. `make test` installs it where it can; "
            "elsewhere install it by hand (Debian: `apt-get install chromium`).",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


PATIENCE = 30_000  # milliseconds; on a machine that is busy with other things a page takes its time
Say = Callable[[Page, str, str | re.Pattern[str]], None]


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all tests, so that the browser's cache serves what the page is made of."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, url: str) -> Iterator[Page]:
    """An empty conversation of a visitor who speaks English.

    Whatever goes wrong in the page, or is asked of another host, fails the test.
    """
    context.clear_cookies()
    page = context.new_page()
    wrong: list[str] = []
    host = urlparse(url).netloc
    page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    page.on("request", lambda r: None if _is_local(r.url, host) else wrong.append(f"request to {r.url}"))
    page.on("websocket", lambda w: None if _is_local(w.url, host) else wrong.append(f"websocket to {w.url}"))
    page.goto(url)
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    yield page
    page.close()
    assert wrong == []


def _is_local(address: str, host: str) -> bool:
    return address.startswith(("data:", "blob:")) or urlparse(address).netloc == host


@pytest.fixture
def violations() -> Callable[[Page], list[str]]:
    """What axe-core finds wrong, its advice on good practice included."""

    def violations(page: Page) -> list[str]:
        page.evaluate("Promise.all(document.getAnimations().map((a) => a.playState === 'running' ? 0 : a.finished))")
        found = Axe().run(page).response["violations"]
        return [
            f"{each['id']}: {node['html'][:120]}: {node['failureSummary'][:200]}"
            for each in found
            for node in each["nodes"]
        ]

    return violations


@pytest.fixture
def say() -> Say:
    """Ask by the box and the Enter key, and wait for the whole answer."""

    def say(page: Page, text: str, answer: str | re.Pattern[str]) -> None:
        turns = page.locator(".turn")
        before = turns.count()
        page.locator(".composer textarea").fill(text)
        page.keyboard.press("Enter")
        expect(turns).to_have_count(before + 1)
        expect(turns.last.locator(".answer-text")).to_have_text(answer)
        expect(turns.last.locator(".actions")).to_be_visible()

    return say


SERVE = """
import sys
from pathlib import Path
from homeroom.stages.serve import Config, run
from homeroom.workspace import Workspace
settings = {"port": 0, "temperature": 0.0, "max_tokens": 4000, "pairs": 0.0} | eval(sys.argv[2])
with Workspace.open(Path(sys.argv[1])) as workspace:
    run(Config(**settings), workspace)
"""
Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Serve a workspace, pages and all, in a process of its own; gives the process and its URL."""
    yield from _starting()


@pytest.fixture(scope="module")
def start_once() -> Iterator[Start]:
    """The same, for all of a file's tests."""
    yield from _starting()


def _starting() -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda workspace, **settings: stack.enter_context(served(workspace, settings))


@pytest.fixture(scope="module")
def pages_url(workspace: Workspace) -> Iterator[str]:
    """The module's workspace served with its pages: once in a process, hence in one of its own."""
    with served(workspace, {}) as (_, url):
        yield url


@contextmanager
def served(workspace: Workspace, settings: dict[str, object]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", SERVE, str(workspace.path), repr(settings)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "chat at http" in line)
        url = line.partition("chat at ")[2].split()[0]
        deadline = time.monotonic() + 60
        while not _answers(url):
            assert time.monotonic() < deadline, "the server did not answer within 60 s"
            time.sleep(0.05)
        yield process, url
    finally:
        process.kill()
        process.communicate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False
