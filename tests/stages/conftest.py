"""A miniature circle up to PPO: a nano model that answers well or badly at random ("It is good." or "It is bad.", if
nothing else is said), and a judge who can tell the two apart. Both are trained for seconds, so that what follows works
on real models."""

import copy
import random
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from homeroom.data.batches import Conversation, Groups, PackedConversations
from homeroom.data.documents import Document, DocumentWriter, read_documents
from homeroom.data.preferences import Said
from homeroom.data.rankings import RankedRows, collate
from homeroom.evaluation.suite import Suite
from homeroom.models.gpt import GPT, Config
from homeroom.models.heads import RewardModel
from homeroom.settings import Frozen
from homeroom.stages import checkpoints, evaluate, promote
from homeroom.tasks.base import Question
from homeroom.tasks.questions import questions
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import LoopSettings, train
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.objectives.ranking import PairwiseRanking
from homeroom.training.optimizers import OptimizerSettings
from homeroom.training.pairs import conversation
from homeroom.workspace import Artifact, Workspace

GOOD, BAD = "It is good.", "It is bad."
CHARACTERS = "东西南北风云山水日月星火花鸟鱼虫草木金石天地人心"


class Made(Frozen):
    by: str


def idiom(number: int, split: str) -> Document:
    rng = random.Random(number)
    word = "".join(rng.sample(CHARACTERS, 4))
    about = "".join(rng.sample(CHARACTERS, 6))
    fields = {
        "word": word,
        "pinyin": "dōng xī nán běi",
        "abbreviation": "dxnb",
        "explanation": f"比喻{about}。",
        "derivation": f"《{about[:3]}》",
        "example": "",
    }
    return Document("made-up", "idiom", f"{word}：比喻{about}。", fields, "zh", split)


def publish_clean(workspace: Workspace, documents: Iterable[Document]) -> Artifact:
    with (
        workspace.publish("clean", Made(by="clean")) as draft,
        DocumentWriter(draft.path / "documents.parquet") as file,
    ):
        for document in documents:
            file.write(document)
    return draft.artifact


def publish(workspace: Workspace, stage: str, inputs: list[Artifact], model=None, tokenizer=None) -> Artifact:
    with workspace.publish(stage, Made(by=stage), inputs) as draft:
        if model is not None:
            checkpoints.save(model, tokenizer, draft.path)
    return draft.artifact


def settings(steps: int, rate: float) -> LoopSettings:
    optimizer = OptimizerSettings(kind="adamw", learning_rate=rate)
    return LoopSettings(steps=steps, precision="float32", optimizer=optimizer)


@pytest.fixture(scope="session", name="idiom")
def _idiom() -> Callable[[int, str], Document]:
    return idiom


@pytest.fixture(scope="session", name="publish_clean")
def _publish_clean() -> Callable[[Workspace, Iterable[Document]], Artifact]:
    """What the clean stage makes, of these documents."""
    return publish_clean


def raised(folder: Path, good: Callable[[Question], str], bad: Callable[[Question], str]) -> Path:
    torch.manual_seed(0)
    with Workspace.open(folder) as workspace:
        made = (idiom(number, "heldout" if number % 4 == 0 else "train") for number in range(260))
        clean = publish_clean(workspace, made)
        train_documents = list(read_documents(clean.path / "documents.parquet", split="train"))
        asked = random.Random(0).sample(questions(train_documents), 300)
        spoken = [text for question in asked[:9] for text in (good(question), bad(question))]
        tokenizer = Tokenizer.train([document.text for document in train_documents] + spoken, 500)
        said = [
            (
                conversation([{"role": "user", "content": question.prompt}], Said(good(question), True), tokenizer),
                conversation([{"role": "user", "content": question.prompt}], Said(bad(question), True), tokenizer),
            )
            for question in asked
        ]
        shape = Config(vocab_size=tokenizer.vocab_size, max_length=160, layers=1, width=48, heads=2)
        model = GPT(shape)
        texts = [[tokenizer.document_id, *tokenizer.encode(document.text)] for document in train_documents]
        demonstrations = [pair[number % 2] for number, pair in enumerate(said)]
        demonstrations += [Conversation(ids, [False] + [True] * (len(ids) - 1)) for ids in texts]
        source = PackedConversations(demonstrations, length=160, rows=16, micro_rows=16)
        train(model, NextToken(), source, settings(60, 1e-2))
        judge = RewardModel(copy.deepcopy(model))
        rows = [RankedRows([list(good.token_ids), list(bad.token_ids)], [0, 1]) for good, bad in said]
        ranked = Groups(rows, collate, per_step=16, micro=16)
        train(judge, PairwiseRanking(), ranked, settings(30, 1e-2))
        base = publish(workspace, "pretrain", [clean], GPT(shape), tokenizer)
        sft = publish(workspace, "sft", [clean, base], model, tokenizer)
        publish(workspace, "judge", [sft], judge, tokenizer)
        publish(workspace, "ppo", [sft], model, tokenizer)
    return folder


@pytest.fixture(scope="session", name="raised")
def _raised() -> Callable[[Path, Callable[[Question], str], Callable[[Question], str]], Path]:
    """Raises a model in a folder that gives each question one of two answers, and a judge who prefers the first."""
    return raised


@pytest.fixture(scope="session")
def circle(tmp_path_factory) -> Path:
    """The workspace of a circle up to PPO."""
    return raised(tmp_path_factory.mktemp("circle"), lambda _: GOOD, lambda _: BAD)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Callable[[Path, Callable[[Workspace], object]], Path]:
    """Makes a template of another one, in whose copy something is done once for all tests."""

    def prepare(template: Path, do: Callable[[Workspace], object]) -> Path:
        folder = tmp_path_factory.mktemp("prepared") / "workspace"
        shutil.copytree(template, folder)
        with Workspace.open(folder) as workspace:
            do(workspace)
        return folder

    return prepare


@pytest.fixture(scope="session")
def evaluated(circle, prepared, evaluating) -> Path:
    """The same with an evaluation."""
    return prepared(circle, lambda workspace: evaluate.run(evaluating, workspace))


@pytest.fixture(scope="session")
def promoted(evaluated, prepared) -> Path:
    """The same with the sft model as champion."""
    return prepared(evaluated, lambda workspace: promote.run(promote.Config(), workspace))


@pytest.fixture(scope="session")
def template(circle) -> Path:
    """The workspace that each test gets a copy of; a file of tests may have its own."""
    return circle


@pytest.fixture
def workspace(template, tmp_path):
    shutil.copytree(template, tmp_path / "workspace")
    with Workspace.open(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def measured(monkeypatch) -> list[str]:
    """The stages of all models that are measured from here on, in that order."""
    stages, real = [], Suite.measure
    monkeypatch.setattr(Suite, "measure", lambda *all: stages.append(all[4]) or real(*all))
    return stages


@pytest.fixture(scope="session")
def evaluating() -> evaluate.Config:
    return evaluate.Config(
        questions=60, text_megabytes=0.001, cloze_items=10, shots=(0, 1), max_tokens=16, xz_megabytes=0.01, shown=2
    )
