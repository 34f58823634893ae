"""Token ids on disk: one long row for each split, in files of plain uint16 or uint32 and a JSON index beside them.

Every document begins with the tokenizer's `document_id`. Which documents come in what order, and how the row is cut
into batches, is for others.
"""

import json
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from homeroom.files import write_atomically, written_aside
from homeroom.settings import HomeroomError, Json

SHARD_TOKENS = 100_000_000
FORMAT = 1


class ShardError(HomeroomError):
    pass


class ShardWriter:
    """Nothing is visible under its final name until all of a split is written; the index comes last."""

    def __init__(
        self, folder: Path, split: str, *, vocab_size: int, document_id: int, shard_tokens: int = SHARD_TOKENS
    ) -> None:
        self.folder, self.split = folder, split
        self.vocab_size, self.document_id = vocab_size, document_id
        self.dtype = np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
        self.tokens = self.documents = self.bytes = 0
        self._shard_tokens = shard_tokens
        self._sizes: list[int] = []
        self._file: BinaryIO | None = None
        self._asides = ExitStack()

    def write(self, token_ids: Sequence[int], text_bytes: int) -> None:
        """A document: `text_bytes` is the length of its text in UTF-8, for figures per byte."""
        row = np.array([self.document_id, *token_ids], np.int64)
        if row.min() < 0 or row.max() >= self.vocab_size:
            raise ShardError(f"token {row.max()} is outside of the vocabulary of {self.vocab_size:,}")
        if self._file is None or self._sizes[-1] >= self._shard_tokens:
            self._close()
            path = self.folder / self._name(len(self._sizes))
            self._file = self._asides.enter_context(written_aside(path)).open("wb")
            self._sizes.append(0)
        self._file.write(row.astype(self.dtype).tobytes())
        self._sizes[-1] += len(row)
        self.tokens += len(row)
        self.documents += 1
        self.bytes += text_bytes

    def _name(self, number: int) -> str:
        return f"{self.split}-{number:05d}.bin"

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._asides.__exit__(kind, error, trace)
        if error is not None:
            return
        index: dict[str, Json] = {
            "format": FORMAT,
            "dtype": self.dtype.name,
            "vocab_size": self.vocab_size,
            "document_id": self.document_id,
            "tokens": self.tokens,
            "documents": self.documents,
            "bytes": self.bytes,
            "shards": [{"file": self._name(n), "tokens": tokens} for n, tokens in enumerate(self._sizes)],
        }
        write_atomically(self.folder / f"{self.split}.json", json.dumps(index, indent=1) + "\n")


class Shards:
    """A split's tokens as one row, mapped and not loaded."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        index_path = folder / f"{split}.json"
        try:
            index = json.loads(index_path.read_text(encoding="utf-8"))
            if index["format"] != FORMAT:
                raise ShardError(f"{index_path}: its format is {index['format']}; this version reads {FORMAT}")
            self.vocab_size: int = index["vocab_size"]
            self.document_id: int = index["document_id"]
            self.tokens: int = index["tokens"]
            self.documents: int = index["documents"]
            self.bytes: int = index["bytes"]
            dtype = np.dtype(index["dtype"]).newbyteorder("<")
            files = [(folder / shard["file"], int(shard["tokens"])) for shard in index["shards"]]
        except FileNotFoundError:
            raise ShardError(f"{index_path}: there is none. Make it with `homeroom tokenize`.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ShardError(f"{index_path}: damaged ({error!r}). See `homeroom verify`.") from error
        self._maps: list[NDArray[np.unsignedinteger]] = []
        self._starts = [0]
        for path, tokens in files:
            size = path.stat().st_size if path.exists() else 0
            if size != tokens * dtype.itemsize:
                raise ShardError(
                    f"{path}: {size:,} bytes, but its index says {tokens:,} tokens of {dtype.itemsize} bytes. "
                    "See `homeroom verify`."
                )
            self._maps.append(np.memmap(path, dtype, mode="r"))
            self._starts.append(self._starts[-1] + tokens)

    def __len__(self) -> int:
        return self.tokens

    def read(self, start: int, count: int) -> NDArray[np.int64]:
        """`count` tokens from `start` on, over the borders of files; IndexError beyond the end."""
        if start < 0 or count < 0 or start + count > self.tokens:
            raise IndexError(f"tokens {start:,} to {start + count:,} of a row of {self.tokens:,}")
        row = np.empty(count, np.int64)
        done = 0
        while done < count:
            shard = bisect_right(self._starts, start + done) - 1
            offset = start + done - self._starts[shard]
            piece = self._maps[shard][offset : offset + count - done]
            row[done : done + len(piece)] = piece
            done += len(piece)
        return row
