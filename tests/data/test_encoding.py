import random
from pathlib import Path

import pytest

from homeroom.data import encoding
from homeroom.data.documents import Document, DocumentWriter, read_documents
from homeroom.data.encoding import NoTrainingText, shuffled, train_tokenizer


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


def test_a_split_is_read_in_the_order_of_its_ids_whatever_is_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{number} ".rjust(40) for number in range(300)]
    documents = written(tmp_path / "a.parquet", texts)
    known = {document.text: document.id for document in read_documents(documents)}
    at_once = [one["text"] for batch in shuffled(documents, "train") for one in batch]
    assert sorted(texts) == sorted(at_once)
    assert sorted(known[text] for text in texts) == [known[text] for text in at_once]
    monkeypatch.setattr(encoding, "_HELD_BYTES", 2_000)
    monkeypatch.setattr(encoding, "_BATCH_CHARACTERS", 100)
    batches = list(shuffled(documents, "train"))
    assert [one["text"] for batch in batches for one in batch] == at_once
    assert {len(batch) for batch in batches} <= {1, 2, 3}
    assert list(shuffled(documents, "heldout")) == []


def test_no_training_text_is_named(tmp_path: Path) -> None:
    documents = written(tmp_path / "a.parquet", ["held out"], split="heldout")
    with pytest.raises(NoTrainingText, match=r"no document is in the train split. .* lower \[clean\]\.heldout"):
        train_tokenizer(documents, 270, 500)
