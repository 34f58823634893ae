"""Clean documents to shards: a tokenizer learned from a sample of the training text, then every split encoded with it.

The tokenizer itself is `homeroom.text.tokenizer`, the files' format is shards.py.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import daft
from daft import col

from homeroom.data.documents import read_documents
from homeroom.data.shards import ShardWriter
from homeroom.settings import HomeroomError
from homeroom.tasks.split import share
from homeroom.text.tokenizer import Tokenizer

# Documents, and characters: enough for all cores, and few enough for memory.
_BATCH, _BATCH_CHARACTERS = 1_000, 16_000_000
_HELD_BYTES = 256_000_000  # of text that is sorted at once


class NoTrainingText(HomeroomError):
    pass


def train_tokenizer(documents: Path, vocab_size: int, sample_bytes: float) -> Tokenizer:
    """Learn from so much of the train split, drawn by document; more text hardly changes the merges."""
    drawn = _drawn(documents, sample_bytes)
    sample = (document.text for document in read_documents(documents, split="train") if document.id in drawn)
    return Tokenizer.train(sample, vocab_size)


def _drawn(documents: Path, sample_bytes: float) -> set[str]:
    """Ids of the train split in a stable random order until their texts' size is reached: never none."""
    frame = daft.read_parquet(str(documents)).where("split = 'train'")
    sizes = frame.select("id", _size_of_text()).to_pydict()
    drawn: set[str] = set()
    total = 0
    for name, size in sorted(zip(sizes["id"], sizes["bytes"], strict=True), key=lambda one: share(one[0], "tokenizer")):
        if total >= sample_bytes:
            break
        drawn.add(name)
        total += size
    if not total:
        raise NoTrainingText(
            f"{documents}: no document is in the train split. Give more text, or lower [clean].heldout."
        )
    return drawn


def shuffled(documents: Path, split: str) -> Iterator[list[dict[str, str]]]:
    """A split's texts and languages, in the order of their ids: these are hashes, so that sources are well mixed.

    The file is read once for each part of the order that is held and sorted: slower with the corpus, but no larger.
    """
    frame = daft.read_parquet(str(documents)).where(f"split = '{split}'").select("id", "text", "language")
    size = frame.agg(_size_of_text().sum().alias("bytes")).to_pydict()["bytes"][0] or 0
    parts = -(-size // _HELD_BYTES)
    # Ids begin with hexadecimal digits, evenly; whatever else they may be is in the first part or the last.
    borders = ["", *(f"{part * 16**4 // parts:04x}" for part in range(1, parts)), chr(0x10FFFF)]
    batch: list[dict[str, str]] = []
    held = 0
    for low, high in pairwise(borders):
        part = frame.where(f"id >= '{low}' and id < '{high}'").sort("id").into_batches(_BATCH)
        for row in (row for arrow in part.to_arrow_iter() for row in arrow.to_pylist()):
            batch.append(row)
            held += len(row["text"])
            if held >= _BATCH_CHARACTERS or len(batch) == _BATCH:
                yield batch
                batch, held = [], 0
    if batch:
        yield batch


def _size_of_text() -> daft.Expression:
    return col("text").cast(daft.DataType.binary()).length().alias("bytes")


def encode_split(
    documents: Path, split: str, tokenizer: Tokenizer, folder: Path, advance: Callable[[int], None]
) -> tuple[ShardWriter, dict[str, float]]:
    """Write the shards of a split; what was written, and bytes per token by language."""
    size: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    vocab_size, document_id = tokenizer.vocab_size, tokenizer.document_id
    with ShardWriter(folder, split, vocab_size=vocab_size, document_id=document_id) as writer:
        for batch in shuffled(documents, split):
            encoded = tokenizer.encode_batch([one["text"] for one in batch])
            for one, token_ids in zip(batch, encoded, strict=True):
                text_bytes = len(one["text"].encode())
                writer.write(token_ids, text_bytes)
                size[one["language"]] += text_bytes
                tokens[one["language"]] += len(token_ids)
            advance(len(batch))
    return writer, {language: size[language] / tokens[language] for language in size if tokens[language]}
