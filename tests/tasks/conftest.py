from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, islice

import pytest

from homeroom.data.documents import Document
from homeroom.data.python_library import PythonLibrary
from homeroom.data.starter import dialogue_documents, idiom_documents
from homeroom.settings import Json


@dataclass(frozen=True)
class Made:
    """A document written for a test."""

    id: str
    kind: str
    fields: dict[str, Json] = field(default_factory=dict)


@pytest.fixture
def make() -> Callable[..., Made]:
    numbers = count()
    return lambda kind, **fields: Made(f"document {next(numbers)}", kind, fields)


@pytest.fixture
def idiom(make: Callable[..., Made]) -> Made:
    return make(
        "idiom",
        word="画蛇添足",
        pinyin="huà shé tiān zú",
        abbreviation="hstz",
        explanation="蛇爬虫。比喻做多余的事，反而坏事。亦作“为蛇画足”。",
        derivation="《战国策·齐策二》：“蛇固无足，子安能为之足？”",
        example="这一段是画蛇添足，删去才好。",
    )


@pytest.fixture(scope="session")
def real_idioms() -> list[Document]:
    return list(islice(idiom_documents(), 2_000))


@pytest.fixture(scope="session")
def real_dialogues() -> list[Document]:
    return [*dialogue_documents("english"), *dialogue_documents("chinese")]


@pytest.fixture(scope="session")
def real_functions() -> list[Document]:
    return [document for document in islice(PythonLibrary().documents(0), 1_200) if document.kind == "function"]
