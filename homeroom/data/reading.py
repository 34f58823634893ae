"""Bytes of a file to numbered lines or blocks of text, and what to say of those that cannot be read.

Streams: neither a large file nor a damaged one is held whole. What a line means is for sources.py.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_LINE_BYTES = 512_000_000  # a line must be held whole to be parsed; past this it is damage, not a document
_CHUNK = 1 << 20
_STRAY_LINES = 10  # so many bad lines are no sign yet that the whole file is in another encoding
_NAMED_LINES = 20  # of a text file's bad lines so many are named one by one


@dataclass(frozen=True)
class Reject:
    """What was left out, or, where `kept`, what was changed in order to be read."""

    file: str
    line: int | None
    why: str
    kept: bool = False

    def __str__(self) -> str:
        return f"{self.file}{f', line {self.line:,}' if self.line else ''}: {self.why}"


Report = Callable[[Reject], None]


def lines(path: Path, name: str, report: Report) -> Iterator[tuple[int, bytes]]:
    """Numbered lines. Where a .gz ends too early or is damaged, all whole lines before that still come.

    Not of one that can be unpacked to its end and has another checksum: any of its lines may be wrong.
    """
    if path.name.lower().endswith(".gz") and _checksum_differs(path):
        report(Reject(name, None, "damaged gzip: its checksum is not that of its contents, so no line can be trusted"))
        return
    number, size = 0, 0
    parts: list[bytes] = []  # of a line whose end was not seen yet; joined once, or a long line costs its square
    try:
        for chunk in _unzipped(path) if path.name.lower().endswith(".gz") else _chunks(path):
            for index, part in enumerate(chunk.split(b"\n")):
                if index > 0:
                    number += 1
                    if size <= MAX_LINE_BYTES:
                        yield number, b"".join(parts)
                    else:
                        report(
                            Reject(name, number, f"a line of {size:,} bytes; at most {MAX_LINE_BYTES:,} are allowed")
                        )
                    parts, size = [], 0
                size += len(part)
                if size <= MAX_LINE_BYTES:
                    parts.append(part)
                else:
                    parts.clear()
        if parts and size:
            yield number + 1, b"".join(parts)
    except (EOFError, zlib.error) as error:
        what = "truncated gzip" if isinstance(error, EOFError) else f"damaged gzip: {error}"
        why = f"ends in the middle of line {number + 1:,} ({what}). Kept the {number:,} lines before it."
        report(Reject(name, number + 1, why))


def _chunks(path: Path, size: int = _CHUNK) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(size):
            yield chunk


def _unzipped(path: Path) -> Iterator[bytes]:
    # Not gzip.open: when it meets the early end it drops what its buffer had already unpacked.
    unzip = zlib.decompressobj(wbits=31)
    # In small portions: of one with damage in it nothing comes out.
    for packed in _chunks(path, 4096):
        while packed:
            if unzip.eof:  # a further member may follow, and before it zeros
                packed = packed.lstrip(b"\0")
                if not packed:
                    break
                unzip = zlib.decompressobj(wbits=31)
            yield unzip.decompress(packed, _CHUNK)
            packed = unzip.unconsumed_tail or unzip.unused_data
    if not unzip.eof:
        raise EOFError


def _checksum_differs(path: Path) -> bool:
    try:
        for _ in _unzipped(path):
            pass
    except EOFError:
        return False
    except zlib.error as error:
        return "incorrect data check" in str(error) or "incorrect length check" in str(error)
    return False


def blocks(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """A file in blocks of at most `limit` bytes, cut after a line's end, or else never inside of a character."""
    rest = b""
    while block := rest + file.read(limit - len(rest)):
        cut = len(block)
        if cut == limit:
            cut = block.rfind(b"\n", limit // 2) + 1
            if cut == 0:
                cut = next((limit - back for back in range(1, 5) if block[-back] >= 0xC0), limit)
                cut = limit if block[-1] < 0x80 else cut
        yield block[:cut]
        rest = block[cut:]


def valid_text(block: bytes, first_line: int, name: str, report: Report) -> str | None:
    """The lines of a block that are UTF-8; None if so many are not that the file must be in another encoding."""
    encoding = "utf-8-sig" if first_line == 1 else "utf-8"
    try:
        return block.decode(encoding)
    except UnicodeDecodeError:
        pass
    lines = block.split(b"\n")
    valid: list[str] = []
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=first_line):
        try:
            valid.append(line.decode(encoding if number == first_line else "utf-8"))
        except UnicodeDecodeError as error:
            bad.append((number, invalid(error)))
    filled = sum(not line.isspace() for line in lines if line)
    if len(bad) > max(_STRAY_LINES, len(lines) // 10) or 2 * len(bad) > filled:
        how = "convert it (old Chinese text: `iconv -f gb18030 -t utf-8`)"
        why = f"{len(bad):,} of {len(lines):,} lines are not UTF-8; {how}"
        report(Reject(name, bad[0][0], why))
        return None
    for number, why in bad[:_NAMED_LINES]:
        report(Reject(name, number, why))
    if len(bad) > _NAMED_LINES:
        report(Reject(name, bad[_NAMED_LINES][0], f"{len(bad) - _NAMED_LINES:,} more lines are not UTF-8"))
    return "\n".join(valid)


def is_binary(head: bytes) -> bool:
    """Whether a file that begins so holds something else than text."""
    return b"\0" in head or sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head) > len(head) // 50


def invalid(error: UnicodeDecodeError) -> str:
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at byte {error.start + 1} of the line"
