"""Documents out of any folder of .txt, .md, .jsonl, .jsonl.gz and .parquet files, one at a time.

One bad file or line never stops the rest: it becomes a `Reject` that names the file, the line and the reason.
What a text is worth is for cleaning.py; here only what cannot be read at all is left out.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from homeroom.data.documents import Document, dialogue
from homeroom.data.reading import Reject, Report, blocks, invalid, is_binary, lines, valid_text
from homeroom.settings import HomeroomError, Json, whole_characters

_SMALLEST_PIECE = 16  # bytes; a piece must hold at least one character
ROLES = ("system", "user", "assistant")


class NothingReadable(HomeroomError):
    pass


class _Bad(Exception):
    """Why one line or row cannot be a document."""


def source_files(folder: Path) -> list[Path]:
    """The files of a folder in a fixed order; hidden ones and links to folders are left alone."""
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise NothingReadable(f"{folder}: there is no such file or folder")
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(parent) / name for name in sorted(names) if not name.startswith("."))
        found += [path for path in paths if path.is_file()]  # no pipes: reading one waits for ever
    return found


def read_folder(
    folder: Path, report: Report, *, document_bytes: int = 2_000_000, on_file: Callable[[Path], None] | None = None
) -> Iterator[Document]:
    """Every document that can be read. Longer ones than `document_bytes` are split, and the report says so."""
    if document_bytes < _SMALLEST_PIECE:
        raise ValueError(f"document_bytes is {document_bytes}; the least is {_SMALLEST_PIECE}")
    source = f"folder:{_shown(folder.resolve().name)}"
    documents, rejects = 0, 0
    first: list[str] = []

    def count(reject: Reject) -> None:
        nonlocal rejects
        rejects += not reject.kept
        if len(first) < 3:
            first.append(str(reject))
        report(reject)

    for path in source_files(folder):
        name = _shown(str(path.relative_to(folder)) if folder.is_dir() else path.name)
        for document in _read_file(path, name, source, count, document_bytes):
            documents += 1
            yield document
        if on_file:
            on_file(path)
    if documents == 0:
        raise NothingReadable(
            f"{folder}: nothing in it could be read ({rejects:,} files or lines were left out). "
            "Allowed are .txt, .md, .jsonl, .jsonl.gz (rows with text, content or messages) and .parquet. "
            + "; ".join(first)
        )


def _shown(name: str) -> str:
    """A file's name may be any bytes; what is written down is text."""
    return os.fsencode(name).decode("utf-8", "replace")


def _read_file(path: Path, name: str, source: str, report: Report, document_bytes: int) -> Iterator[Document]:
    readers = {".txt": _read_text, ".md": _read_text, ".jsonl": _read_jsonl, ".jsonl.gz": _read_jsonl}
    readers[".parquet"] = _read_parquet
    reader = next((readers[ending] for ending in readers if name.lower().endswith(ending)), None)
    try:
        size = path.stat().st_size
        if size == 0:
            report(Reject(name, None, "the file is empty"))
        elif reader is None:
            allowed = ", ".join(readers)
            report(Reject(name, None, f"not a kind of file that is read here; allowed are {allowed}"))
        else:
            for line, document in reader(path, name, source, report, document_bytes):
                yield from _split(document, document_bytes, name, line, report)
    except OSError as error:
        report(Reject(name, None, f"could not be read: {error.strerror or error}"))


_Found = Iterator[tuple[int | None, Document]]


def _split(document: Document, limit: int, name: str, line: int | None, report: Report) -> Iterator[Document]:
    text = document.text
    size = len(text) if text.isascii() else len(text.encode())
    if size <= limit:
        yield document
        return
    if document.fields:
        report(Reject(name, line, f"a dialogue of {size:,} bytes; at most {limit:,} are allowed"))
        return
    pieces = list(pieces_of(text, limit))
    report(Reject(name, line, _split_into(size, len(pieces), limit), kept=True))
    for piece in pieces:
        yield Document(document.source, document.kind, piece)


def _split_into(size: int, pieces: int, limit: int) -> str:
    return f"a document of {size:,} bytes was split into {pieces:,} of at most {limit:,}"


