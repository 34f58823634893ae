"""A small model that has learned a handful of answers by heart, one that never ends, and servers that serve them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from openai import OpenAI
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
