from pathlib import Path

import pytest

from homeroom.text.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return 3 * [
        "画蛇添足的意思是多此一举。画蛇添足是什么意思？用Python写一个函数。",
        "What does the Python function json.dumps do? It serializes an object to a JSON string.",
        "def area(width, height):\n    return width * height  # 2026\n",
        "It's 12345 o'clock; they're late. ÉTÉ, naïve, Ünïcode, Привет, こんにちは 🙂",
    ]


@pytest.fixture(scope="session")
def tokenizer(texts: list[str]) -> Tokenizer:
    return Tokenizer.train(texts, vocab_size=400)


@pytest.fixture(scope="session")
def saved(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    return folder
