"""An object file of LLVM's as one block of machine code, which runs wherever in memory it is put.

What a linker does, for the little that is needed: ELF for x86-64, code and constants alone, nothing from outside.
`homeroom.models.machine_code` keeps the block on the disk.
"""

import struct
from dataclasses import dataclass

_ALLOCATED, _WRITABLE = 2, 1
_SYMBOLS, _RELOCATIONS, _UNWIND = 2, 4, 0x70000001
_PC32, _PLT32 = 2, 4  # both: where the symbol is, as seen from here
_X86_64 = 62


class NotFlat(ValueError):
    """The object file needs more than this knows how to give."""


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


def flat(object_file: bytes, symbol: str) -> tuple[bytes, int]:
    """The block, and where in it the function of that name begins. Raises NotFlat."""
    try:
        return _flat(object_file, symbol)
    except (struct.error, IndexError, StopIteration, OverflowError, UnicodeDecodeError) as error:
        raise NotFlat(f"a damaged object file ({error})") from error


def _flat(object_file: bytes, symbol: str) -> tuple[bytes, int]:
    if object_file[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", object_file, 18) != (_X86_64,):
        raise NotFlat("not an ELF object for x86-64")
    sections = _sections(object_file)
    block, places = bytearray(), {}
    for index, section in enumerate(sections):
        if section.flags & _ALLOCATED and section.kind != _UNWIND and section.name != ".eh_frame":
            if section.flags & _WRITABLE and section.size:
                raise NotFlat(f"{section.name} is data to be written to")
            block += bytes(-len(block) % max(section.align, 1))
            places[index] = len(block)
            block += object_file[section.offset : section.offset + section.size]
    symbols = next(_symbols(object_file, section, sections) for section in sections if section.kind == _SYMBOLS)
    for section in sections:
        if section.kind == _RELOCATIONS and section.info in places:
            for at in range(section.offset, section.offset + section.size, 24):
                offset, what, addend = struct.unpack_from("<QQq", object_file, at)
                name, home, value = symbols[what >> 32]
                if what & 0xFFFFFFFF not in (_PC32, _PLT32) or home not in places:
                    raise NotFlat(f"{name or 'a symbol'} is not in the object file, or not reached by its distance")
                place = places[section.info] + offset
                struct.pack_into("<i", block, place, places[home] + value + addend - place)
    for name, home, value in symbols:
        if name == symbol and home in places:
            return bytes(block), places[home] + value
    raise NotFlat(f"there is no function {symbol}")


def _sections(data: bytes) -> list[_Section]:
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    rows = [struct.unpack_from("<IIQQQQIIQQ", data, table + size * number) for number in range(count)]
    return [
        _Section(_text(data, rows[names][4] + row[0]), row[1], row[2], row[4], row[5], row[6], row[7], row[8])
        for row in rows
    ]


def _symbols(data: bytes, table: _Section, sections: list[_Section]) -> list[tuple[str, int, int]]:
    """Of each its name, the section in which it is, and where there."""
    found = []
    for at in range(table.offset, table.offset + table.size, 24):
        name, _, _, home, value, _ = struct.unpack_from("<IBBHQQ", data, at)
        found.append((_text(data, sections[table.link].offset + name), home, value))
    return found


def _text(data: bytes, start: int) -> str:
    return data[start : data.find(b"\0", start)].decode()
