from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.data.shards import ShardError, Shards, ShardWriter

DOCUMENT = 1


def write(folder: Path, documents: list[list[int]], vocab_size: int = 1000, shard_tokens: int = 10) -> Shards:
    with ShardWriter(folder, "train", vocab_size=vocab_size, document_id=DOCUMENT, shard_tokens=shard_tokens) as writer:
        for document in documents:
            writer.write(document, text_bytes=3 * len(document))
    return Shards(folder, "train")


@given(
    documents=st.lists(st.lists(st.integers(2, 999), max_size=12), max_size=12),
    span=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], span: tuple[float, float]
) -> None:
    shards = write(tmp_path_factory.mktemp("shards"), documents)
    row = [token for document in documents for token in (DOCUMENT, *document)]
    assert (len(shards), shards.documents, shards.bytes) == (len(row), len(documents), 3 * sum(map(len, documents)))
    start, end = sorted(int(edge * len(row)) for edge in span)
    assert shards.read(start, end - start).tolist() == row[start:end]


@pytest.mark.parametrize(("vocab_size", "width"), [(65_536, 2), (65_537, 4)])
def test_the_narrowest_type_that_holds_the_vocabulary(tmp_path: Path, vocab_size: int, width: int) -> None:
    shards = write(tmp_path, [[vocab_size - 1]], vocab_size)
    assert (tmp_path / "train-00000.bin").stat().st_size == 2 * width
    assert shards.read(0, 2).tolist() == [DOCUMENT, vocab_size - 1]


def test_a_token_outside_of_the_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="token 1000 is outside of the vocabulary of 1,000"):
        write(tmp_path, [[1000]])


def test_an_interrupted_writer_leaves_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(ShardError):
        write(tmp_path, [[2], [3], [10]], vocab_size=10)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ShardError, match=r"there is none\. Make it with `homeroom tokenize`"):
        Shards(tmp_path, "train")


def test_a_shortened_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, [[2, 3, 4]])
    path = tmp_path / "train-00000.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ShardError, match=r"train-00000\.bin: 6 bytes, but its index says 4 tokens of 2 bytes"):
        Shards(tmp_path, "train")


@pytest.mark.parametrize("index", ["", '{"format": 1', "[]", '{"format": 1}', '{"tokens": 3}', "\xff"])
def test_a_damaged_index_is_named(tmp_path: Path, index: str) -> None:
    write(tmp_path, [[2, 3, 4]])
    (tmp_path / "train.json").write_text(index, encoding="latin-1")
    with pytest.raises(ShardError, match=r"train\.json: damaged.*homeroom verify"):
        Shards(tmp_path, "train")


def test_reading_beyond_the_end(tmp_path: Path) -> None:
    with pytest.raises(IndexError, match="tokens 2 to 5 of a row of 4"):
        write(tmp_path, [[2, 3, 4]]).read(2, 3)
