"""Clean documents to shards: a tokenizer learned from a sample of the training text, then every split encoded with it.

The tokenizer itself is `homeroom.text.tokenizer`, the files' format is shards.py.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import daft
from daft import col

from homeroom.data.documents import read_documents
from homeroom.data.shards import ShardWriter
from homeroom.settings import HomeroomError
from homeroom.tasks.split import share
from homeroom.text.tokenizer import Tokenizer

_BATCH = 1_000  # documents: enough for all cores, and few enough for memory


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
    sizes = frame.select("id", col("text").cast(daft.DataType.binary()).length().alias("bytes")).to_pydict()
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
    """A split's texts and languages, in the order of their ids: these are hashes, so that sources are well mixed."""
    frame = daft.read_parquet(str(documents)).where(f"split = '{split}'").select("id", "text", "language")
    for batch in frame.sort("id").into_batches(_BATCH).to_arrow_iter():
        yield batch.to_pylist()


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