def pieces_of(text: str, limit: int) -> Iterator[str]:
    """Pieces of at most `limit` bytes, cut after a line's end if there is one in a piece's second half."""
    start = 0
    while start < len(text):
        # Characters never outnumber bytes, so this many are enough; then drop those that are too many bytes.
        piece = text[start : start + limit].encode()[:limit].decode(errors="ignore")
        if start + len(piece) < len(text):
            cut = piece.rfind("\n", len(piece) // 2) + 1
            piece = piece[:cut] if cut else piece
        start += len(piece)
        yield piece


def _read_text(path: Path, name: str, source: str, report: Report, limit: int) -> _Found:
    line, count, empty = 1, 0, True
    with path.open("rb") as file:
        head = file.read(8192)
        file.seek(0)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            yield None, Document(source, "text", file.read().decode("utf-16", "replace"))
            return
        if is_binary(head):
            report(Reject(name, None, "binary data, not text"))
            return
        for block in blocks(file, limit):
            text = valid_text(block, line, name, report)
            if text is None and count == 0:
                return  # not UTF-8 at all, and reported
            if text and text.strip():
                yield line if count else None, Document(source, "text", text)
                empty = False
            line += block.count(b"\n")
            count += 1
        size = file.tell()
    if empty:
        report(Reject(name, None, "the file holds only white space"))
    elif count > 1:
        report(Reject(name, None, _split_into(size, count, limit), kept=True))


def _read_jsonl(path: Path, name: str, source: str, report: Report, limit: int) -> _Found:
    rows = False
    with path.open("rb") as file:
        head = file.read(8192)
    if is_binary(head) and not path.name.lower().endswith(".gz"):
        report(Reject(name, None, "binary data, not JSON lines"))
        return
    damage: list[Reject] = []

    def note(reject: Reject) -> None:
        damage.append(reject)
        report(reject)

    for number, line in lines(path, name, note):
        if not line.strip():
            continue
        rows = True
        try:
            yield number, _document(_parse(line), source)
        except _Bad as bad:
            report(Reject(name, number, str(bad)))
    if not rows and not damage:
        report(Reject(name, None, "no line in it could be read"))


def _parse(line: bytes) -> Json:
    try:
        row: Json = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _Bad(invalid(error)) from None
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise _Bad(f"not JSON: {reason}") from None
    return row


def _read_parquet(path: Path, name: str, source: str, report: Report, limit: int) -> _Found:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        report(Reject(name, None, f"not a whole .parquet file (truncated or damaged): {_first_line(error)}"))
        return
    with file:
        columns = [column for column in ("text", "content", "messages") if column in file.schema_arrow.names]
        if not columns:
            has = ", ".join(file.schema_arrow.names)
            report(Reject(name, None, f"has no column text, content or messages; its columns are {has}"))
            return
        if file.metadata.num_rows == 0:
            report(Reject(name, None, "the file has no rows"))
        row_number = 0
        for group in range(file.num_row_groups):
            first = row_number
            rows_in_group = file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(batch_size=1024, row_groups=[group], columns=columns):
                    for row in _rows(batch):
                        row_number += 1
                        try:
                            if isinstance(row, _Bad):
                                raise row
                            yield row_number, _document(row, source)
                        except _Bad as bad:
                            report(Reject(name, row_number, str(bad)))
            except (pa.ArrowException, OSError) as error:
                why = f"rows {row_number + 1:,} to {first + rows_in_group:,} are damaged: {_first_line(error)}"
                report(Reject(name, row_number + 1, why))
            row_number = first + rows_in_group


def _rows(batch: pa.RecordBatch) -> Iterator[Json | _Bad]:
    """One text that is not UTF-8 keeps a whole batch from being read; then row after row is."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(len(batch)):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield _Bad(invalid(error))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _document(row: Json, source: str) -> Document:
    if not isinstance(row, dict):
        raise _Bad(f"not an object with text, content or messages, but {type(row).__name__}")
    if row.get("messages") is not None:
        return dialogue(source, _messages(row["messages"]))
    for key in ("text", "content"):
        text = row.get(key)
        if isinstance(text, str) and text.strip():
            return Document(source, "text", whole_characters(text))
        if text is not None:
            found = "is empty" if isinstance(text, str) else f"is {type(text).__name__}, not text"
            raise _Bad(f"{key!r} {found}")
    raise _Bad(f"no text, content or messages; it has {', '.join(row) or 'nothing'}")


def _messages(value: Json) -> list[Mapping[str, str]]:
    if not isinstance(value, list) or not value:
        raise _Bad("'messages' is no list of messages, or an empty one")
    messages: list[Mapping[str, str]] = []
    for position, message in enumerate(value, start=1):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if role not in ROLES or (role == "system" and position > 1):
            raise _Bad(f"message {position}: its role is {role!r}; allowed are user, assistant and, first, system")
        if not isinstance(content, str) or not content.strip():
            raise _Bad(f"message {position}: it has no text in 'content'")
        messages.append({"role": str(role), "content": whole_characters(content)})
    return messages
