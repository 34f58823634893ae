import random
from pathlib import Path

import pytest

from homeroom.data.documents import Document, DocumentWriter
from homeroom.data.encoding import NoTrainingText, train_tokenizer


def written(path: Path, texts: list[str], split: str = "train") -> Path:
    with DocumentWriter(path) as file:
        for text in texts:
            file.write(Document("x", "text", text, language="en", split=split))
    return path


def test_of_few_large_documents_at_least_one_teaches_the_tokenizer(tmp_path: Path) -> None:
    # A sample of one's size: drawn each by itself, none is with probability 1/e.
    for seed in range(5):
        words = random.Random(seed)
        texts = ["".join(words.choices("abcd ", k=500)) for _ in range(50)]
        assert train_tokenizer(written(tmp_path / "a.parquet", texts), 270, 500).vocab_size == 270


def test_no_training_text_is_named(tmp_path: Path) -> None:
    documents = written(tmp_path / "a.parquet", ["held out"], split="heldout")
    with pytest.raises(NoTrainingText, match=r"no document is in the train split. .* lower \[clean\]\.heldout"):
        train_tokenizer(documents, 270, 500)
