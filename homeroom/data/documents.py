"""The one table between collect, clean, tokenize and the tasks: what a document is, its id, its parquet file.

Where documents come from is for starter.py and sources.py; what language and split they get is for cleaning.py.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from homeroom.settings import Json
from homeroom.tasks.base import language_of

COLUMNS = ("id", "source", "kind", "text", "fields", "language", "split")
SCHEMA = pa.schema([(name, pa.large_string()) for name in COLUMNS])
SPLITS = ("train", "validation", "heldout")

# A row group is what readers hold at once; 32 MB of text keeps that small and still compresses well.
_ROW_GROUP_BYTES = 32_000_000


@dataclass(frozen=True)
class Document:
    """`text` is what pretraining reads; `fields` are the parts that tasks ask about."""

    source: str
    kind: str  # idiom, dialogue, function, code, prose, text
    text: str
    fields: Mapping[str, Json] = field(default_factory=dict)
    language: str = ""  # zh, en, code or another language's code; empty until cleaned
    split: str = ""  # train, validation or heldout; empty until cleaned
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            # Fields are the content where there are any: a new layout of the text is the same document.
            content = self.fields_json if self.fields else self.text
            digest = hashlib.sha256(f"{self.source}\0{self.kind}\0{content}".encode())
            object.__setattr__(self, "id", digest.hexdigest()[:20])

    @property
    def fields_json(self) -> str:
        return json.dumps(self.fields, ensure_ascii=False, sort_keys=True) if self.fields else ""


def dialogue(source: str, messages: Sequence[Mapping[str, str]]) -> Document:
    """A conversation; pretraining reads it as questions and answers in the language that is spoken."""
    chinese = language_of("\n".join(message["content"] for message in messages)) == "zh"
    labels = {"system": "", "user": "问：" if chinese else "Q: ", "assistant": "答：" if chinese else "A: "}
    text = "\n".join(labels[message["role"]] + message["content"] for message in messages)
    return Document(source, "dialogue", text, {"messages": [dict(message) for message in messages]})


class DocumentWriter:
    """Writes documents.parquet a row group at a time, so that memory does not grow with the corpus."""

    def __init__(self, path: Path) -> None:
        self.documents = 0
        self.bytes = 0
        self._rows: list[Document] = []
        self._pending_bytes = 0
        self._file = pq.ParquetWriter(path, SCHEMA, compression="zstd")

    def write(self, document: Document) -> None:
        size = len(document.text.encode())
        self._rows.append(document)
        self.documents += 1
        self.bytes += size
        self._pending_bytes += size
        if self._pending_bytes >= _ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        rows = self._rows
        columns = [[row.fields_json if name == "fields" else getattr(row, name) for row in rows] for name in COLUMNS]
        self._file.write_table(pa.table(columns, schema=SCHEMA))
        self._rows, self._pending_bytes = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._file.close()


def document_count(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def read_documents(path: Path, *, split: str | None = None, kinds: Collection[str] | None = None) -> Iterator[Document]:
    """The documents of a documents.parquet in its order, those of one split or of some kinds if asked."""
    for batch in row_batches(path):
        for row in batch:
            if (split is None or row["split"] == split) and (kinds is None or row["kind"] in kinds):
                row["fields"] = json.loads(row["fields"]) if row["fields"] else {}
                yield Document(**row)


def row_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[list[dict[str, Any]]]:
    """Rows of a parquet file in its order, never more than a row group at once."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(4096, row_groups=[group], columns=columns):
                yield batch.to_pylist()
